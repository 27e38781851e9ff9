//! `SimpleQueue`: put, get, and whether it is empty.

use crate::error::OpenError;
use crate::layout::Flavor;
use crate::methods::methods_of_all;
use crate::queue::Queue;
use crate::registry::Share;
use multiproc_prim::Deadline;
use std::time::Duration;

/// The queue with the fewest methods (Python: `multiprocessing.SimpleQueue`).
///
/// Python's writes straight into a pipe, and a put blocks when that is full. This one is unbounded as [`Queue`] is, and has
/// time-outs, `try_put` and `try_get` besides. [`close`](Self::close) ends the puts through its handle; in Python it ends the
/// gets, too.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::SimpleQueue;
///
/// let queue = SimpleQueue::new()?;
/// queue.put(7)?;
/// assert!(!queue.is_empty());
/// assert_eq!(queue.get()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SimpleQueue<T>(Queue<T>);

methods_of_all!(SimpleQueue, Flavor::Simple, "A value that is got is gone if this process dies.");

impl<T> SimpleQueue<T> {
    /// Makes a queue (Python: `SimpleQueue()`).
    ///
    /// # Errors
    ///
    /// The system has no memory or descriptors left.
    pub fn new() -> Result<Self, OpenError> {
        Self::builder().build()
    }

    fn from_share(share: Share) -> Self {
        Self(Queue::from_share(share))
    }

    pub(crate) fn queue(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for SimpleQueue<T> {
    /// Makes another handle, open even if this one is closed.
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fields(f, "SimpleQueue").finish()
    }
}
