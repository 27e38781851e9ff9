//! One error per operation. Those of a put give the value back.

use multiproc_shm::{AttachError, CreateError, JoinError};
use multiproc_sync::{self as sync, ChannelError};
use multiproc_travel::pass::{DecodeError, EncodeError};
use std::fmt;
use thiserror::Error;

/// Why there is no queue.
#[derive(Error)]
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

/// The message: it is what a `main` that returns the error prints.
impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenError: {self}")
    }
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
    /// This process is a forked copy of the one that has it in hand, which alone can put it.
    #[error("it is in the hands of the process that this one was forked from: only that one can put it")]
    Inherited(T),
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
            | Self::Inherited(value)
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
            Self::Inherited(value) => PutError::Inherited(make(value)),
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
            Self::Inherited(_) => "Inherited",
            Self::TooLong { .. } => "TooLong",
            Self::Encode { .. } => "Encode",
            Self::Corrupt { .. } => "Corrupt",
            Self::Forked { .. } => "Forked",
        };
        write!(f, "{name}: {self}")
    }
}

/// What went wrong in the channel, with the value and the queue that it happened to.
pub(crate) fn put_error<V>(queue: &str, error: sync::ChannelPushError, value: V) -> PutError<V> {
    match error {
        sync::ChannelPushError::Full => PutError::Full(value),
        sync::ChannelPushError::Timeout => PutError::Timeout(value),
        sync::ChannelPushError::ShutDown => PutError::ShutDown(value),
        sync::ChannelPushError::NoMemory => PutError::NoMemory(value),
        sync::ChannelPushError::TooLong { len, max } => PutError::TooLong { value, len, max },
        _ => PutError::Corrupt { value, queue: queue.into() },
    }
}

/// Why `put_many` stopped. `I` is the iterator that gave the values.
#[derive(Error)]
#[error("{put} values were put, then one was not: {error}")]
pub struct PutManyError<I: Iterator> {
    /// How many were put.
    pub put: usize,
    /// Why the next one was not, with that value.
    pub error: PutError<I::Item>,
    /// The iterator, which gives the values after it. Nothing was taken from it beyond the value in `error`.
    pub rest: I,
}

impl<I: Iterator> fmt::Debug for PutManyError<I> {
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
    ShutDown,
    /// A message makes no value of the type asked for. It is out of the queue; a `JoinableQueue` puts it aside with the dead letters.
    #[error("a message was got but is not what was asked for: {0}")]
    Decode(#[from] DecodeError),
    /// A message written in place was got as a value, or the other way about. It is out of the queue; a `JoinableQueue` puts it
    /// aside with the dead letters.
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

/// Why `get_many` stopped before it had what is there.
#[derive(Error)]
#[error("{} values were got, then: {error}", values.len())]
pub struct GetManyError<T> {
    /// The values that were got. In a `JoinableQueue` they are in hand.
    pub values: Vec<T>,
    /// Why the next one was not.
    pub error: GetError,
}

impl<T> fmt::Debug for GetManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GetManyError: {self}")
    }
}

/// Why `join_thread` was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinThreadError {
    /// `close` comes first (Python: `AssertionError`).
    #[error("close the queue before join_thread")]
    NotClosed,
}

/// Why `task_done` was refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskDoneError {
    /// The calling thread has nothing in hand (Python: `ValueError`).
    #[error(
        "task_done() was called more often than this thread got values from the queue: \
         call it where get() was called, or use get_delivery() for values that go to another thread"
    )]
    NothingInHand,
}

/// Why `join` or `join_timeout` did not see everything done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueJoinError {
    /// The deadline passed.
    #[error("{unfinished} values were not done by the deadline")]
    Timeout {
        /// Values put and not done, when it gave up.
        unfinished: usize,
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
