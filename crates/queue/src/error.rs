//! One error per operation. Those of a put give the value back.

use multiproc_shm::pass::{DecodeError, EncodeError};
use multiproc_shm::{AttachError, CreateError, JoinError};
use multiproc_sync::{self as sync, ChannelError};
use std::fmt;
use thiserror::Error;

/// Why there is no queue.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The segment could not be made.
    #[error("can't make a queue: {0}")]
    Create(#[from] CreateError),
    /// The segment was refused.
    #[error("can't open the queue: {0}")]
    Attach(#[from] AttachError),
    /// This process could not join.
    #[error("can't join queue {queue:?}: {source}")]
    Join {
        /// The queue.
        queue: String,
        /// Why not.
        source: JoinError,
    },
    /// The numbers asked for make no queue.
    #[error("can't make such a queue: {0}")]
    Layout(#[from] ChannelError),
}

/// Why a value was not put. Every variant has the value: [`into_inner`](Self::into_inner).
#[derive(Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// The queue is full (Python: `queue.Full`).
    #[error("the queue is full: get something first, or wait with put or put_timeout")]
    Full(T),
    /// The queue was full until the deadline (Python: `queue.Full` too).
    #[error("the queue stayed full until the deadline")]
    Timeout(T),
    /// This handle was closed (Python: `ValueError`).
    #[error("this handle of the queue was closed: put through another one")]
    Closed(T),
    /// The queue was shut down for everyone (Python: `queue.ShutDown`).
    #[error("the queue was shut down")]
    ShutDown(T),
    /// The shared memory of the queue, or of the system, is used up.
    #[error("the queue's shared memory is used up: get something first, or build the queue with more memory")]
    NoMemory(T),
    /// The value is longer than any message of this queue can be.
    #[error("the value takes {len} bytes, more than the queue's limit of {max}: build the queue with a larger max_message")]
    TooLong {
        /// The value.
        value: T,
        /// Bytes it takes.
        len: usize,
        /// Bytes a message can have.
        max: usize,
    },
    /// The value refuses to be encoded. The queue is as if this put had never been.
    #[error("{source}")]
    Encode {
        /// The value.
        value: T,
        /// Why.
        source: EncodeError,
    },
    /// Another process wrote rubbish over the queue.
    #[error("queue {queue:?} is corrupt: some process wrote over its memory; make a new one")]
    Corrupt {
        /// The value.
        value: T,
        /// The queue.
        queue: String,
    },
    /// This process is a forked copy and could not join the queue as itself.
    #[error("this forked process can't join queue {queue:?}: {source}")]
    Forked {
        /// The value.
        value: T,
        /// The queue.
        queue: String,
        /// Why not.
        source: Box<OpenError>,
    },
}

impl<T> PutError<T> {
    /// The value that was not put.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value)
            | Self::Timeout(value)
            | Self::Closed(value)
            | Self::ShutDown(value)
            | Self::NoMemory(value)
            | Self::TooLong { value, .. }
            | Self::Encode { value, .. }
            | Self::Corrupt { value, .. }
            | Self::Forked { value, .. } => value,
        }
    }

    /// The same error with something made of the value.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> PutError<U> {
        match self {
            Self::Full(value) => PutError::Full(make(value)),
            Self::Timeout(value) => PutError::Timeout(make(value)),
            Self::Closed(value) => PutError::Closed(make(value)),
            Self::ShutDown(value) => PutError::ShutDown(make(value)),
            Self::NoMemory(value) => PutError::NoMemory(make(value)),
            Self::TooLong { value, len, max } => PutError::TooLong { value: make(value), len, max },
            Self::Encode { value, source } => PutError::Encode { value: make(value), source },
            Self::Corrupt { value, queue } => PutError::Corrupt { value: make(value), queue },
            Self::Forked { value, queue, source } => PutError::Forked { value: make(value), queue, source },
        }
    }
}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::Timeout(_) => "Timeout",
            Self::Closed(_) => "Closed",
            Self::ShutDown(_) => "ShutDown",
            Self::NoMemory(_) => "NoMemory",
            Self::TooLong { .. } => "TooLong",
            Self::Encode { .. } => "Encode",
            Self::Corrupt { .. } => "Corrupt",
            Self::Forked { .. } => "Forked",
        };
        write!(f, "{name}: {self}")
    }
}

/// What went wrong in the channel, with the value and the queue that it happened to.
pub(crate) fn put_error<V>(queue: &str, error: sync::PutError, value: V) -> PutError<V> {
    match error {
        sync::PutError::Full => PutError::Full(value),
        sync::PutError::Closed => PutError::ShutDown(value),
        sync::PutError::NoMemory => PutError::NoMemory(value),
        sync::PutError::TooLong { len, max } => PutError::TooLong { value, len, max },
        _ => PutError::Corrupt { value, queue: queue.into() },
    }
}

/// Why `put_many` stopped.
#[derive(Error)]
#[error("{put} values were put, then one was not: {error}")]
pub struct PutManyError<T> {
    /// How many were put.
    pub put: usize,
    /// Why the next one was not, with that value.
    pub error: PutError<T>,
    /// The values after it.
    pub rest: Vec<T>,
}

impl<T> fmt::Debug for PutManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutManyError: {self}")
    }
}

/// Why nothing was got.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is empty (Python: `queue.Empty`).
    #[error("the queue is empty")]
    Empty,
    /// The queue was empty until the deadline (Python: `queue.Empty` too).
    #[error("the queue stayed empty until the deadline")]
    Timeout,
    /// The queue was shut down and everything in it was got (Python: `queue.ShutDown`).
    #[error("the queue was shut down, and everything in it was got")]
    Closed,
    /// A message makes no value of the type asked for. It is out of the queue.
    #[error("a message was got but is not what was asked for: {0}")]
    Decode(#[from] DecodeError),
    /// A message written in place was got as a value, or the other way about. It is out of the queue.
    #[error("a message was got that {written} but is asked for {asked}")]
    Form {
        /// How it was written.
        written: &'static str,
        /// How it is read.
        asked: &'static str,
    },
    /// The system has no memory left.
    #[error("the system has no shared memory left")]
    NoMemory,
    /// Another process wrote rubbish over the queue.
    #[error("queue {queue:?} is corrupt: some process wrote over its memory; make a new one")]
    Corrupt {
        /// The queue.
        queue: String,
    },
    /// This process is a forked copy and could not join the queue as itself.
    #[error("this forked process can't join queue {queue:?}: {source}")]
    Forked {
        /// The queue.
        queue: String,
        /// Why not.
        source: Box<OpenError>,
    },
}

/// Why `join_thread` did not wait, or waited in vain.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinThreadError {
    /// `close` comes first (Python: `AssertionError`).
    #[error("close the queue before join_thread")]
    NotClosed,
    /// The queue was shut down, or became unusable, before the buffer was written out.
    #[error("{lost} buffered values can't be written any more: the queue was shut down or is corrupt")]
    Lost {
        /// Values in the buffer.
        lost: usize,
    },
}

/// Why `task_done` was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// This process has nothing in hand (Python: `ValueError`).
    #[error("task_done() was called more often than this process got values from the queue")]
    NothingInHand,
}

/// `join_timeout` gave up.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{unfinished} values were not done by the deadline")]
pub struct JoinTimeout {
    /// Values put and not done, when it gave up.
    pub unfinished: usize,
}
