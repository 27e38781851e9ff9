//! The bytes: the words of the lanes, then, in stretches that are added as they are needed, rings and blocks.
//!
//! All lengths are derived from the geometry, and the place of each stretch from those before it, so that two processes that agree
//! on the geometry agree on every offset, and a hostile peer has no offset to forge.

use super::error::LayoutError;
use super::state::Lane;
use multiproc_prim::{AtomicPair, AtomicU64, Ordering, Padded, shared_struct};

/// Most slots of a ring that does not grow: four million.
pub const MAX_SLOTS: u32 = 1 << 22;
/// Blocks start on a boundary of this many bytes and so, sixteen later, do their payloads.
const SMALLEST_BLOCK: usize = 64;
/// Up to this size each size of block is twice the one before, so that a small message leaves less than half of its block empty.
const SMALL_BLOCK: usize = 1024;
/// Blocks larger than this are committed as far as messages need them, not whole.
pub(crate) const WHOLE: usize = 256 << 10;
/// Blocks of up to this many bytes keep their pages when they are freed.
pub(crate) const ALL_KEEP_PAGES: usize = 4 << 20;
/// Of larger ones, the first of each size that come to so many bytes together do (four of 64 MiB with their headers): getting
/// pages anew costs ten times as much as copying a message.
pub(crate) const FIRST_KEEP_PAGES: usize = 257 << 20;
/// The first stretch of blocks of a size has about so many bytes, or one block. Each one after it has twice as many blocks.
const FIRST_STRETCH: usize = 64 << 10;
/// Memory is committed this many bytes at a time, where blocks are smaller.
const COMMIT_CHUNK: usize = 32 << 10;
/// Slots of the first ring for messages that came back.
const RETURNED_SLOTS: u32 = 64;
/// Each ring of a lane has so many times the slots of the one before, as a power of two.
const GROWTH: u32 = 2;
/// Rings have at most this many slots, however much they grow: more would leave a ticket too few bits for its turn.
const MOST_SLOTS: u64 = 1 << 28;
/// A stretch of a ring starts with its ends.
pub(crate) const SLOTS_AT: usize = size_of::<Ends>();
pub(crate) const PAGE: usize = 4096;

shared_struct! {
    /// Where the next message goes in and comes out, or did not long ago.
    pub(crate) struct Ends {
        pub(crate) tail: Padded<AtomicU64>,
        pub(crate) head: Padded<AtomicU64>,
    }

    /// Which ring of a lane is filled and which is drained, and how many there are.
    pub(crate) struct LaneWords {
        pub(crate) filled: Padded<AtomicU64>,
        pub(crate) drained: Padded<AtomicU64>,
        pub(crate) rings: Padded<AtomicU64>,
    }

    /// What the ring was made for, so that a process that asks for another one is refused.
    pub(crate) struct Label {
        /// What kind of memory this is, which lanes and slots the ring has, and how many slots.
        shape: AtomicU64,
        memory: AtomicU64,
        max_message: AtomicU64,
    }

    /// The first bytes of every block; the payload follows.
    pub(crate) struct BlockHeader {
        pub(crate) state: AtomicU64,
        pub(crate) meta: AtomicU64,
    }

    /// The first bytes of every block in a ring with room for returns.
    pub(crate) struct Notes {
        header: BlockHeader,
        /// When the message was taken.
        pub(super) since: AtomicU64,
        /// How its last delivery ended.
        pub(super) ended: AtomicU64,
        /// The message's id, once a delivery has ended.
        pub(super) id: AtomicU64,
        /// Payloads start on a multiple of 16.
        reserved: AtomicU64,
    }
}

#[cfg(not(loom))]
mod frozen {
    use super::*;
    static_assertions::const_assert_eq!(size_of::<Ends>(), 256);
    static_assertions::const_assert_eq!(size_of::<LaneWords>(), 384);
    static_assertions::const_assert_eq!(size_of::<BlockHeader>(), 16);
    static_assertions::const_assert_eq!(size_of::<Notes>(), 48);
}

impl Label {
    /// Marks memory that holds a ring: no other word in its place has these high bits.
    const MAGIC: u64 = 0x4d52 << 48;

    fn shape_of(geometry: &Geometry) -> u64 {
        let &Geometry { slots, grows, returns, small_in_slots, .. } = geometry;
        let flags = [grows, returns, small_in_slots, AtomicPair::is_whole()];
        let flags = flags.iter().rev().fold(0, |flags, &flag| flags << 1 | u64::from(flag));
        Self::MAGIC | flags << 32 | u64::from(slots)
    }

    pub(crate) fn write(&self, geometry: &Geometry) {
        // Relaxed, here and below: what hands the memory on to another process orders it.
        self.memory.store(geometry.memory, Ordering::Relaxed);
        self.max_message.store(geometry.max_message, Ordering::Relaxed);
        self.shape.store(Self::shape_of(geometry), Ordering::Relaxed);
    }

    /// Whether the ring was made with this geometry. What is found is only shown: lengths and offsets come from our own geometry.
    pub(crate) fn check(&self, asked: &Geometry) -> Result<(), LayoutError> {
        let [shape, memory, max_message] =
            [&self.shape, &self.memory, &self.max_message].map(|word| word.load(Ordering::Relaxed));
        if (shape, memory, max_message) == (Self::shape_of(asked), asked.memory, asked.max_message) {
            return Ok(());
        }
        let has = |flag: u32| shape >> (32 + flag) & 1 != 0;
        let found = Geometry {
            grows: has(0),
            returns: has(1),
            small_in_slots: has(2),
            memory,
            max_message,
            ..Geometry::new(shape as u32)
        };
        let is_ring = shape & 0xffff << 48 == Self::MAGIC;
        Err(LayoutError::Differs { found: is_ring.then_some(found), asked: *asked })
    }
}

/// What a ring is made for. Two processes that give the same numbers see the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Messages that can wait at once: 1 to [`MAX_SLOTS`], exactly, unless the ring grows.
    pub slots: u32,
    /// Whether more messages than `slots` can wait, as many as there is memory for.
    pub grows: bool,
    /// Whether there are lanes for messages that come back: needed to [give back](super::Mpmc::give_back) a message, and to
    /// [redeliver](super::Orphans::Redeliver) what the dead held.
    pub returns: bool,
    /// Whether messages of up to 8 bytes lie in the slots themselves, where the processor can do that. Such a message is its
    /// taker's alone from the moment it is taken: it can't be [given back](super::Mpmc::give_back), and no sweep finds it in a dead
    /// process's hands.
    pub small_in_slots: bool,
    /// Most bytes for blocks, in equal parts for each size, and for each ring beyond the first. Nothing is reserved: they are taken
    /// from the region, behind [`fixed_len`](Self::fixed_len), as messages need them.
    pub memory: u64,
    /// Longest message in bytes that must fit. The largest blocks have a power of two of bytes or, above a page, a multiple of 4096,
    /// with 16 for their own use (32 in a ring with room for returns). So a little more may fit: up to 2032 bytes for 1024.
    /// [`Mpmc::max_message`](super::Mpmc::max_message) says how much does.
    pub max_message: u64,
    /// The turn that tickets start in: for tests of what happens when tickets wrap. Everyone else has 1.
    #[doc(hidden)]
    pub first_turn: u64,
}

impl Geometry {
    /// A ring of so many slots, with small messages in them, for messages of up to 64 KiB, in 256 MiB of address space. It does not grow,
    /// and has no room for returns.
    pub const fn new(slots: u32) -> Self {
        let memory = 256 << 20;
        Self { slots, grows: false, returns: false, small_in_slots: true, memory, max_message: 64 << 10, first_turn: 1 }
    }

    /// Bytes of a region that the ring needs if the region can't grow: as many as it may ever use.
    ///
    /// # Errors
    ///
    /// The numbers make no ring.
    pub fn region_len(&self) -> Result<usize, LayoutError> {
        let layout = Layout::of(self)?;
        let too_large = || LayoutError::TooLarge { slots: self.slots, memory: self.memory };
        let rings = Lane::ALL.iter().flat_map(|&lane| (0..layout.rings(lane)).map(move |class| Stretch::Ring { lane, class }));
        let classes = 0..layout.classes.len();
        let blocks =
            classes.flat_map(|class| (0..layout.classes[class].levels()).map(move |level| Stretch::Blocks { class, level }));
        let len = rings.chain(blocks).try_fold(layout.fixed, |len, stretch| len.checked_add(layout.len_of(stretch)?));
        len.filter(|&len| len <= isize::MAX as usize).ok_or_else(too_large)
    }

    /// Bytes of a region that the ring needs at once, if the region can grow behind them.
    ///
    /// # Errors
    ///
    /// The numbers make no ring.
    pub fn fixed_len(&self) -> Result<usize, LayoutError> {
        Ok(Layout::of(self)?.fixed)
    }
}

/// One size class: blocks of equal size, in stretches of which each has twice as many as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) size: usize,
    /// Bytes of each that come before the payload.
    pub(crate) header: usize,
    /// Blocks that there can be.
    pub(crate) count: u32,
    /// Blocks of the first stretch, as a power of two.
    first: u32,
    /// Blocks that are committed at once, as a power of two: an index that a peer made up costs no more.
    pub(crate) chunk: u32,
}

impl Class {
    /// The stretch that holds a block.
    #[inline(always)]
    pub(crate) const fn level_of(&self, index: u32) -> u32 {
        ((index >> self.first) + 1).ilog2()
    }

    /// The number of the first block of a stretch.
    pub(crate) const fn first_of(&self, level: u32) -> u32 {
        ((1 << level) - 1) << self.first
    }

    /// Stretches that there can be.
    pub(crate) const fn levels(&self) -> u32 {
        self.level_of(self.count - 1) + 1
    }

    /// Blocks whose memory is given back together, as a power of two.
    pub(crate) const fn unit(&self) -> u32 {
        let blocks = FIRST_STRETCH / self.size;
        if blocks > 1 { blocks.ilog2() } else { 0 }
    }

    /// The first stretch whose memory does not stay for the next messages: the very first one does if it is small.
    pub(crate) const fn first_that_goes(&self) -> u32 {
        if self.size <= FIRST_STRETCH { 1 } else { 0 }
    }

    /// Blocks of a stretch.
    pub(crate) fn blocks_in(&self, level: u32) -> u32 {
        self.count.saturating_sub(self.first_of(level)).min(1 << level << self.first)
    }
}

/// Memory that is added when it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    Ring { lane: Lane, class: u32 },
    Blocks { class: usize, level: u32 },
}

impl Stretch {
    const LEVEL_BITS: u32 = 5;
    const BLOCKS: u64 = 64;
    /// Stretches that there can be at all.
    pub(crate) const MOST: usize = Self::BLOCKS as usize + (MOST_CLASSES << Self::LEVEL_BITS);

    /// A number of its own, not 0.
    pub(crate) const fn code(self) -> u64 {
        1 + match self {
            Self::Ring { lane, class } => (class as u64 & 15) << 2 | lane as u64,
            Self::Blocks { class, level } => Self::BLOCKS + ((class as u64) << Self::LEVEL_BITS | level as u64),
        }
    }

    /// The stretch of a number that another process wrote.
    pub(crate) fn from_code(code: u64) -> Option<Self> {
        let code = code.checked_sub(1)?;
        Some(match code.checked_sub(Self::BLOCKS) {
            None => Self::Ring { lane: Lane::ALL[(code & 3) as usize], class: (code >> 2) as u32 },
            Some(code) => {
                let class = usize::try_from(code >> Self::LEVEL_BITS).ok().filter(|&class| class < MOST_CLASSES)?;
                Self::Blocks { class, level: (code & ((1 << Self::LEVEL_BITS) - 1)) as u32 }
            }
        })
    }
}

/// Size classes that there can be.
const MOST_CLASSES: usize = 16;
/// A block's number: class 4 bits, index 27. (One bit less than a slot's second word has.)
pub(crate) const INDEX_BITS: u32 = 27;
/// Where a slot names a block in its first word: class 4 bits, index 19.
const INDEX_BITS_IN_CONTENT: u32 = 19;

/// Offsets from the start of the ring's own memory, and sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether there are lanes for messages that come back.
    returns: bool,
    /// Offset of the lanes' words.
    lanes: usize,
    /// Offset of the counters of blocks ever used, one per class, and of the counter of how often memory was given back.
    pub(crate) used: usize,
    /// Offset of the list of stretches.
    pub(crate) stretches: usize,
    /// Length of all that is there from the start. Stretches follow.
    pub(crate) fixed: usize,
    pub(crate) classes: Vec<Class>,
    slots: u32,
    grows: bool,
    memory: u64,
    index_bits: u32,
}

impl Layout {
    pub(crate) fn of(geometry: &Geometry) -> Result<Self, LayoutError> {
        let &Geometry { slots, grows, returns, memory, max_message, .. } = geometry;
        if slots == 0 || slots > MAX_SLOTS {
            return Err(LayoutError::Slots { asked: slots });
        }
        let index_bits = if AtomicPair::is_whole() { INDEX_BITS } else { INDEX_BITS_IN_CONTENT };
        let header = if has_notes(returns) { size_of::<Notes>() } else { size_of::<BlockHeader>() };
        let classes = classes(slots, memory, max_message, index_bits, header)?;
        let mut end = 0usize;
        let mut claim = |len: usize, align: usize| {
            let start = end.next_multiple_of(align);
            end = start + len;
            start
        };
        claim(size_of::<Label>(), 128);
        let used = claim((classes.len() + 1) * size_of::<AtomicU64>(), 128);
        let lanes = claim(lanes_of(returns).len() * size_of::<LaneWords>(), 128);
        let stretches = claim(Stretch::MOST * size_of::<AtomicU64>(), 128);
        let fixed = claim(0, PAGE);
        Ok(Self { returns, lanes, used, stretches, fixed, classes, slots, grows, memory, index_bits })
    }

    /// Whether blocks have [`Notes`].
    pub(crate) fn has_notes(&self) -> bool {
        has_notes(self.returns)
    }

    pub(crate) fn lanes(&self) -> &'static [Lane] {
        lanes_of(self.returns)
    }

    /// Offset of a lane's words.
    pub(crate) fn lane_at(&self, lane: Lane) -> usize {
        self.lanes + lane as usize * size_of::<LaneWords>()
    }

    /// What a block is called in a slot.
    #[inline(always)]
    pub(crate) fn block_number(&self, class: usize, index: u32) -> u32 {
        (class as u32) << self.index_bits | index
    }

    /// Class and index of a number that another process wrote, if there is such a block.
    #[inline(always)]
    pub(crate) fn block_of(&self, number: u32) -> Option<(usize, u32)> {
        let (class, index) = ((number >> self.index_bits) as usize, number & ((1 << self.index_bits) - 1));
        (index < self.classes.get(class)?.count).then_some((class, index))
    }

    /// Slots of a ring.
    pub(crate) fn slots(&self, lane: Lane, class: u32) -> u64 {
        let first = if lane == Lane::Main { u64::from(self.slots) } else { self.blocks().min(RETURNED_SLOTS.into()) };
        first << (GROWTH * class)
    }

    fn blocks(&self) -> u64 {
        self.classes.iter().map(|class| u64::from(class.count)).sum()
    }

    /// How many rings a lane can have.
    pub(crate) fn rings(&self, lane: Lane) -> u32 {
        let Some(more) = (1..16u32).rev().find(|&class| {
            let before = self.slots(lane, class - 1);
            let slots = self.slots(lane, class);
            let bytes = slots * size_of::<AtomicPair>() as u64;
            slots <= MOST_SLOTS
                && match lane {
                    Lane::Main => self.grows && bytes <= self.memory,
                    // Messages that come back are blocks, and there must be room for each one.
                    _ => self.returns && before < self.blocks(),
                }
        }) else {
            return u32::from(self.lanes().contains(&lane));
        };
        more + 1
    }

    /// Bytes of a stretch; `None` if there is none such.
    pub(crate) fn len_of(&self, stretch: Stretch) -> Option<usize> {
        let len = match stretch {
            Stretch::Ring { lane, class } if class < self.rings(lane) => {
                let slots = usize::try_from(self.slots(lane, class)).ok()?;
                slots.checked_mul(size_of::<AtomicPair>())?.checked_add(SLOTS_AT)?
            }
            Stretch::Blocks { class, level } => {
                let class = self.classes.get(class).filter(|class| level < class.levels())?;
                class.size.checked_mul(class.blocks_in(level) as usize)?
            }
            Stretch::Ring { .. } => return None,
        };
        len.checked_next_multiple_of(PAGE)
    }
}

/// In a model there are none: notes order nothing, and each access to one would multiply the executions.
const fn has_notes(returns: bool) -> bool {
    returns && !cfg!(loom)
}

fn lanes_of(returns: bool) -> &'static [Lane] {
    if returns { &Lane::ALL } else { &Lane::ALL[..1] }
}

/// Sizes grow from a cache line up to what holds the longest message: twofold while they are [small](SMALL_BLOCK), then fourfold. Each
/// class gets an equal share of the memory.
fn classes(slots: u32, memory: u64, max_message: u64, index_bits: u32, header: usize) -> Result<Vec<Class>, LayoutError> {
    let too_large = || LayoutError::TooLarge { slots, memory };
    let longest = usize::try_from(max_message).ok().and_then(|max| max.checked_add(header));
    let longest = longest.filter(|&longest| longest < 1 << 40).ok_or_else(too_large)?;
    let mut sizes = Vec::new();
    let mut size = SMALLEST_BLOCK.max(header.next_power_of_two());
    while size < longest && sizes.len() < MOST_CLASSES - 1 {
        sizes.push(size);
        size *= if size < SMALL_BLOCK { 2 } else { 4 };
    }
    // The last one is cut to what the longest message needs. Below a page's size it stays a power of two, so that blocks fill pages.
    let last = if longest > PAGE { longest.next_multiple_of(PAGE) } else { longest.next_power_of_two().max(SMALLEST_BLOCK) };
    sizes.push(last);
    let share = memory / sizes.len() as u64;
    let most = 1 << index_bits;
    let class = |size: usize| {
        let count = (share / size as u64).min(most) as u32;
        let first = (FIRST_STRETCH / size).max(1).ilog2();
        let chunk = (COMMIT_CHUNK / size).max(1).ilog2();
        (count > 0).then_some(Class { size, header, count, first, chunk })
    };
    let least = || sizes.iter().map(|&size| size as u64).max().unwrap_or(0) * sizes.len() as u64;
    let classes: Option<Vec<Class>> = sizes.iter().map(|&size| class(size)).collect();
    classes.ok_or_else(|| LayoutError::Memory { memory, max_message, least: least() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_in_one_stretch() {
        for (first, count) in [(0, 1), (0, 7), (3, 8), (3, 100), (10, 5000)] {
            let class = Class { size: 64, header: 16, count, first, chunk: 0 };
            let blocks: u32 = (0..class.levels()).map(|level| class.blocks_in(level)).sum();
            assert_eq!(blocks, count);
            for index in 0..count {
                let level = class.level_of(index);
                let begin = class.first_of(level);
                assert!(begin <= index && index - begin < class.blocks_in(level), "{index} of {class:?}");
            }
        }
    }

    #[test]
    fn stretches_have_numbers_of_their_own() {
        let layout = Layout::of(&Geometry { grows: true, returns: true, memory: 1 << 40, ..Geometry::new(1024) }).unwrap();
        let rings = Lane::ALL.iter().flat_map(|&lane| (0..layout.rings(lane)).map(move |class| Stretch::Ring { lane, class }));
        let classes = 0..layout.classes.len();
        let blocks =
            classes.flat_map(|class| (0..layout.classes[class].levels()).map(move |level| Stretch::Blocks { class, level }));
        let mut codes = std::collections::BTreeSet::new();
        for stretch in rings.chain(blocks) {
            assert_eq!(Stretch::from_code(stretch.code()), Some(stretch));
            assert!(layout.len_of(stretch).is_some_and(|len| len > 0 && len % PAGE == 0), "{stretch:?}");
            assert!(codes.insert(stretch.code()));
        }
        assert!(codes.len() <= Stretch::MOST);
        assert_eq!(Stretch::from_code(0), None);
        assert_eq!(Stretch::from_code(u64::MAX), None);
    }

    #[test]
    fn small_messages_fill_half_of_their_blocks_and_no_longest_message_makes_too_many_sizes() {
        let sizes = |max_message: u64| -> Vec<usize> {
            let layout = Layout::of(&Geometry { memory: 1 << 50, max_message, ..Geometry::new(4) }).unwrap();
            layout.classes.iter().map(|class| class.size).collect()
        };
        assert_eq!(sizes(48), [64]);
        assert_eq!(sizes(1024), [64, 128, 256, 512, 1024, 2048]);
        assert_eq!(sizes(20_000), [64, 128, 256, 512, 1024, 4096, 16_384, 20_480]);
        for power in 6..40 {
            let sizes = sizes((1 << power) - 17);
            assert!(
                sizes.len() <= MOST_CLASSES && sizes.iter().all(|size| size.is_power_of_two() || size % PAGE == 0),
                "{sizes:?}"
            );
        }
    }

    #[test]
    fn blocks_have_numbers_of_their_own() {
        let layout = Layout::of(&Geometry::new(4)).unwrap();
        for class in 0..layout.classes.len() {
            for index in [0, 1, layout.classes[class].count - 1] {
                assert_eq!(layout.block_of(layout.block_number(class, index)), Some((class, index)));
            }
            assert_eq!(layout.block_of(layout.block_number(class, layout.classes[class].count)), None);
        }
        assert_eq!(layout.block_of(u32::MAX), None);
    }
}
