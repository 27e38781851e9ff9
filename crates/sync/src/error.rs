//! One error per operation. Those of messages and records are `Copy`.

use multiproc_prim::{OutOfBounds, error_debug, fmt_refusal};
use multiproc_ring::mpmc::{AllocError, LayoutError, PopError, PushError, Refused};
use multiproc_ring::spsc::SpscError;
use std::{fmt, io};
use thiserror::Error;

error_debug! {
    ChannelError { Layout, Spsc, Bounds, Commit }
    ChannelPushError { Full, Timeout, NoMemory, TooLong, ShutDown, Corrupt }
    ChannelPopError { Empty, Timeout, ShutDown, NoMemory, Corrupt }
    StreamSendError { Full, Timeout, Closed, TooLong }
    StreamRecvError { Empty, Timeout, Closed, Corrupt }
}

fn no_memory(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't get memory for the channel's words"), source)
}

/// Why there is no channel or stream.
#[derive(Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The ring can't be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The ring for one producer and one consumer can't be laid out.
    #[error(transparent)]
    Spsc(#[from] SpscError),
    /// The region is too short.
    #[error(transparent)]
    Bounds(#[from] OutOfBounds),
    /// The system has no memory for the channel's own words.
    #[error(fmt = no_memory)]
    Commit(#[from] io::Error),
}

/// Why a message was not pushed into a channel.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelPushError {
    /// No slot is free, and the call does not wait: its deadline is [`NOW`](multiproc_prim::Deadline::NOW).
    #[error("the channel is full")]
    Full,
    /// No slot came free before the deadline.
    #[error("the channel stayed full until the deadline")]
    Timeout,
    /// No memory came free before the deadline, or none could.
    #[error("the channel's shared memory is used up")]
    NoMemory,
    /// No message is ever that long.
    #[error("a message of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Longest message in bytes.
        max: usize,
    },
    /// The channel was shut down.
    #[error("the channel is shut down")]
    ShutDown,
    /// Another process wrote rubbish over the channel.
    #[error("the channel's words in shared memory contradict each other")]
    Corrupt,
}

/// Why no message was popped from a channel.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChannelPopError {
    /// No message is there, and the call does not wait: its deadline is [`NOW`](multiproc_prim::Deadline::NOW).
    #[error("the channel is empty")]
    Empty,
    /// No message came before the deadline.
    #[error("the channel stayed empty until the deadline")]
    Timeout,
    /// The channel was shut down and is drained.
    #[error("the channel is shut down")]
    ShutDown,
    /// The system has no memory left.
    #[error("the system has no shared memory left")]
    NoMemory,
    /// Another process wrote rubbish over the channel.
    #[error("the channel's words in shared memory contradict each other")]
    Corrupt,
}

impl From<PushError> for ChannelPushError {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::Full,
            PushError::Closed => Self::ShutDown,
            // The system may have memory again when a message has been taken, like the ring itself.
            PushError::Exhausted | PushError::NoMemory { .. } => Self::NoMemory,
            PushError::TooLong { len, max } => Self::TooLong { len, max },
            _ => Self::Corrupt,
        }
    }
}

impl From<AllocError> for ChannelPushError {
    fn from(error: AllocError) -> Self {
        PushError::from(error).into()
    }
}

impl<B> From<Refused<Self, B>> for ChannelPushError {
    fn from(refused: Refused<Self, B>) -> Self {
        refused.into_error()
    }
}

impl From<PopError> for ChannelPopError {
    fn from(error: PopError) -> Self {
        match error {
            PopError::Empty => Self::Empty,
            PopError::Closed => Self::ShutDown,
            PopError::NoMemory { .. } => Self::NoMemory,
            _ => Self::Corrupt,
        }
    }
}

/// Why a record was not sent into a stream.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamSendError {
    /// There is no room, and the call does not wait: its deadline is [`NOW`](multiproc_prim::Deadline::NOW).
    #[error("the stream is full")]
    Full,
    /// No room came free before the deadline.
    #[error("the stream stayed full until the deadline")]
    Timeout,
    /// Nobody reads any more.
    #[error("the stream's other end is closed")]
    Closed,
    /// No record is ever that long.
    #[error("a record of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// Length of the record in bytes.
        len: usize,
        /// Longest record in bytes.
        max: usize,
    },
}

/// Why no record was received from a stream.
#[derive(Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamRecvError {
    /// No record is there, and the call does not wait: its deadline is [`NOW`](multiproc_prim::Deadline::NOW).
    #[error("the stream is empty")]
    Empty,
    /// No record came before the deadline.
    #[error("the stream stayed empty until the deadline")]
    Timeout,
    /// Nobody writes any more, and everything written was read.
    #[error("the stream's other end is closed")]
    Closed,
    /// Another process wrote rubbish over the stream.
    #[error("the stream's words in shared memory contradict each other")]
    Corrupt,
}
