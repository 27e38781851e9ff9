//! One error per operation.

use multiproc_prim::OutOfBounds;
use multiproc_ring::mpmc::{LayoutError, PublishError, TakeError};
use multiproc_ring::spsc::SpscError;
use thiserror::Error;

/// Why there is no channel or stream.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The ring can't be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The ring for one producer and one consumer can't be laid out.
    #[error(transparent)]
    Spsc(#[from] SpscError),
    /// The region is too short.
    #[error("the channel does not fit its memory: {0}")]
    Bounds(#[from] OutOfBounds),
    /// The system has no memory for the channel's own words.
    #[error("no memory for the channel's words: {0}")]
    Commit(#[from] std::io::Error),
}

/// Why a message was not put.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutError {
    /// No slot came free in time.
    #[error("the channel is full")]
    Full,
    /// No memory came free in time.
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
    Closed,
    /// Another process wrote rubbish over the channel.
    #[error("the channel's words in shared memory contradict each other")]
    Corrupt,
}

/// Why no message was got.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GetError {
    /// No message came in time.
    #[error("the channel is empty")]
    Empty,
    /// The channel was shut down and is drained.
    #[error("the channel is shut down")]
    Closed,
    /// The system has no memory left.
    #[error("the system has no shared memory left")]
    NoMemory,
    /// Another process wrote rubbish over the channel.
    #[error("the channel's words in shared memory contradict each other")]
    Corrupt,
}

impl From<PublishError> for PutError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => Self::Full,
            PublishError::Closed => Self::Closed,
            PublishError::NoMemory => Self::NoMemory,
            _ => Self::Corrupt,
        }
    }
}

impl From<TakeError> for GetError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Empty => Self::Empty,
            TakeError::Closed => Self::Closed,
            TakeError::NoMemory => Self::NoMemory,
            _ => Self::Corrupt,
        }
    }
}

/// Why a record was not sent.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// No room came free in time.
    #[error("the stream is full")]
    Full,
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

/// Why no record was received.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// None came in time.
    #[error("the stream is empty")]
    Empty,
    /// Nobody writes any more, and everything written was read.
    #[error("the stream's other end is closed")]
    Closed,
    /// Another process wrote rubbish over the stream.
    #[error("the stream's words in shared memory contradict each other")]
    Corrupt,
}
