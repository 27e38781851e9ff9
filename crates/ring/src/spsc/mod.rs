//! Rings for one producer and one consumer: a word each writes, and a private copy of the other's.
//!
//! [`Producer`] and [`Consumer`] move plain data of one type; [`Writer`] and [`Reader`] move records of any length. Both
//! keep positions that only grow, a power of two of room, and the last known position of the other side, so that the
//! common operation touches no cache line that the other side writes. (The scheme is Lamport's, with the cached indices of
//! FastForward's and rtrb's family.)

mod records;
mod typed;

pub use records::{Reader, Record, Reservation, WriteError, Writer, longest_record, records_len};
pub use typed::{Consumer, Producer, region_len};

use multiproc_prim::{AtomicU64, OutOfBounds, Padded, shared_struct};

shared_struct! {
    /// Positions: what was put, what was taken. Each is written by one side alone.
    pub(crate) struct Ends {
        pub(crate) tail: Padded<AtomicU64>,
        pub(crate) head: Padded<AtomicU64>,
    }
}

/// Why there is no such ring, or no more of it.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpscError {
    /// Rings have a power of two of room.
    #[error("a ring for one producer and one consumer has a power of two of room up to 2^40, not {asked}")]
    Capacity {
        /// What was asked for.
        asked: usize,
    },
    /// The region is too short, or the ring starts at the wrong place.
    #[error("the ring does not fit its memory: {0}")]
    Bounds(#[from] OutOfBounds),
    /// The system has no memory for the ring.
    #[error("no memory for the ring: {0}")]
    NoMemory(String),
    /// The positions contradict each other: another process wrote rubbish over them.
    #[error("the ring's words in shared memory contradict each other")]
    Corrupt,
}

fn check_capacity(capacity: usize) -> Result<(), SpscError> {
    if capacity.is_power_of_two() && capacity <= 1 << 40 { Ok(()) } else { Err(SpscError::Capacity { asked: capacity }) }
}
