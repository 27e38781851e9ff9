//! The bytes: ends of the lanes, slots of the lanes, then one stretch of blocks per size class.
//!
//! Everything is derived from four numbers, so that two processes that agree on those agree on every offset, and a hostile
//! peer has nothing to forge once they are checked.

use super::error::LayoutError;
use super::state::{Lane, MAX_BLOCKS};
use multiproc_prim::{AtomicPair, AtomicU64, Padded, shared_struct};

/// Most slots of a ring: four million.
pub const MAX_SLOTS: u32 = 1 << 22;
/// Blocks start on a boundary of this many bytes and so, sixteen later, do their payloads.
pub(crate) const SMALLEST_BLOCK: usize = 64;
/// Blocks larger than this are committed as far as messages need them, not whole.
pub(crate) const WHOLE: usize = 256 << 10;
/// Blocks of up to this many bytes keep their pages when they are freed.
pub(crate) const ALL_KEEP_PAGES: usize = 4 << 20;
/// Of larger ones, the first of each size that come to so many bytes together do (four of 64 MiB with their headers): getting
/// pages anew costs ten times as much as copying a message.
pub(crate) const FIRST_KEEP_PAGES: usize = 257 << 20;
/// Blocks number at most this: [`Completion`](super::Completion) counts them in 23 bits.
const MOST_BLOCKS: u64 = (1 << 23) - 1;
static_assertions::const_assert!(MOST_BLOCKS <= MAX_BLOCKS as u64);
const PAGE: usize = 4096;

shared_struct! {
    /// Where the next message goes in and comes out, or did not long ago.
    pub(crate) struct Ends {
        pub(crate) tail: Padded<AtomicU64>,
        pub(crate) head: Padded<AtomicU64>,
    }

    /// The first bytes of every block; the payload follows.
    pub(crate) struct BlockHeader {
        pub(crate) state: AtomicU64,
        pub(crate) meta: AtomicU64,
    }
}

#[cfg(not(loom))]
mod frozen {
    use super::*;
    static_assertions::const_assert_eq!(size_of::<Ends>(), 256);
    static_assertions::const_assert_eq!(size_of::<BlockHeader>(), 16);
}

/// What a ring is made for. Two processes that give the same numbers see the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Messages that can wait at once, exactly: 1 to [`MAX_SLOTS`].
    pub slots: u32,
    /// Whether there are lanes for returned and for dead messages too.
    pub returns: bool,
    /// Whether messages of up to 8 bytes lie in the slots themselves, where the processor can do that. Such a message is its
    /// taker's alone from the moment it is taken: it can't be [given back](super::Mpmc::give_back), and no sweep finds it in a dead
    /// one's hands.
    pub small_in_slots: bool,
    /// Bytes of address space for blocks. Pages are used only as messages need them.
    pub memory: u64,
    /// Longest message in bytes.
    pub max_message: u64,
    /// The turn that tickets start in. 1, but for tests of what happens when tickets wrap.
    pub first_turn: u64,
}

impl Geometry {
    /// A ring of so many slots, with small messages in them, for messages of up to 64 KiB, in 256 MiB of address space.
    pub const fn new(slots: u32) -> Self {
        Self { slots, returns: false, small_in_slots: true, memory: 256 << 20, max_message: 64 << 10, first_turn: 1 }
    }

    /// Bytes of a region that the ring needs.
    ///
    /// # Errors
    ///
    /// The numbers make no ring.
    pub fn region_len(&self) -> Result<usize, LayoutError> {
        Ok(Layout::of(self)?.len)
    }
}

/// One size class: equal blocks, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) size: usize,
    pub(crate) offset: usize,
}

/// Offsets from the start of the ring's own memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Per lane: offset of its ends, offset of its slots, number of slots.
    pub(crate) lanes: Vec<(Lane, usize, usize, u32)>,
    /// Offset of the counters of blocks ever used, one per class.
    pub(crate) used: usize,
    pub(crate) classes: Vec<Class>,
    pub(crate) len: usize,
}

impl Layout {
    pub(crate) fn of(geometry: &Geometry) -> Result<Self, LayoutError> {
        let &Geometry { slots, returns, memory, max_message, .. } = geometry;
        if slots == 0 || slots > MAX_SLOTS {
            return Err(LayoutError::Slots { asked: slots });
        }
        let too_large = || LayoutError::TooLarge { slots, memory };
        let classes = classes(slots, memory, max_message)?;
        let blocks: u64 = classes.iter().map(|&(_, count)| u64::from(count)).sum();
        if blocks > MOST_BLOCKS {
            return Err(too_large());
        }
        let mut end = 0usize;
        let mut claim = |len: usize, align: usize| -> Option<usize> {
            let start = end.checked_next_multiple_of(align)?;
            end = start.checked_add(len)?;
            Some(start)
        };
        let lanes: Vec<Lane> = if returns { Lane::ALL.to_vec() } else { vec![Lane::Main] };
        // The words that every operation needs come first, close together: they are the ones committed at once.
        let used = claim(classes.len() * size_of::<AtomicU64>(), 128).ok_or_else(too_large)?;
        let mut ends = Vec::new();
        for _ in &lanes {
            ends.push(claim(size_of::<Ends>(), 128).ok_or_else(too_large)?);
        }
        let mut placed = Vec::new();
        for (&lane, ends) in lanes.iter().zip(ends) {
            // A lane of messages that came back must never be full: it has a slot for every block there is.
            let count = if lane == Lane::Main { slots } else { blocks as u32 };
            let offset = claim(count as usize * size_of::<AtomicPair>(), 128).ok_or_else(too_large)?;
            placed.push((lane, ends, offset, count));
        }
        let mut first = 0;
        let mut stretches = Vec::new();
        for (size, count) in classes {
            let len = size.checked_mul(count as usize).ok_or_else(too_large)?;
            let offset = claim(len, PAGE).ok_or_else(too_large)?;
            stretches.push(Class { first, count, size, offset });
            first += count;
        }
        let len = end.checked_next_multiple_of(PAGE).filter(|&len| len <= isize::MAX as usize).ok_or_else(too_large)?;
        Ok(Self { lanes: placed, used, classes: stretches, len })
    }
}

/// Sizes grow fourfold from a cache line up to what holds the longest message; each class gets an equal share of the memory,
/// but no more blocks than can be queued and in hand at once.
fn classes(slots: u32, memory: u64, max_message: u64) -> Result<Vec<(usize, u32)>, LayoutError> {
    let too_large = || LayoutError::TooLarge { slots, memory };
    let longest = usize::try_from(max_message).ok().and_then(|max| max.checked_add(size_of::<BlockHeader>()));
    let longest = longest.filter(|&longest| longest < 1 << 40).ok_or_else(too_large)?;
    let mut sizes = Vec::new();
    let mut size = SMALLEST_BLOCK.max(size_of::<BlockHeader>().next_power_of_two());
    while size < longest {
        sizes.push(size);
        size *= 4;
    }
    // The last one is cut to what the longest message needs; below a page's size that would save nothing.
    sizes.push(if longest > PAGE { longest.next_multiple_of(PAGE) } else { size });
    let share = memory / sizes.len() as u64;
    let wanted = u64::from(slots) + u64::from(slots) / 4 + 1024;
    let mut classes = Vec::new();
    for &size in &sizes {
        let count = (share / size as u64).min(wanted) as u32;
        if count == 0 {
            let least = sizes.iter().map(|&size| size as u64).max().unwrap_or(0) * sizes.len() as u64;
            return Err(LayoutError::Memory { memory, max_message, least });
        }
        classes.push((size, count));
    }
    Ok(classes)
}
