//! Values of a queue one after the other.

use crate::error::GetError;
use crate::queue::Queue;
use multiproc_prim::Deadline;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::iter::FusedIterator;

/// The values of a queue until a get fails: what [`Queue::iter`] and [`Queue::try_iter`] give.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::{GetError, Queue};
///
/// let queue = Queue::bounded(3)?;
/// queue.put_many([1, 2, 3])?;
/// queue.shutdown();
/// let mut values = queue.iter();
/// assert_eq!(values.by_ref().sum::<u32>(), 6);
/// assert_eq!(values.end(), Some(&GetError::ShutDown));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "an iterator gets nothing until it is used"]
pub struct Iter<'q, T> {
    queue: &'q Queue<T>,
    deadline: Deadline,
    end: Option<GetError>,
}

impl<'q, T> Iter<'q, T> {
    pub(crate) fn new(queue: &'q Queue<T>, deadline: Deadline) -> Self {
        Self { queue, deadline, end: None }
    }

    /// Returns the error of the get that ended it: [`GetError::ShutDown`] at the end of a queue, [`GetError::Empty`] at the end
    /// of a `try_iter`, or what went wrong. `None`: the iterator has not ended.
    pub fn end(&self) -> Option<&GetError> {
        self.end.as_ref()
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.end.is_some() {
            return None;
        }
        self.queue.get_by(self.deadline).map_err(|error| self.end = Some(error)).ok()
    }
}

impl<T: Serialize + DeserializeOwned> FusedIterator for Iter<'_, T> {}
