//! One error per operation. All of them are `Copy`, but for [`LayoutError`]: an error that needs no drop costs the good case nothing.

use super::layout::{Geometry, MAX_SLOTS, PAGE};
use multiproc_prim::{OutOfBounds, error_debug, fmt_refusal};
use std::error::Error;
use std::{fmt, io};
use thiserror::Error;

error_debug! {
    LayoutError { Slots, Memory, TooLarge, Unaligned, Bounds, Differs, Commit, Corrupt }
    AllocError { Exhausted, NoMemory, TooLong, Corrupt }
    PushError { Full, Closed, Exhausted, NoMemory, TooLong, Corrupt }
    PopError { Empty, Closed, NoMemory, Corrupt }
    GiveBackError { NotABlock, NoReturns, NoMemory, Corrupt }
    SweepError { NoReturns, NoMemory, Corrupt }
}

fn no_memory(source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't get memory for the ring's slots"), source)
}

/// Why a ring can't be laid out.
#[derive(Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The number of slots is 0 or too large.
    #[error("there can be room for 1 to {MAX_SLOTS} messages, not for {asked}")]
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
    /// The ring would not start on a page.
    #[error("a ring starts at a multiple of {PAGE} bytes, not at {at}")]
    Unaligned {
        /// Where the ring should start, in bytes from the region's start.
        at: usize,
    },
    /// The region is too short for the ring.
    #[error(transparent)]
    Bounds(#[from] OutOfBounds),
    /// The memory holds a ring of another geometry, or none.
    #[error("{}", differs(found.as_ref(), asked))]
    Differs {
        /// What the memory says of its ring; `None` where no ring was ever made.
        found: Option<Geometry>,
        /// What was asked for.
        asked: Geometry,
    },
    /// The system has no memory for the ring's own words.
    #[error(fmt = no_memory)]
    Commit(#[source] io::Error),
    /// The list of the ring's memory contradicts itself: another process wrote rubbish over it.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

fn differs(found: Option<&Geometry>, asked: &Geometry) -> String {
    match found {
        Some(found) => format!("the memory holds a ring of {found:?}, not of {asked:?}"),
        None => format!("the memory holds no ring: create it first, with {asked:?}"),
    }
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
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllocError {
    /// Every block that is large enough is in use.
    #[error("every block of shared memory that is large enough is in use")]
    Exhausted,
    /// The system has no page left for a block.
    #[error("the system has no shared memory left: {kind}")]
    NoMemory {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// No block is ever that large.
    #[error("a message of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Longest message in bytes: what the largest block holds, which is [`Geometry::max_message`] or a little more.
        max: usize,
    },
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<io::Error> for AllocError {
    fn from(error: io::Error) -> Self {
        match is_rubbish(&error) {
            true => Self::Corrupt,
            false => Self::NoMemory { kind: error.kind() },
        }
    }
}

/// Why a message was not pushed.
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// As many messages wait as the ring has slots.
    #[error("the ring is full")]
    Full,
    /// The ring was shut: nobody pushes any more.
    #[error("the ring is closed")]
    Closed,
    /// Every block that is large enough is in use.
    #[error("every block of shared memory that is large enough is in use")]
    Exhausted,
    /// The system has no page left for the message.
    #[error("the system has no shared memory left: {kind}")]
    NoMemory {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// No message is ever that long.
    #[error("a message of {len} bytes is longer than the limit of {max}")]
    TooLong {
        /// Length of the message in bytes.
        len: usize,
        /// Longest message in bytes: what the largest block holds, which is [`Geometry::max_message`] or a little more.
        max: usize,
    },
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<AllocError> for PushError {
    #[inline(always)]
    fn from(error: AllocError) -> Self {
        match error {
            AllocError::Exhausted => Self::Exhausted,
            AllocError::NoMemory { kind } => Self::NoMemory { kind },
            AllocError::TooLong { len, max } => Self::TooLong { len, max },
            AllocError::Corrupt => Self::Corrupt,
        }
    }
}

/// Why a slot was not filled. It is smaller than [`PushError`], and so cheaper to hand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FillError {
    Full,
    Closed,
    NoMemory { kind: io::ErrorKind },
    Corrupt,
}

impl From<io::Error> for FillError {
    fn from(error: io::Error) -> Self {
        match error.into() {
            AllocError::NoMemory { kind } => Self::NoMemory { kind },
            _ => Self::Corrupt,
        }
    }
}

impl From<FillError> for PushError {
    #[inline(always)]
    fn from(error: FillError) -> Self {
        match error {
            FillError::Full => Self::Full,
            FillError::Closed => Self::Closed,
            FillError::NoMemory { kind } => Self::NoMemory { kind },
            FillError::Corrupt => Self::Corrupt,
        }
    }
}

/// Why no message was popped.
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PopError {
    /// No message waits.
    #[error("the ring is empty")]
    Empty,
    /// The ring was closed and everything before that was taken.
    #[error("the ring is closed")]
    Closed,
    /// The system has no page left for the slot or block.
    #[error("the system has no shared memory left: {kind}")]
    NoMemory {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<io::Error> for PopError {
    fn from(error: io::Error) -> Self {
        match error.into() {
            AllocError::NoMemory { kind } => Self::NoMemory { kind },
            _ => Self::Corrupt,
        }
    }
}

/// Why a block was not given back.
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveBackError {
    /// The message was never popped, or its bytes lay in a slot and belong to nobody else any more.
    #[error("only a popped message in a block can be given back: make the ring with small_in_slots: false for short messages")]
    NotABlock,
    /// The ring has no lanes for messages that come back.
    #[error("the ring has no room for messages that come back: make it with returns: true")]
    NoReturns,
    /// The system has no page left for the slot.
    #[error("the system has no shared memory left: {kind}")]
    NoMemory {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<FillError> for GiveBackError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::NoMemory { kind } => Self::NoMemory { kind },
            // There is room for every block in the lanes for returns.
            _ => Self::Corrupt,
        }
    }
}

/// Why a sweep stopped before its end. What it accounted for stays so; sweep again.
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SweepError {
    /// The ring has no lanes for messages that come back.
    #[error("the ring has no room for messages that come back: make it with returns: true, or sweep with Orphans::Drop")]
    NoReturns,
    /// The system has no page left for what the sweep looks at.
    #[error("the system has no shared memory left: {kind}")]
    NoMemory {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The words of the ring contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

impl From<GiveBackError> for SweepError {
    fn from(error: GiveBackError) -> Self {
        match error {
            GiveBackError::NoReturns => Self::NoReturns,
            GiveBackError::NoMemory { kind } => Self::NoMemory { kind },
            _ => Self::Corrupt,
        }
    }
}

impl From<io::Error> for SweepError {
    fn from(error: io::Error) -> Self {
        match error.into() {
            AllocError::NoMemory { kind } => Self::NoMemory { kind },
            _ => Self::Corrupt,
        }
    }
}

/// An error together with the block that was not handed over: try again with it, or drop it to free it.
///
/// A function that returns the error alone drops the block with `.map_err(Refused::into_error)?`.
#[derive(Debug)]
pub struct Refused<E, B> {
    /// Why.
    pub error: E,
    /// The block, as it was.
    pub block: B,
}

impl<E, B> Refused<E, B> {
    /// The error alone; the block is dropped.
    pub fn into_error(self) -> E {
        self.error
    }
}

impl<E: fmt::Display, B> fmt::Display for Refused<E, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: Error, B: fmt::Debug> Error for Refused<E, B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl<B> From<Refused<Self, B>> for PushError {
    fn from(refused: Refused<Self, B>) -> Self {
        refused.error
    }
}

impl<B> From<Refused<Self, B>> for GiveBackError {
    fn from(refused: Refused<Self, B>) -> Self {
        refused.error
    }
}
