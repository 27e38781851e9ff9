//! What a work queue on one machine and one on many have in common.

use crate::delivery::Delivery;
use crate::error::{GetError, PutError, QueueJoinError};
use crate::joinable::JoinableQueue;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

/// A queue whose values have to be done, on this machine or past it: [`JoinableQueue`], and `RemoteQueue` of `multiproc-nats`.
///
/// A program that is generic over it runs on one machine or on many. It may count on what both promise: a value that was put is
/// delivered until it is done, at least once, and more than once only with a [count](WorkDelivery::count) above one or after a failure
/// that the queue's own documentation names.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::{JoinableQueue, WorkDelivery, WorkError, WorkErrorKind, WorkQueue};
///
/// fn worker(jobs: impl WorkQueue<u64>) -> Result<u64, Box<dyn std::error::Error>> {
///     let mut sum = 0;
///     loop {
///         match jobs.get_delivery() {
///             Ok(job) => sum += job.done()?,
///             Err(end) if end.kind() == WorkErrorKind::ShutDown => return Ok(sum),
///             Err(error) => return Err(error.into()),
///         }
///     }
/// }
///
/// let jobs = JoinableQueue::unbounded()?;
/// jobs.put_many([1, 2, 3])?;
/// jobs.shutdown();
/// assert_eq!(worker(jobs)?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait WorkQueue<T>: Clone + Send + Sync + 'static {
    /// A value in hand.
    type Delivery: WorkDelivery<T>;
    /// Why a value was not put.
    type PutError: WorkError;
    /// Why nothing was got.
    type GetError: WorkError;
    /// Why a join ended early.
    type JoinError: WorkError;
    /// Why the queue can't be asked. A queue on this machine always can.
    type Error: WorkError;

    /// Puts a value; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// The queue can never take it. The error gives the value back.
    fn put(&self, value: T) -> Result<(), Returned<T, Self::PutError>>;

    /// Puts a value if there is room now.
    ///
    /// # Errors
    ///
    /// [`WorkErrorKind::Full`], or as [`put`](Self::put).
    fn try_put(&self, value: T) -> Result<(), Returned<T, Self::PutError>>;

    /// Puts a value; waits at most `timeout` for room.
    ///
    /// # Errors
    ///
    /// [`WorkErrorKind::Timeout`], or as [`put`](Self::put).
    fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), Returned<T, Self::PutError>>;

    /// Gets the oldest value; waits while there is none.
    ///
    /// # Errors
    ///
    /// There never will be one ([`WorkErrorKind::ShutDown`]), or a message can't be read ([`WorkErrorKind::Value`]).
    fn get_delivery(&self) -> Result<Self::Delivery, Self::GetError>;

    /// Gets the oldest value if there is one now.
    ///
    /// # Errors
    ///
    /// [`WorkErrorKind::Empty`], or as [`get_delivery`](Self::get_delivery).
    fn try_get_delivery(&self) -> Result<Self::Delivery, Self::GetError>;

    /// Gets the oldest value; waits at most `timeout` for one.
    ///
    /// # Errors
    ///
    /// [`WorkErrorKind::Timeout`], or as [`get_delivery`](Self::get_delivery).
    fn get_delivery_timeout(&self, timeout: Duration) -> Result<Self::Delivery, Self::GetError>;

    /// Waits until every value that was put is done.
    ///
    /// # Errors
    ///
    /// The queue can't be used.
    fn join(&self) -> Result<(), Self::JoinError>;

    /// Waits until every value that was put is done, for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`WorkErrorKind::Timeout`], or as [`join`](Self::join).
    fn join_timeout(&self, timeout: Duration) -> Result<(), Self::JoinError>;

    /// Counts the values put and not done.
    ///
    /// # Errors
    ///
    /// The queue can't be asked.
    fn unfinished(&self) -> Result<usize, Self::Error>;

    /// Ends puts for every process. Gets drain what is left.
    ///
    /// # Errors
    ///
    /// The queue can't be told.
    fn shutdown(&self) -> Result<(), Self::Error>;
}

/// A value in hand. One that is dropped is given back.
pub trait WorkDelivery<T>: Deref<Target = T> {
    /// Why a value is not done. On one machine it always is.
    type DoneError: WorkError;

    /// Counts the deliveries of this value so far, this one included.
    fn count(&self) -> u16;

    /// Says that the value is done, and returns it.
    ///
    /// # Errors
    ///
    /// Another consumer has it by now ([`WorkErrorKind::LeaseLost`]), or the queue can't be told. The error gives the value back.
    fn done(self) -> Result<T, Returned<T, Self::DoneError>>;

    /// Gives the value to another consumer.
    fn give_back(self);
}

/// An error of a work queue, wherever that is.
pub trait WorkError: Error + Send + Sync + 'static {
    /// Returns what kind of error it is, which decides what a program does about it.
    fn kind(&self) -> WorkErrorKind;
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkErrorKind {
    /// There is no room now. Try again later.
    Full,
    /// There is no value now. Try again later.
    Empty,
    /// It took too long. Try again.
    Timeout,
    /// The queue was shut down: no more puts, or nothing more to get. End.
    ShutDown,
    /// This value can't be put, or this message can't be read. The next one can.
    Value,
    /// Another consumer has the value: the work is done twice.
    LeaseLost,
    /// The queue can't be used any more.
    Queue,
}

/// A value that came back, and why.
pub struct Returned<T, E> {
    /// The value.
    pub value: T,
    /// Why.
    pub why: E,
}

impl<T, E: WorkError> Returned<T, E> {
    /// Returns what kind of error it is.
    pub fn kind(&self) -> WorkErrorKind {
        self.why.kind()
    }
}

impl<T, E: fmt::Debug> fmt::Debug for Returned<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<T, E: fmt::Display> fmt::Display for Returned<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl<T, E: Error> Error for Returned<T, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.source()
    }
}

impl<T: Serialize + DeserializeOwned + 'static> WorkQueue<T> for JoinableQueue<T> {
    type Delivery = Delivery<T>;
    type PutError = PutError<()>;
    type GetError = GetError;
    type JoinError = QueueJoinError;
    type Error = Infallible;

    fn put(&self, value: T) -> Result<(), Returned<T, PutError<()>>> {
        returned(Self::put(self, value))
    }

    fn try_put(&self, value: T) -> Result<(), Returned<T, PutError<()>>> {
        returned(Self::try_put(self, value))
    }

    fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), Returned<T, PutError<()>>> {
        returned(Self::put_timeout(self, value, timeout))
    }

    fn get_delivery(&self) -> Result<Delivery<T>, GetError> {
        Self::get_delivery(self)
    }

    fn try_get_delivery(&self) -> Result<Delivery<T>, GetError> {
        Self::try_get_delivery(self)
    }

    fn get_delivery_timeout(&self, timeout: Duration) -> Result<Delivery<T>, GetError> {
        Self::get_delivery_timeout(self, timeout)
    }

    fn join(&self) -> Result<(), QueueJoinError> {
        Self::join(self)
    }

    fn join_timeout(&self, timeout: Duration) -> Result<(), QueueJoinError> {
        Self::join_timeout(self, timeout)
    }

    fn unfinished(&self) -> Result<usize, Infallible> {
        Ok(Self::unfinished(self))
    }

    fn shutdown(&self) -> Result<(), Infallible> {
        Self::shutdown(self);
        Ok(())
    }
}

fn returned<T>(put: Result<(), PutError<T>>) -> Result<(), Returned<T, PutError<()>>> {
    put.map_err(|error| {
        let mut value = None;
        let why = error.map(|put| value = Some(put));
        // `map` calls its argument once, whatever the variant.
        Returned { value: value.unwrap(), why }
    })
}

impl<T> WorkDelivery<T> for Delivery<T> {
    type DoneError = Infallible;

    fn count(&self) -> u16 {
        Self::count(self)
    }

    fn done(self) -> Result<T, Returned<T, Infallible>> {
        Ok(Self::done(self))
    }

    fn give_back(self) {
        Self::give_back(self);
    }
}

impl WorkError for PutError<()> {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::Full(()) | Self::NoMemory(()) => WorkErrorKind::Full,
            Self::Timeout(()) => WorkErrorKind::Timeout,
            Self::ShutDown(()) => WorkErrorKind::ShutDown,
            Self::TooLong { .. } | Self::Encode { .. } => WorkErrorKind::Value,
            Self::Closed(()) | Self::Corrupt { .. } | Self::Inherited(()) | Self::Forked { .. } => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for GetError {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::Empty => WorkErrorKind::Empty,
            Self::Timeout => WorkErrorKind::Timeout,
            Self::ShutDown => WorkErrorKind::ShutDown,
            Self::Decode(_) | Self::Form { .. } => WorkErrorKind::Value,
            Self::NoMemory | Self::Corrupt { .. } | Self::Forked { .. } => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for QueueJoinError {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::Timeout { .. } => WorkErrorKind::Timeout,
            Self::Forked { .. } => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for Infallible {
    fn kind(&self) -> WorkErrorKind {
        match *self {}
    }
}
