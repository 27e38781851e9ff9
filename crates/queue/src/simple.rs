//! `SimpleQueue`: put, get, and whether it is empty.

use crate::attachment::Attachment;
use crate::builder::Builder;
use crate::error::{GetError, OpenError, PutError};
use crate::layout::Flavor;
use crate::queue::Queue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The queue with the fewest methods (Python: `multiprocessing.SimpleQueue`).
///
/// Python's writes straight into a pipe, and a put blocks when that is full; this one is unbounded as [`Queue`] is.
///
/// ```
/// use multiproc_queue::SimpleQueue;
///
/// let queue = SimpleQueue::new()?;
/// queue.put(7)?;
/// assert!(!queue.is_empty());
/// assert_eq!(queue.get()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SimpleQueue<T>(Queue<T>);

impl<T> SimpleQueue<T> {
    /// A new queue (Python: `SimpleQueue()`).
    ///
    /// # Errors
    ///
    /// The system has no memory or descriptors left.
    pub fn new() -> Result<Self, OpenError> {
        Ok(Self(Builder::new(Flavor::Simple, Queue::from_core).build()?))
    }

    /// Whether no value waits (Python: `empty`).
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// No more puts through this handle (Python: `close`, which also ends gets: these go on here).
    pub fn close(&self) {
        self.0.close();
    }
}

impl<T: Serialize + DeserializeOwned> SimpleQueue<T> {
    /// Puts a value (Python: `put`).
    ///
    /// # Errors
    ///
    /// As [`Queue::put`].
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.0.put(value)
    }

    /// Gets the oldest value; waits while there is none (Python: `get`).
    ///
    /// # Errors
    ///
    /// As [`Queue::get`].
    pub fn get(&self) -> Result<T, GetError> {
        self.0.get()
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Serialize for SimpleQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.attachment().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for SimpleQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Queue::from_core(Attachment::deserialize(deserializer, Flavor::Simple)?)))
    }
}
