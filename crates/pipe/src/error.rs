//! One error per operation.

use multiproc_prim::{error_debug, error_equal, fmt_refusal};
use multiproc_shm::{AttachError, CreateError};
use multiproc_sync::ChannelError;
use multiproc_travel::pass::{DecodeError, EncodeError};
use static_assertions::assert_impl_all;
use std::{fmt, io};
use thiserror::Error;

error_debug! {
    PipeError { Create, Attach, Layout, System }
    SendError { Disconnected, Full, Timeout, TooLong, Encode, Moved, ThroughItself, InUse, Unusable, TooManyDescriptors, Descriptors }
    RecvError { Empty, Timeout, Disconnected, TooLong, Decode, Moved, InUse, Unusable, Corrupt, Descriptors, Wait }
    RecvIntoError { TooShort, Recv }
    StandbyError { Taken, Half, Moved, InUse, Unusable }
    DescriptorError { Encode, Nothing, Decode, OtherTypes, System }
}

error_equal! { PipeError SendError RecvError StandbyError DescriptorError }

assert_impl_all!(PipeError: Send, Sync);
assert_impl_all!(SendError: Send, Sync);
assert_impl_all!(RecvError: Send, Sync);
assert_impl_all!(RecvIntoError: Send, Sync);
assert_impl_all!(StandbyError: Send, Sync);
assert_impl_all!(DescriptorError: Send, Sync);

fn no_pipe(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't make a pipe, or use an end of one"), source)
}

fn not_sent(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't send descriptors"), source)
}

fn not_received(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't receive the message's descriptors, so it stays in the pipe"), source)
}

fn not_waited(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't wait for a message in a future, which takes a descriptor and a thread"), source)
}

fn not_moved(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't move an end of a pipe through a descriptor"), source)
}

/// Why there is no pipe.
#[derive(Error)]
#[non_exhaustive]
pub enum PipeError {
    /// The segment could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The segment was refused.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The streams do not fit.
    #[error(transparent)]
    Layout(#[from] ChannelError),
    /// The process or the system has no descriptors or no memory left.
    #[error(fmt = no_pipe)]
    System(#[from] io::Error),
}

/// Why a message was not sent.
#[derive(Error)]
#[non_exhaustive]
pub enum SendError {
    /// The other end is closed, or its process is dead (Python: `BrokenPipeError`).
    #[error("the other end of the pipe is closed, or its process has died")]
    Disconnected,
    /// There is no room now, and the call does not wait. Nothing was sent.
    #[error("the pipe is full: nothing was sent")]
    Full,
    /// There was no room until the deadline. Nothing was sent.
    #[error("the pipe had no room until the deadline: nothing was sent")]
    Timeout,
    /// The receiver would refuse the message for its length.
    #[error("a message of {len} bytes is longer than the limit of {max} bytes: send it in parts")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Longest message in bytes.
        max: usize,
    },
    /// The value refuses to be encoded. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// This handle has lost its end: it was sent, or a stand-by took it over. A forked copy also loses its end when another copy sends it,
    /// closes it or makes a stand-by of it (Python: `OSError`, handle is closed).
    #[error(
        "this handle has lost its end of the pipe: the end was sent to another process, taken over, or used by another copy of this \
         process"
    )]
    Moved,
    /// The value holds this very end. Nothing was sent, and the end is still here.
    #[error("an end of a pipe can't be sent through itself")]
    ThroughItself,
    /// Another process uses this end (Python: the data becomes corrupted).
    #[error("process {pid} uses this end of the pipe: an end belongs to one process at a time")]
    InUse {
        /// The process, as its own namespace numbers it.
        pid: u32,
    },
    /// This process could not take over the end from another process: the system has no memory, or the pipe is corrupt.
    #[error(transparent)]
    Unusable(PipeError),
    /// The value holds more descriptors than one message can.
    #[error("the value holds {count} descriptors, more than the {max} of one message: send it in parts")]
    TooManyDescriptors {
        /// Descriptors in the value.
        count: usize,
        /// Descriptors that there may be.
        max: usize,
    },
    /// The system refuses to send descriptors.
    #[error(fmt = not_sent)]
    Descriptors(#[source] io::Error),
}

/// Why no message was received.
#[derive(Error)]
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
    /// The message is longer than allowed, and was skipped (Python: `OSError`, and the connection is unusable).
    #[error("a message of more than {max} bytes was skipped")]
    TooLong {
        /// Bytes allowed.
        max: usize,
    },
    /// The bytes make no value of the type asked for.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// This handle has lost its end: it was sent, or a stand-by took it over. A forked copy also loses its end when another copy sends it,
    /// closes it or makes a stand-by of it (Python: `OSError`, handle is closed).
    #[error(
        "this handle has lost its end of the pipe: the end was sent to another process, taken over, or used by another copy of this \
         process"
    )]
    Moved,
    /// Another process uses this end (Python: the data becomes corrupted).
    #[error("process {pid} uses this end of the pipe: an end belongs to one process at a time")]
    InUse {
        /// The process, as its own namespace numbers it.
        pid: u32,
    },
    /// This process could not take over the end from another process: the system has no memory, or the pipe is corrupt.
    #[error(transparent)]
    Unusable(PipeError),
    /// The other process wrote over the pipe's memory, or announced descriptors that did not come.
    #[error("the pipe is corrupt: the other process wrote over its memory")]
    Corrupt,
    /// The system refuses to receive the descriptors of the next message. The message stays in the pipe: close other descriptors and receive
    /// it again, or receive its bytes alone.
    #[error(fmt = not_received)]
    Descriptors(#[source] io::Error),
    /// The system refuses what it takes to wait in a future: a descriptor or a thread.
    #[error(fmt = not_waited)]
    Wait(#[source] io::Error),
}

/// Why there is no stand-by, or why it does not take over.
#[derive(Error)]
#[non_exhaustive]
pub enum StandbyError {
    /// The end has a stand-by already.
    #[error("this end of the pipe has a stand-by already: drop that one first")]
    Taken,
    /// This is a half of an end that was split.
    #[error("this is one half of an end of a pipe: make the stand-by before the end is split")]
    Half,
    /// This handle has lost its end or stand-by: it was sent to another process, or has taken over. A forked copy also loses its end when
    /// another copy sends it, closes it or makes a stand-by of it.
    #[error(
        "this handle has lost its end of the pipe, or its stand-by: that was sent to another process, has taken over, or was used by \
         another copy of this process"
    )]
    Moved,
    /// The end is in use: a stand-by can't take over yet, or another process uses the end that is to get a stand-by.
    #[error("the end of the pipe is still in use")]
    InUse,
    /// The system has no memory or descriptors, or the pipe is corrupt.
    #[error(transparent)]
    Unusable(#[from] PipeError),
}

/// Why an end is not in a descriptor, or why a descriptor gives no end.
#[derive(Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The end can't leave: it was sent before, is a half, or another process uses it.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// There is no end in the descriptor.
    #[error("no end of a pipe is in this descriptor: it is another kind of file, or the end was taken out before")]
    Nothing,
    /// What is in the descriptor is another kind of end, or is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The end sends or receives other types.
    #[error("the descriptor holds a {found}, and a {wanted} was asked for: both programs must name the same types")]
    OtherTypes {
        /// The end in the descriptor, as the program that put it there names it.
        found: String,
        /// The end that was asked for.
        wanted: String,
    },
    /// The process or the system has no descriptors or no memory left.
    #[error(fmt = not_moved)]
    System(#[from] io::Error),
}

/// Why this process does not have an end to itself.
#[derive(Debug)]
pub(crate) enum ClaimError {
    Moved,
    InUse(u32),
    Unusable(PipeError),
}

impl From<ClaimError> for SendError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Moved => Self::Moved,
            ClaimError::InUse(pid) => Self::InUse { pid },
            ClaimError::Unusable(why) => Self::Unusable(why),
        }
    }
}

impl From<ClaimError> for RecvError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Moved => Self::Moved,
            ClaimError::InUse(pid) => Self::InUse { pid },
            ClaimError::Unusable(why) => Self::Unusable(why),
        }
    }
}

impl From<ClaimError> for StandbyError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Moved => Self::Moved,
            ClaimError::InUse(_) => Self::InUse,
            ClaimError::Unusable(why) => Self::Unusable(why),
        }
    }
}

/// Why a message is not in the buffer.
#[derive(Error, PartialEq)]
#[non_exhaustive]
pub enum RecvIntoError {
    /// The buffer is too short for the message, which is in the error (Python: `BufferTooShort`).
    #[error("the buffer of {buffer} bytes is too short for a message of {} bytes", message.len())]
    TooShort {
        /// Bytes of the buffer.
        buffer: usize,
        /// The message, whole.
        message: Vec<u8>,
    },
    /// No message was received.
    #[error(transparent)]
    Recv(#[from] RecvError),
}
