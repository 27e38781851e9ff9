//! Rings for one producer and one consumer: a word each writes, and a private copy of the other's.
//!
//! [`Producer`] and [`Consumer`] move plain data of one type; [`Writer`] and [`Reader`] move records of any length. Both
//! keep positions that only grow, a power of two of room, and the last known position of the other side, so that the
//! common operation touches no cache line that the other side writes. (The scheme is Lamport's, with the cached indices of
//! FastForward's and rtrb's family.)

mod records;
mod typed;

pub use records::{Reader, Record, Reservation, WriteError, Writer, longest_record, records_len};
pub use typed::{Consumer, Full, Producer, channel, region_len};

use multiproc_prim::{AtomicU64, Ordering, OutOfBounds, Padded, Place, Region, error_debug, shared_struct};
use std::fmt;
use thiserror::Error;

shared_struct! {
    /// Positions: what was put, what was taken. Each is written by one side alone.
    pub(crate) struct Ends {
        pub(crate) tail: Padded<End>,
        pub(crate) head: Padded<End>,
    }

    /// One side of a ring.
    pub(crate) struct End {
        pub(crate) position: AtomicU64,
        /// Not zero once the side was dropped.
        pub(crate) left: AtomicU64,
        /// What the ring was made for; in the producer's end alone.
        shape: AtomicU64,
    }
}

error_debug! {
    SpscError { Capacity, Unaligned, Bounds, Differs, NoMemory }
    ReadError { Empty, Corrupt }
}

/// Rings start at a multiple of this many bytes.
const ALIGN: usize = align_of::<Padded<u8>>();
/// The most room that a ring has.
const MOST: usize = 1 << 40;

/// Why there is no such ring.
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpscError {
    /// Rings have a power of two of room: values, or bytes for records.
    #[error("a ring for one producer and one consumer has a power of two of room from {least} to 2^40, not {asked}")]
    Capacity {
        /// What was asked for.
        asked: usize,
        /// The least that there can be: 1 value, or 64 bytes for records.
        least: usize,
    },
    /// The ring would not start on a boundary of two cache lines.
    #[error("a ring starts at a multiple of {ALIGN} bytes, not at {at}")]
    Unaligned {
        /// Where the ring should start, in bytes from the region's start.
        at: usize,
    },
    /// The region is too short.
    #[error(transparent)]
    Bounds(#[from] OutOfBounds),
    /// The memory holds a ring of another shape, or none.
    #[error("{}", differs(*found, *asked))]
    Differs {
        /// What the memory says of its ring; `None` where no ring was ever made.
        found: Option<Shape>,
        /// What was asked for.
        asked: Shape,
    },
    /// The system has no memory for the ring.
    #[error("no memory for the ring: {kind}")]
    NoMemory {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
}

/// Why nothing was read.
#[derive(Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing waits.
    #[error("the ring is empty")]
    Empty,
    /// The positions contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

/// What a ring was made for. Types of equal size can't be told from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of one value; `None` in a ring of records.
    pub value: Option<usize>,
    /// Values, or bytes for records.
    pub capacity: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { value: Some(size), capacity } => write!(f, "a ring of {capacity} values of {size} bytes"),
            Self { value: None, capacity } => write!(f, "a ring of {capacity} bytes of records"),
        }
    }
}

/// What is free of a ring's room, by the positions that one side knows. A head beyond the tail is a hostile peer's: it makes no room.
#[inline(always)]
fn free(room: u64, tail: u64, head: u64) -> u64 {
    room - tail.wrapping_sub(head).min(room)
}

fn differs(found: Option<Shape>, asked: Shape) -> String {
    match found {
        Some(found) => format!("the memory holds {found}, not {asked}"),
        None => format!("the memory holds no ring: its producer creates it first, as {asked}"),
    }
}

impl Shape {
    /// Marks memory that holds a ring.
    const MAGIC: u64 = 0x5350 << 48;
    const VALUES: u64 = 1 << 7;

    const fn pack(self) -> u64 {
        let capacity = self.capacity.ilog2() as u64;
        match self.value {
            Some(size) => Self::MAGIC | (size as u64 & (MOST as u64 - 1)) << 8 | Self::VALUES | capacity,
            None => Self::MAGIC | capacity,
        }
    }

    fn unpack(word: u64) -> Option<Self> {
        if word >> 48 != Self::MAGIC >> 48 {
            return None;
        }
        let value = (word & Self::VALUES != 0).then_some((word >> 8) as usize & (MOST - 1));
        Some(Self { value, capacity: 1 << (word & 63) })
    }

    fn check(self, least: usize) -> Result<(), SpscError> {
        let asked = self.capacity;
        let fits = asked.is_power_of_two() && (least..=MOST).contains(&asked);
        if fits { Ok(()) } else { Err(SpscError::Capacity { asked, least }) }
    }

    /// The ends of a ring that takes up `len` bytes from `at` on: new ones in zeroed memory, with both positions `first`, or without it
    /// the ends that are there.
    fn ends(self, region: &Region, at: usize, len: usize, first: Option<u64>) -> Result<Place<Ends>, SpscError> {
        if at % ALIGN != 0 {
            return Err(SpscError::Unaligned { at });
        }
        region.bytes(at, len)?;
        let no_memory = |error: std::io::Error| SpscError::NoMemory { kind: error.kind() };
        region.commit(at..at + len).map_err(no_memory)?;
        let ends: Place<Ends> = region.place(at)?;
        // Relaxed, in all of this: nobody else has new memory yet, and what hands it on to the other side orders it.
        match first {
            Some(first) => {
                ends.make_fresh();
                ends.tail.position.store(first, Ordering::Relaxed);
                ends.head.position.store(first, Ordering::Relaxed);
                ends.tail.shape.store(self.pack(), Ordering::Relaxed);
            }
            None => {
                let found = ends.tail.shape.load(Ordering::Relaxed);
                if found != self.pack() {
                    return Err(SpscError::Differs { found: Self::unpack(found), asked: self });
                }
            }
        }
        Ok(ends)
    }
}
