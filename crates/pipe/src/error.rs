//! One error per operation.

use multiproc_shm::pass::{DecodeError, EncodeError};
use multiproc_shm::{AttachError, CreateError};
use multiproc_sync::ChannelError;
use thiserror::Error;

/// Why there is no pipe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PipeError {
    /// The segment could not be made.
    #[error("can't make a pipe: {0}")]
    Create(#[from] CreateError),
    /// The segment was refused.
    #[error("can't open the pipe: {0}")]
    Attach(#[from] AttachError),
    /// The streams do not fit.
    #[error("can't make a pipe: {0}")]
    Layout(#[from] ChannelError),
    /// The process or the system has no descriptors left.
    #[error("can't make a pipe: {0}")]
    System(#[from] std::io::Error),
}

/// Why a message was not sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is closed, or its process is dead (Python: `BrokenPipeError`).
    #[error("the other end of the pipe is closed, or its process has died")]
    Disconnected,
    /// The value refuses to be encoded. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Another process uses this end (Python: the data becomes corrupted).
    #[error("process {pid} uses this end of the pipe: an end belongs to one process at a time")]
    InUse {
        /// The process, as its own namespace numbers it.
        pid: u32,
    },
    /// This process could not take over the end, which another one had before: the system has no memory, or it is corrupt.
    #[error("this process can't use its end of the pipe: {0}")]
    Unusable(#[source] PipeError),
    /// The system refuses to send descriptors.
    #[error("can't send descriptors: {0}")]
    Descriptors(#[source] std::io::Error),
}

/// Why no message was received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// No message is there now.
    #[error("no message is there")]
    Empty,
    /// No message came until the deadline.
    #[error("no message came until the deadline")]
    Timeout,
    /// The other end is closed, or its process is dead, and everything sent was received (Python: `EOFError`).
    #[error("the other end of the pipe is closed, or its process has died")]
    Disconnected,
    /// The message is longer than allowed. It is skipped (Python: `OSError`, and the connection is unusable).
    #[error("a message of more than {max} bytes was skipped")]
    TooLong {
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes make no value of the type asked for.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Another process uses this end (Python: the data becomes corrupted).
    #[error("process {pid} uses this end of the pipe: an end belongs to one process at a time")]
    InUse {
        /// The process, as its own namespace numbers it.
        pid: u32,
    },
    /// This process could not take over the end, which another one had before: the system has no memory, or it is corrupt.
    #[error("this process can't use its end of the pipe: {0}")]
    Unusable(#[source] PipeError),
    /// The other process wrote rubbish over the pipe.
    #[error("the pipe is corrupt: the other process wrote over its memory")]
    Corrupt,
    /// The system refuses to receive descriptors.
    #[error("can't receive descriptors: {0}")]
    Descriptors(#[source] std::io::Error),
}

/// Why this process does not have an end to itself.
pub(crate) enum ClaimError {
    InUse(u32),
    Unusable(PipeError),
}

impl From<ClaimError> for SendError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::InUse(pid) => Self::InUse { pid },
            ClaimError::Unusable(why) => Self::Unusable(why),
        }
    }
}

impl From<ClaimError> for RecvError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::InUse(pid) => Self::InUse { pid },
            ClaimError::Unusable(why) => Self::Unusable(why),
        }
    }
}

/// Why a message is not in the buffer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecvIntoError {
    /// The buffer is too short. Here is the message (Python: `BufferTooShort`).
    #[error("the buffer of {buffer} bytes is too short for a message of {} bytes", message.len())]
    TooShort {
        /// Bytes of the buffer.
        buffer: usize,
        /// The message, whole.
        message: Vec<u8>,
    },
    /// There is none.
    #[error(transparent)]
    Recv(#[from] RecvError),
}
