//! The bytes of a pipe's segment: the words of both ends, then a stream in each direction (or in one).

use crate::CAPACITY;
use crate::error::PipeError;
use multiproc_prim::{AtomicU32, AtomicU64, Padded, shared_struct};
use multiproc_shm::{Kind, Segment, Spec};
use multiproc_sync::stream_len;

shared_struct! {
    /// What both ends know of each other.
    pub(crate) struct PipeWords {
        /// Which process uses each end: pid in the low half, start time above. 0: none does.
        pub(crate) holder_first: Padded<AtomicU64>,
        pub(crate) holder_second: Padded<AtomicU64>,
        /// Whether the receiver of each direction wants its bell rung: `EVERY`, `NEXT`, both or neither. Receivers alone set it.
        pub(crate) watched_to_second: Padded<AtomicU32>,
        pub(crate) watched_to_first: Padded<AtomicU32>,
    }
}

/// Someone may wait for the descriptor: ring for every message.
pub(crate) const EVERY: u32 = 1;
/// The receiver sleeps: ring for the next message.
pub(crate) const NEXT: u32 = 2;

pub(crate) const KIND: Kind = Kind(*b"PIPE");

/// Which end of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    First,
    Second,
}

impl PipeWords {
    pub(crate) fn holder(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::First => &self.holder_first,
            Side::Second => &self.holder_second,
        }
    }

    /// The flag of the direction that ends at `side`.
    pub(crate) fn watched(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::First => &self.watched_to_first,
            Side::Second => &self.watched_to_second,
        }
    }
}

const STREAMS_AT: usize = 4096;

/// Offset of the stream that ends at `side`, from the start of the content.
pub(crate) fn stream_at(side: Side) -> Result<usize, PipeError> {
    let one = stream_len(CAPACITY)?.next_multiple_of(4096);
    Ok(STREAMS_AT + if side == Side::Second { 0 } else { one })
}

pub(crate) fn spec(duplex: bool) -> Result<Spec, PipeError> {
    let one = stream_len(CAPACITY)?.next_multiple_of(4096);
    let len = STREAMS_AT + if duplex { 2 * one } else { one };
    let geometry = [CAPACITY as u64, u64::from(duplex), 0, 0, 0, 0, 0, 0];
    Ok(Spec { kind: KIND, len, participants: 0, geometry })
}

/// Whether an attached segment is a pipe that we can use, and whether it goes both ways.
pub(crate) fn check(segment: &Segment) -> Result<bool, String> {
    let [capacity, duplex, ..] = segment.geometry();
    let spec = spec(duplex == 1).map_err(|error| error.to_string())?;
    if capacity != CAPACITY as u64 || duplex > 1 {
        return Err(format!("{capacity} bytes of room, {duplex} for both ways"));
    }
    if segment.content_len() != spec.len {
        return Err(format!("{} bytes instead of {}", segment.content_len(), spec.len));
    }
    Ok(duplex == 1)
}
