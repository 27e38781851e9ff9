//! One error per operation. The errors of a put give the value back.
//!
//! Three rules hold for each of them:
//!
//! - Its text says everything: what happened, why, and what to do. `Debug` adds the variant, and Rust prints that for an error
//!   that `main` returns.
//! - Where the system refused, `source()` gives its own answer, a `std::io::Error`. The text says that answer in words, and
//!   `{error:#}` adds it.
//! - Two of them are equal if they are of the same kind, hold equal values and have equal texts. Some causes, `std::io::Error`
//!   among them, offer no other comparison.

use crate::attachment::Attachment;
use multiproc_prim::{error_debug, error_equal};
use multiproc_shm::{AttachError, CreateError, ParticipantError};
use multiproc_sync::{self as sync, ChannelError};
use multiproc_travel::pass::{DecodeError, EncodeError};
use std::fmt;
use thiserror::Error;

error_debug! {
    OpenError { Create, Attach, NoName, Capacity, Join, Layout }
    RemoveError { NotFound, Refused }
    PutError<T> { Full, Timeout, Closed, ShutDown, NoMemory, TooLong, Encode, Corrupt, Inherited, Forked }
    GetError { Empty, Timeout, ShutDown, Decode, Form, NoMemory, Corrupt, Forked }
    JoinThreadError { NotClosed }
    TaskDoneError { NothingInHand }
    QueueJoinError { Timeout, Forked }
    SendError<T> { Full, Timeout, Disconnected, Other }
    RecvError { Empty, Timeout, Disconnected, Other }
}

error_equal! { OpenError RemoveError GetError QueueJoinError RecvError }

/// Why there is no queue.
#[derive(Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The queue could not be made. [`CreateError::Exists`]: its name is taken.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The queue was not found or was refused. [`AttachError::NotFound`]: there is none of this name.
    /// [`Flaw`](crate::Flaw) says what is wrong with it, `Kind` and `MessageType` among others.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// No name was given to open or make the queue by: see [`named`](crate::Builder::named).
    #[error("a queue is opened by its name: give it one with named(...), or make a queue without a name with build()")]
    NoName,
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
    #[error("can't join queue {queue:?}: {why:#}")]
    Join {
        /// The queue.
        queue: String,
        /// Why not.
        why: ParticipantError,
    },
    /// The numbers asked for make no queue.
    #[error(transparent)]
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
    #[error(transparent)]
    Refused(AttachError),
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
    #[error(
        "the value takes {len} bytes, more than the queue's limit of {max}: build the queue with a larger max_message, and memory for several of them"
    )]
    TooLong {
        /// The value.
        value: T,
        /// Bytes it takes.
        len: usize,
        /// Bytes a message can have.
        max: usize,
    },
    /// The value refuses to be encoded. The queue is as if this put had never been.
    #[error("{why}")]
    Encode {
        /// The value.
        value: T,
        /// Why.
        why: EncodeError,
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
    #[error("this forked process can't join queue {queue:?}: {why:#}")]
    Forked {
        /// The value.
        value: T,
        /// The queue.
        queue: String,
        /// Why not.
        why: Box<OpenError>,
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
            Self::Encode { value, why } => PutError::Encode { value: make(value), why },
            Self::Corrupt { value, queue } => PutError::Corrupt { value: make(value), queue },
            Self::Forked { value, queue, why } => PutError::Forked { value: make(value), queue, why },
        }
    }
}

impl<T: PartialEq> PartialEq for PutError<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value() && format!("{self:?}") == format!("{other:?}")
    }
}

/// The error of a put for one of the channel, with the value that was not put.
pub(crate) fn put_error<V>(queue: &Attachment, error: sync::ChannelPushError, value: V) -> PutError<V> {
    match error {
        // Its slots are memory, of which it has as much as for messages.
        sync::ChannelPushError::Full | sync::ChannelPushError::Timeout if !queue.shape.bounded => PutError::NoMemory(value),
        sync::ChannelPushError::Full => PutError::Full(value),
        sync::ChannelPushError::Timeout => PutError::Timeout(value),
        sync::ChannelPushError::ShutDown => PutError::ShutDown(value),
        sync::ChannelPushError::NoMemory => PutError::NoMemory(value),
        sync::ChannelPushError::TooLong { len, max } => PutError::TooLong { value, len, max },
        _ => PutError::Corrupt { value, queue: queue.name().into() },
    }
}

/// Why `put_many`, `try_put_many` or `put_many_timeout` stopped. `I` is the iterator that gave the values.
#[derive(Error, PartialEq)]
#[error("{put} values were put, then one was not: {error:#}")]
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
        write!(f, "PutManyError: {} values were put, then one was not: {:?}", self.put, self.error)
    }
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
    #[error(transparent)]
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
    #[error("this forked process can't join queue {queue:?}: {why:#}")]
    Forked {
        /// The queue.
        queue: String,
        /// Why not.
        why: Box<OpenError>,
    },
}

/// Why `get_many`, `try_get_many` or `get_many_timeout` stopped before it had what is there.
#[derive(Error, PartialEq)]
#[error("{} values were got, then: {error:#}", values.len())]
pub struct GetManyError<T> {
    /// The values that were got. In a `JoinableQueue` they are in hand.
    pub values: Vec<T>,
    /// Why the next one was not.
    pub error: GetError,
}

impl<T> fmt::Debug for GetManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GetManyError: {} values were got, then: {:?}", self.values.len(), self.error)
    }
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
    #[error("this forked process can't join queue {queue:?}: {why:#}")]
    Forked {
        /// The queue.
        queue: String,
        /// Why not.
        why: Box<OpenError>,
    },
}

/// Why a value was not sent. Every variant has the value: [`into_inner`](Self::into_inner).
#[derive(Error)]
#[non_exhaustive]
pub enum SendError<T> {
    /// The queue is full.
    #[error("the queue is full: receive something first, or wait with send or send_timeout")]
    Full(T),
    /// The queue was full until the deadline.
    #[error("the queue stayed full until the deadline")]
    Timeout(T),
    /// The last receiver was dropped, or its process has died; or the queue was shut down.
    #[error("no receiver is left, or the queue was shut down")]
    Disconnected(T),
    /// The value can't be sent, for a reason that a put has, too.
    #[error(transparent)]
    Other(PutError<T>),
}

impl<T> SendError<T> {
    /// Returns the value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Timeout(value) | Self::Disconnected(value) => value,
            Self::Other(error) => error.into_inner(),
        }
    }

    fn value(&self) -> &T {
        match self {
            Self::Full(value) | Self::Timeout(value) | Self::Disconnected(value) => value,
            Self::Other(error) => error.value(),
        }
    }
}

impl<T> From<PutError<T>> for SendError<T> {
    fn from(error: PutError<T>) -> Self {
        match error {
            PutError::Full(value) => Self::Full(value),
            PutError::Timeout(value) => Self::Timeout(value),
            PutError::ShutDown(value) => Self::Disconnected(value),
            other => Self::Other(other),
        }
    }
}

impl<T: PartialEq> PartialEq for SendError<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value() && format!("{self:?}") == format!("{other:?}")
    }
}

/// Why nothing was received.
#[derive(Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The queue is empty.
    #[error("the queue is empty")]
    Empty,
    /// The queue was empty until the deadline.
    #[error("the queue stayed empty until the deadline")]
    Timeout,
    /// The last sender was dropped, or its process has died, and everything that was sent was received. Or the queue was shut down.
    #[error("no sender is left, or the queue was shut down, and everything in it was received")]
    Disconnected,
    /// A message makes no value, or the queue can't be used, for a reason that a get has, too.
    #[error(transparent)]
    Other(GetError),
}

impl From<GetError> for RecvError {
    fn from(error: GetError) -> Self {
        match error {
            GetError::Empty => Self::Empty,
            GetError::Timeout => Self::Timeout,
            GetError::ShutDown => Self::Disconnected,
            other => Self::Other(other),
        }
    }
}
