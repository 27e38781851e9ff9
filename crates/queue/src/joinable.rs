//! `JoinableQueue`: a queue whose values have to be done, not only got.

use crate::attachment::Attachment;
use crate::builder::Builder;
use crate::delivery::DEAD_LANES;
use crate::error::{OpenError, QueueJoinError, TaskDoneError};
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
/// A value that was got is in hand of the thread that got it until that thread calls [`task_done`](Self::task_done). When a process
/// dies, or a thread ends or panics, with values in hand, others get them, before new ones; Python loses them, and its `join` then
/// waits for ever. The same happens when a process drops its last handle of the queue.
///
/// [`get_delivery`](Self::get_delivery) gets a value that may go to another thread. It tells how often the value was delivered, and
/// gives it back unless it is said to be done.
///
/// A message that makes no `T` (another program with another type put it) is an error of the get that took it. It is put aside with
/// the [dead letters](Self::try_get_dead): nobody waits for it, and a program that can read it gets it there.
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
/// queue.join()?;
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
    pub fn open(name: &str) -> Result<Self, OpenError>
    where
        T: serde::de::DeserializeOwned,
    {
        Ok(Self::from_core(Attachment::open::<T>(name, Flavor::Joinable)?))
    }

    fn from_core(attachment: Arc<Attachment>) -> Self {
        Self(Queue::from_core(attachment))
    }

    /// Says that the oldest value which the calling thread got and has not finished is done (Python: `task_done`).
    ///
    /// In Python anybody may say it for values that another one got. Here it has to be the thread that got them, so that no thread
    /// finishes what another one still works on, and what a dead process had in hand is known. Values that go to another thread
    /// go as a [`Delivery`](crate::Delivery).
    ///
    /// A value that was got in the destructor of a thread-local has to be finished there: the end of the thread may not give it back.
    ///
    /// # Errors
    ///
    /// The thread has nothing in hand (Python: `ValueError`). A forked copy of a process has nothing of what that one got.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        self.attachment().here().map_err(|_| TaskDoneError::NothingInHand)?.task_done()
    }

    /// Values that were put aside and not taken out yet, at some moment during the call.
    pub fn dead_len(&self) -> usize {
        DEAD_LANES.iter().map(|&lane| self.attachment().channel.ring().len_of(lane)).sum()
    }

    /// Waits until every value that was put is done (Python: `join`).
    ///
    /// # Errors
    ///
    /// This process is a forked copy and could not join the queue as itself: others may wait for what it would have to notice.
    pub fn join(&self) -> Result<(), QueueJoinError> {
        self.join_by(Deadline::NEVER)
    }

    /// As [`join`](Self::join), for at most `timeout`. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// [`QueueJoinError::Timeout`], which says how many values were not done, or as `join`.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), QueueJoinError> {
        self.join_by(Deadline::after(timeout))
    }

    fn join_by(&self, deadline: Deadline) -> Result<(), QueueJoinError> {
        let forked = |source: OpenError| QueueJoinError::Forked { queue: self.attachment().name().into(), source: source.into() };
        self.attachment().here().map_err(forked)?.join(deadline)
    }

    /// Values put and not done, at some moment during the call.
    pub fn unfinished(&self) -> usize {
        self.attachment().unfinished() as usize
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
        self.attachment().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_core(Attachment::deserialize(deserializer, Flavor::Joinable)?))
    }
}
