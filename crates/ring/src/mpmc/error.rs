//! One error per operation.

use multiproc_prim::OutOfBounds;
use std::io;
use thiserror::Error;

/// Why a ring can't be laid out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The number of slots is 0 or too large.
    #[error("a ring has from 1 to {max} slots, not {asked}", max = super::MAX_SLOTS)]
    Slots {
        /// What was asked for.
        asked: u32,
    },
    /// Not even one block of every size class fits.
    #[error("{memory} bytes of message memory are too few for messages of up to {max_message} bytes: give at least {least}")]
    Memory {
        /// Message memory asked for, in bytes.
        memory: u64,
        /// Longest message asked for, in bytes.
        max_message: u64,
        /// The least memory that would do, in bytes.
        least: u64,
    },
    /// The numbers are beyond what an address space holds.
    #[error("a ring of {slots} slots and {memory} bytes of message memory is beyond what can be addressed")]
    TooLarge {
        /// Slots asked for.
        slots: u32,
        /// Message memory asked for, in bytes.
        memory: u64,
    },
    /// The region is too short for the ring, or starts at the wrong place.
    #[error("the ring does not fit its memory: {0}")]
    Bounds(#[from] OutOfBounds),
    /// The system has no memory for the ring's own words.
    #[error("no memory for the ring's slots: {0}")]
    Commit(#[source] io::Error),
    /// The list of the ring's memory contradicts itself: another process wrote rubbish over it.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<io::Error> for LayoutError {
    fn from(error: io::Error) -> Self {
        if is_rubbish(&error) { Self::Corrupt } else { Self::Commit(error) }
    }
}

/// Whether memory is missing because another process wrote rubbish where it is listed, and not because there is none.
fn is_rubbish(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Why there is no block to write a message into.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AllocError {
    /// Every block that is large enough is in use.
    #[error("every block of shared memory that is large enough is in use")]
    Exhausted,
    /// The system has no page left for a block.
    #[error("the system has no shared memory left: {0}")]
    Commit(#[source] io::Error),
    /// The list of the ring's memory contradicts itself: another process wrote rubbish over it.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
    /// No block is ever that large.
    #[error("a message of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Longest message in bytes.
        max: usize,
    },
}

impl From<io::Error> for AllocError {
    fn from(error: io::Error) -> Self {
        if is_rubbish(&error) { Self::Corrupt } else { Self::Commit(error) }
    }
}

/// Why a block was not published.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// As many messages wait as the ring has slots.
    #[error("the ring is full")]
    Full,
    /// The ring was closed.
    #[error("the ring is closed")]
    Closed,
    /// The system has no page left for the slot.
    #[error("the system has no shared memory left for the ring's slots")]
    NoMemory,
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        if is_rubbish(&error) { Self::Corrupt } else { Self::NoMemory }
    }
}

/// Why there is no message.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TakeError {
    /// No message waits.
    #[error("the ring is empty")]
    Empty,
    /// The ring was closed and everything before that was taken.
    #[error("the ring is closed")]
    Closed,
    /// The system has no page left for the slot or block.
    #[error("the system has no shared memory left for the ring's slots")]
    NoMemory,
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

/// Why a message was not pushed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PushError {
    /// There is no block for it.
    #[error(transparent)]
    Alloc(#[from] AllocError),
    /// Its block was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Why no message was popped.
pub type PopError = TakeError;

impl From<io::Error> for TakeError {
    fn from(error: io::Error) -> Self {
        PublishError::from(error).into()
    }
}

impl From<PublishError> for TakeError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full => Self::Empty,
            PublishError::Closed => Self::Closed,
            PublishError::NoMemory => Self::NoMemory,
            PublishError::Corrupt => Self::Corrupt,
        }
    }
}
