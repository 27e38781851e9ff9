//! `JoinableQueue`: a queue whose values have to be done, not only got.

use crate::builder::Builder;
use crate::core::Core;
use crate::delivery::DEAD_LANES;
use crate::error::{JoinTimeout, OpenError, TaskDoneError};
use crate::layout::Flavor;
use crate::queue::Queue;
use multiproc_prim::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// A [`Queue`] that knows which of its values are done (Python: `multiprocessing.JoinableQueue`). It has every method of
/// `Queue`.
///
/// A value that was got is in hand until [`task_done`](Self::task_done). When a process dies with values in hand, others
/// get them, before new ones; Python loses them, and its `join` then waits for ever. [`get_delivery`](Self::get_delivery) tells how
/// often a value was delivered, and gives it back unless it is said to be done.
///
/// ```
/// use multiproc_queue::JoinableQueue;
///
/// let queue = JoinableQueue::unbounded()?;
/// queue.put(1)?;
/// let consumer = queue.clone();
/// std::thread::spawn(move || {
///     while let Ok(value) = consumer.get() {
///         println!("{value}");
///         consumer.task_done().unwrap();
///     }
/// });
/// queue.join();
/// # queue.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T>(Queue<T>);

impl<T> JoinableQueue<T> {
    /// As [`Queue::bounded`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn bounded(capacity: u32) -> Result<Self, OpenError> {
        Self::builder().bounded(capacity).build()
    }

    /// As [`Queue::unbounded`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn unbounded() -> Result<Self, OpenError> {
        Self::builder().build()
    }

    /// As [`Queue::builder`].
    pub fn builder() -> Builder<Self> {
        Builder::new(Flavor::Joinable, Self::from_core)
    }

    /// As [`Queue::open`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Ok(Self::from_core(Core::open(name, Flavor::Joinable)?))
    }

    fn from_core(core: Arc<Core>) -> Self {
        Self(Queue::from_core(core))
    }

    /// Says that a value this process got is done: the oldest in hand of the calling thread, or else of the process (Python:
    /// `task_done`).
    ///
    /// In Python any process may say it for values that another one got. Here it has to be the one that got them, so that
    /// what a dead process had in hand is known.
    ///
    /// # Errors
    ///
    /// The process has nothing in hand (Python: `ValueError`).
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.core().here().map_err(|_| TaskDoneError::NothingInHand)?.task_done()
    }

    /// Values that were put aside and not taken out yet, at some moment during the call.
    pub fn dead_len(&self) -> usize {
        self.core().here().map_or(0, |core| DEAD_LANES.iter().map(|&lane| core.channel.ring().len_of(lane)).sum())
    }

    /// Waits until every value that was put is done (Python: `join`).
    pub fn join(&self) {
        if let Ok(core) = self.core().here() {
            // Without a deadline it ends in one way only.
            let _ = core.join(Deadline::NEVER);
        }
    }

    /// As [`join`](Self::join), for at most `timeout`. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// It passed; the error says how many values were not done.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinTimeout> {
        self.core().here().map_or(Ok(()), |core| core.join(Deadline::after(timeout)))
    }

    /// Values put and not done, at some moment during the call.
    pub fn unfinished(&self) -> usize {
        self.core().here().map_or(0, |core| core.unfinished() as usize)
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.0
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("JoinableQueue").field(&self.0).field(&self.unfinished()).finish()
    }
}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_core(Core::deserialize(deserializer, Flavor::Joinable)?))
    }
}
