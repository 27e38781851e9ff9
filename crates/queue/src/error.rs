//! One error per operation. The errors of a put give the value back.
//!
//! Three rules hold for each of them:
//!
//! - Its text is whole: it ends with the text of its cause. So `{error}` says everything, and so does `Debug`, by which Rust
//!   prints an error that `main` returns.
//! - `source()` gives the cause to a program that asks for more than the text.
//! - Two of them are equal if they are of the same kind, hold equal values and have equal texts. Some causes, `std::io::Error`
//!   among them, offer no other comparison.

use multiproc_shm::{AttachError, CreateError, JoinError};
use multiproc_sync::{self as sync, ChannelError};
use multiproc_travel::pass::{DecodeError, EncodeError};
use std::fmt;
use std::mem::discriminant;
use thiserror::Error;

/// `Debug` as the text, for each error of this crate.
macro_rules! debug_is_text {
    ($($Error:ident $(<$T:ident $(: $Bound:ident)?>)?),+ $(,)?) => {$(
        impl $(<$T $(: $Bound)?>)? fmt::Debug for $Error $(<$T>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($Error), ": {}"), self)
            }
        }
    )+};
}

debug_is_text! {
    OpenError, RemoveError, PutError<T>, PutManyError<I: Iterator>, GetError, GetManyError<T>,
    JoinThreadError, TaskDoneError, QueueJoinError,
}

/// `PartialEq` by kind and text, for errors whose causes can't be compared.
macro_rules! equal_by_text {
    ($($Error:ident),+) => {$(
        impl PartialEq for $Error {
            fn eq(&self, other: &Self) -> bool {
                discriminant(self) == discriminant(other) && self.to_string() == other.to_string()
            }
        }
    )+};
}

equal_by_text!(OpenError, RemoveError, GetError, QueueJoinError);

/// Why there is no queue.
#[derive(Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The queue could not be made. [`CreateError::Exists`]: its name is taken.
    #[error("can't make a queue: {0}")]
    Create(#[from] CreateError),
    /// The queue was not found or was refused. [`AttachError::NotFound`]: there is none of this name.
    /// [`Flaw`](crate::Flaw) says what is wrong with it, `Kind` and `MessageType` among others.
    #[error("can't open the queue: {0}")]
    Attach(#[from] AttachError),
    /// The queue of this name has another capacity than [`open_or_create`](crate::Builder::open_or_create) was told.
    #[error(
        "queue {queue:?} has a capacity of {}, not {}: ask for the same one, or use open, which takes any",
        capacity(.found), capacity(.expected)
    )]
    Capacity {
        /// The queue.
        queue: String,
        /// Its capacity in values; `None`: unbounded.
        found: Option<u32>,
        /// The capacity asked for.
        expected: Option<u32>,
    },
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

fn capacity(values: &Option<u32>) -> String {
    values.map_or_else(|| "any number of values (unbounded)".into(), |values| format!("{values} values"))
}

/// Why a name was not removed.
#[derive(Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// There is no queue of this name.
    #[error("there is no queue named {0:?}")]
    NotFound(String),
    /// The name can't be one, or the system refused.
    #[error("can't remove the name of a queue: {0}")]
    Refused(#[source] AttachError),
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
    #[error("the queue was shut down, for good: make a new one, or remove its name first if it has one")]
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
    /// Another process wrote over the queue's memory.
    #[error("queue {queue:?} is corrupt: some process wrote over its memory; make a new one")]
    Corrupt {
        /// The value.
        value: T,
        /// The queue.
        queue: String,
    },
    /// It is in hand of the process that this one was forked from.
    #[error("it is in the hands of the process that this one was forked from: only that process can put it")]
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

/// The value in each variant of a [`PutError`], by value or by reference as the error is given.
macro_rules! value_in {
    ($error:expr) => {
        match $error {
            PutError::Full(value)
            | PutError::Timeout(value)
            | PutError::Closed(value)
            | PutError::ShutDown(value)
            | PutError::NoMemory(value)
            | PutError::Inherited(value)
            | PutError::TooLong { value, .. }
            | PutError::Encode { value, .. }
            | PutError::Corrupt { value, .. }
            | PutError::Forked { value, .. } => value,
        }
    };
}

impl<T> PutError<T> {
    /// Returns the value that was not put.
    pub fn into_inner(self) -> T {
        value_in!(self)
    }

    fn value(&self) -> &T {
        value_in!(self)
    }

    /// Makes the same error with something made of its value.
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

impl<T: PartialEq> PartialEq for PutError<T> {
    fn eq(&self, other: &Self) -> bool {
        discriminant(self) == discriminant(other) && self.value() == other.value() && self.to_string() == other.to_string()
    }
}

/// The error of a put for one of the channel, with the value that was not put.
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

/// Why `put_many`, `try_put_many` or `put_many_timeout` stopped. `I` is the iterator that gave the values.
#[derive(Error, PartialEq)]
#[error("{put} values were put, then one was not: {error}")]
pub struct PutManyError<I: Iterator> {
    /// How many were put.
    pub put: usize,
    /// Why the next one was not, with that value.
    #[source]
    pub error: PutError<I::Item>,
    /// The iterator, which gives the values after it. Nothing was taken from it beyond the value in `error`.
    pub rest: I,
}

/// Why nothing was got.
#[derive(Error)]
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
    /// A message makes no value of the type asked for. It is out of the queue. A `JoinableQueue` puts it with the dead letters.
    #[error("a message was got but is not what was asked for: {0}")]
    Decode(#[from] DecodeError),
    /// A message written in place was got as a value, or the other way about. It is out of the queue. A `JoinableQueue` puts it
    /// with the dead letters.
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
    /// Another process wrote over the queue's memory.
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

/// Why `get_many`, `try_get_many` or `get_many_timeout` stopped before it had what is there.
#[derive(Error, PartialEq)]
#[error("{} values were got, then: {error}", values.len())]
pub struct GetManyError<T> {
    /// The values that were got. In a `JoinableQueue` they are in hand.
    pub values: Vec<T>,
    /// Why the next one was not.
    #[source]
    pub error: GetError,
}

/// Why `join_thread` was refused.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinThreadError {
    /// `close` comes first (Python: `AssertionError`).
    #[error("close the queue before join_thread")]
    NotClosed,
}

/// Why `task_done` was refused.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
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
#[derive(Error)]
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
