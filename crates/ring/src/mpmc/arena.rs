//! Blocks: who owns which, and where the next free one is.
//!
//! The compare-and-swap `Free -> Owned` on a block's own state decides; where to look is a guess. Each handle walks over a
//! window of blocks in address order, which is also the order in which a queue frees them, so the next block is nearly always
//! free, no allocator word is shared, and the processor's prefetcher sees a straight line. The window grows when most of it is in
//! use and shrinks when most of it is free. Blocks beyond those that exist are added as a stretch that doubles them.

use super::block::Meta;
use super::error::AllocError;
use super::layout::{ALL_KEEP_PAGES, BlockHeader, Class, FIRST_KEEP_PAGES, Layout, PAGE, Stretch, WHOLE};
use super::state::{BlockState, Owner, Phase};
use super::stretches::Stretches;
use super::trim;
use multiproc_prim::{Array, AtomicU64, Bytes, Flag, Hint, Known, Ordering, OutOfBounds, Place, Region, Renewed};
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub(crate) struct Arena {
    stretches: Arc<Stretches>,
    pub(super) classes: Vec<Blocks>,
    used: Array<AtomicU64>,
    /// How often some participant has given memory back.
    pub(super) trims: Place<AtomicU64>,
    /// How often that was when this handle last forgot what it has seen committed.
    pub(super) forgot_at: Known,
    /// Where the next [`trim`](Self::trim) goes on, if there is something to do.
    pub(super) trim_next: Known,
    /// Whether a message that was taken since the last trim lay in memory that does not stay.
    pub(super) used_more: Flag,
}

/// The blocks of one size.
pub(super) struct Blocks {
    number: usize,
    /// What the first one is called in a slot.
    base: u32,
    pub(super) class: Class,
    /// So many from the first on keep their memory when it is given back.
    stay: u32,
    /// What of them this process has mapped.
    pub(super) levels: Vec<Renewed<Level>>,
    /// A guess of where the next free block is.
    pub(super) cursor: Hint,
    /// A guess of how many blocks are in use at once: the claims walk over so many.
    pub(super) window: Hint,
    /// About how many blocks of this lap over the window were not free.
    busy: Hint,
    /// A guess of how many claims would find nothing here. A claim that all sizes turn away looks everywhere in spite of it.
    pause: Hint,
    /// Blocks from the first on that sweepers know of.
    noted: Known,
}

/// One stretch of blocks.
pub(super) struct Level {
    /// The number of its first block.
    pub(super) first: u32,
    pub(super) region: Region,
    pub(super) headers: Array<BlockHeader>,
    /// Which chunks of blocks this handle has seen committed, a bit each.
    pub(super) committed: Box<[Known]>,
    /// For blocks that are not committed whole: how many bytes of each this handle has seen committed.
    pub(super) lengths: Box<[Known]>,
}

/// Fewest blocks to walk over: enough to be far from other handles, few enough where blocks are large to stay in the
/// processor's caches.
pub(super) const fn smallest_window(class: &Class) -> u64 {
    let window = if class.size > LARGE { 2 } else { 16 };
    if window < class.count as u64 { window } else { class.count as u64 }
}

/// Blocks larger than this fill a cache by themselves.
const LARGE: usize = 64 << 10;
/// After a look at n blocks of which none was free, n / 8 claims go to larger blocks at once. So a claim looks at few blocks on average,
/// however many are in use.
const PAUSE: u64 = 8;
/// There is one value per level, for the life of the handle.
pub(super) const ONLY: u64 = 0;

impl Arena {
    pub(crate) fn new(region: &Region, at: usize, stretches: &Arc<Stretches>, seed: u64) -> Result<Self, OutOfBounds> {
        let layout: &Layout = &stretches.layout;
        let blocks = |(number, &class): (usize, &Class)| {
            let window = smallest_window(&class);
            Blocks {
                number,
                base: layout.block_number(number, 0),
                class,
                stay: class.first_of(class.first_that_goes()),
                levels: (0..class.levels()).map(|_| Renewed::new()).collect(),
                // Handles start at different places, so that they seldom meet.
                cursor: Hint::new(seed.wrapping_mul(5) % window),
                window: Hint::new(window),
                busy: Hint::new(0),
                pause: Hint::new(0),
                noted: Known::new(0),
            }
        };
        let used = region.array(at + layout.used, layout.classes.len())?;
        let trims = region.place(at + layout.used + layout.classes.len() * size_of::<AtomicU64>())?;
        let classes = layout.classes.iter().enumerate().map(blocks).collect();
        let (forgot_at, trim_next, used_more) = (Known::new(0), Known::new(trim::NO_TRIM), Flag::new());
        Ok(Self { stretches: Arc::clone(stretches), classes, used, trims, forgot_at, trim_next, used_more })
    }

    /// Makes zeroed memory hold free blocks: all that there can be, in a model, and none elsewhere.
    pub(crate) fn make_fresh(&self) -> io::Result<()> {
        self.used.make_fresh();
        self.trims.make_fresh();
        for blocks in self.classes.iter().filter(|_| cfg!(loom)) {
            for level in 0..blocks.class.levels() {
                self.level(blocks, level, true)?.headers.make_fresh();
            }
        }
        Ok(())
    }

    pub(crate) fn longest(&self) -> usize {
        self.classes.last().map_or(0, |blocks| blocks.capacity())
    }

    /// A stretch of blocks. If it is not there yet it is added with `add`, and an error without.
    #[inline(always)]
    pub(super) fn level<'a>(&self, blocks: &'a Blocks, level: u32, add: bool) -> io::Result<&'a Level> {
        let place = blocks.levels.get(level as usize).ok_or(io::ErrorKind::InvalidData)?;
        match place.peek(ONLY) {
            Some(known) => Ok(known),
            None => self.map_level(blocks, level, place, add),
        }
    }

    #[cold]
    fn map_level<'a>(&self, blocks: &Blocks, level: u32, place: &'a Renewed<Level>, add: bool) -> io::Result<&'a Level> {
        let stretch = Stretch::Blocks { class: blocks.number, level };
        let region = match add {
            true => self.stretches.add(stretch)?,
            false => self.stretches.find(stretch)?.ok_or(io::ErrorKind::NotFound)?,
        };
        let (first, count) = (blocks.class.first_of(level), blocks.class.blocks_in(level));
        let headers = region.strided(0, count as usize, blocks.class.size).map_err(|_| io::ErrorKind::InvalidData)?;
        let lengths = 0..if blocks.class.size > WHOLE { count } else { 0 };
        let lengths = lengths.map(|_| Known::new(0)).collect();
        let chunks = (count >> blocks.class.chunk) + 1;
        let committed = (0..chunks.div_ceil(64)).map(|_| Known::new(0)).collect();
        Ok(place.get(ONLY, || Level { first, region, headers, committed, lengths }))
    }

    /// The block of a number that another process wrote, with its header's memory committed. The outer `None`: there is no such
    /// block. The inner one: it has no memory, which was given back, so the word that names it is old.
    #[inline(always)]
    pub(crate) fn find(&self, number: u32) -> Option<io::Result<Option<Found<'_>>>> {
        self.forget_what_was_trimmed();
        let (class, index) = self.stretches.layout.block_of(number)?;
        let blocks = self.classes.get(class)?;
        match self.level(blocks, blocks.class.level_of(index), false) {
            Ok(level) if !level.is_there(&blocks.class, index - level.first) => Some(Ok(None)),
            Ok(level) => Some(level.find(blocks, index).map(Some)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// A block for `len` bytes, owned by `owner`.
    #[inline(always)]
    pub(crate) fn claim(&self, owner: Owner, len: usize) -> Result<Found<'_>, AllocError> {
        match self.claim_next(owner, len) {
            Some(found) => Ok(found),
            None => self.claim_some(owner, len),
        }
    }

    /// The common case: the next block of the smallest size that fits is free, and its memory known to be there.
    #[inline(always)]
    fn claim_next(&self, owner: Owner, len: usize) -> Option<Found<'_>> {
        let blocks = self.classes.iter().find(|blocks| blocks.capacity() >= len)?;
        let index = blocks.cursor.get();
        if blocks.class.size > WHOLE || blocks.pause.get() > 0 || index >= blocks.window.get() || index >= blocks.noted.get() {
            return None;
        }
        // As in `claim_in`, which does the same for all other cases.
        let trims = self.trims.load(Ordering::Relaxed);
        if trims != self.forgot_at.get() {
            return None;
        }
        let level = blocks.levels.get(blocks.class.level_of(index as u32) as usize)?.peek(ONLY)?;
        let within = index as u32 - level.first;
        if !level.is_known(within >> blocks.class.chunk) {
            return None;
        }
        let found = level.found(blocks, within)?;
        let state = &found.header.state;
        if state.load(Ordering::Relaxed) != BlockState::FREE.0
            || state.compare_exchange(BlockState::FREE.0, BlockState::owned(owner).0, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return None;
        }
        blocks.cursor.set(index + 1);
        if self.trims.load(Ordering::Relaxed) != trims {
            // Its memory may have been given back before it was ours.
            found.free();
            return None;
        }
        Some(found)
    }

    /// A block in all other cases.
    #[cold]
    fn claim_some(&self, owner: Owner, len: usize) -> Result<Found<'_>, AllocError> {
        if len > self.longest() {
            return Err(AllocError::TooLong { len, max: self.longest() });
        }
        let mut passed = false;
        for blocks in self.classes.iter().filter(|blocks| blocks.capacity() >= len) {
            let pause = blocks.pause.get();
            if pause > 0 {
                blocks.pause.set(pause - 1);
                passed = true;
            } else if let Some(found) = self.claim_in(blocks, owner, len)? {
                return Ok(found);
            }
        }
        if passed { self.claim_anywhere(owner, len) } else { Err(AllocError::Exhausted) }
    }

    /// Looks everywhere, before it says that there is nothing.
    #[cold]
    fn claim_anywhere(&self, owner: Owner, len: usize) -> Result<Found<'_>, AllocError> {
        for blocks in self.classes.iter().filter(|blocks| blocks.capacity() >= len) {
            if let Some(found) = self.claim_in(blocks, owner, len)? {
                return Ok(found);
            }
        }
        Err(AllocError::Exhausted)
    }

    /// A block of one size whose payload can be touched; `None` if all are in use.
    fn claim_in<'a>(&'a self, blocks: &'a Blocks, owner: Owner, len: usize) -> Result<Option<Found<'a>>, AllocError> {
        let owned = BlockState::owned(owner).0;
        let limit = u64::from(blocks.class.count);
        let mut refused = None;
        let mut window = blocks.window.get().clamp(1, limit);
        let mut looked = 0;
        loop {
            let mut index = blocks.cursor.get();
            if index >= window {
                window = blocks.next_window(window);
                index = 0;
            }
            blocks.cursor.set(index + 1);
            // At each step: others may be giving memory back all the while.
            self.forget_what_was_trimmed();
            let level = self.level(blocks, blocks.class.level_of(index as u32), true);
            let found = match level.and_then(|level| level.find(blocks, index as u32)) {
                Ok(found) => found,
                Err(error) => {
                    // No memory for these blocks: another one, which has some, may be free.
                    refused = Some(error);
                    let beyond = ((index >> blocks.class.chunk) + 1) << blocks.class.chunk;
                    blocks.cursor.set(beyond);
                    looked += beyond - index;
                    if looked < window {
                        continue;
                    }
                    break;
                }
            };
            if index >= blocks.noted.get() {
                self.note_used(blocks, index);
            }
            // Relaxed to look, because the exchange decides. Acquire: what the last owner did with the payload happened before
            // it freed the block (pairs with: free), so that our writes come after its reads.
            let state = &found.header.state;
            if state.load(Ordering::Relaxed) == BlockState::FREE.0
                && state.compare_exchange(BlockState::FREE.0, owned, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                // It may have been given back since we saw that it was committed. From here on it can't be.
                self.forget_what_was_trimmed();
                if let Err(error) = found.level.ensure(&blocks.class, found.within).and_then(|()| found.prepare_payload(len)) {
                    found.free();
                    return Err(error.into());
                }
                return Ok(Some(found));
            }
            blocks.busy.set(blocks.busy.get() + 1);
            looked += 1;
            if looked >= window {
                if window >= limit || refused.is_some() {
                    break;
                }
                // Everything in the window is in use: go on behind it.
                blocks.cursor.set(window);
                window = (window * 2).min(limit);
                blocks.window.set(window);
                looked /= 2;
            }
        }
        blocks.pause.set(window / PAUSE);
        refused.map_or(Ok(None), |error| Err(error.into()))
    }

    /// Tells sweepers, before a block is claimed for the first time, to look at it and at some beyond.
    #[cold]
    pub(super) fn note_used(&self, blocks: &Blocks, index: u64) {
        let Some(used) = self.used.get(blocks.number) else { return };
        // Every large block that a sweeper looks at costs a page for its header.
        let step = if blocks.class.size > WHOLE { 1 } else { 64 };
        let upto = (index + 1).next_multiple_of(step).min(u64::from(blocks.class.count));
        // Relaxed: a sweeper comes after the death of the process that claims, and sees what it did before. A sweeper that comes for
        // another process now does not look for our block.
        used.fetch_max(upto, Ordering::Relaxed);
        blocks.noted.set(upto);
    }

    /// The blocks that may be in use. Memory that was given back is passed over, and not asked for again: what has no pages is free.
    pub(crate) fn ever_used(&self) -> impl Iterator<Item = io::Result<Found<'_>>> {
        self.forget_what_was_trimmed();
        self.classes.iter().zip(self.used.iter()).flat_map(move |(blocks, used)| {
            let used = used.load(Ordering::Relaxed).min(u64::from(blocks.class.count)) as u32;
            let levels = (0..blocks.class.levels()).take_while(move |level| blocks.class.first_of(*level) < used);
            // What is said to be used and is not there was made up.
            let there = levels
                .map(move |level| self.level(blocks, level, false))
                .take_while(|level| !level.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
            there.flat_map(move |level| {
                let (level, failed) = match level {
                    Ok(level) => (Some(level), None),
                    Err(error) => (None, Some(Err(error))),
                };
                let level = level.filter(|level| level.region.has_pages(0..level.region.len()));
                let found = level.into_iter().flat_map(move |level| level.in_use(blocks, used)).map(Ok);
                found.chain(failed)
            })
        })
    }

    /// Whether some block is not free, whose memory may come free later.
    pub(crate) fn is_in_use(&self) -> bool {
        self.has_block(|phase| phase != Phase::Free)
    }

    /// Whether some block holds a message that was pushed, and not only one that is being written.
    pub(crate) fn holds_messages(&self) -> bool {
        self.has_block(|phase| matches!(phase, Phase::Publishing | Phase::Taken))
    }

    fn has_block(&self, of_phase: impl Fn(Phase) -> bool) -> bool {
        // Relaxed: true at some moment during the call is all that is asked.
        let phase = |block: Found<'_>| BlockState(block.header.state.load(Ordering::Relaxed)).phase();
        self.ever_used().any(|block| block.is_ok_and(|block| of_phase(phase(block))))
    }
}

/// A block, looked up once.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    blocks: &'a Blocks,
    level: &'a Level,
    index: u32,
    /// Its place in its stretch.
    within: u32,
    pub(crate) header: &'a BlockHeader,
}

impl std::fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "block {} of {} bytes", self.index, self.blocks.class.size)
    }
}

impl<'a> Found<'a> {
    /// What a slot calls it.
    #[inline(always)]
    pub(crate) fn number(&self) -> u32 {
        self.blocks.base | self.index
    }

    /// Longest message that it holds.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.capacity()
    }

    /// Offset in its stretch.
    #[inline(always)]
    fn start(&self) -> usize {
        self.within as usize * self.blocks.class.size
    }

    /// The first `len` bytes of the payload, none at all if there are fewer.
    #[inline(always)]
    pub(crate) fn payload(&self, len: usize) -> Bytes<'a> {
        let fits = len <= self.capacity();
        let window = fits.then(|| self.level.region.bytes(self.start() + size_of::<BlockHeader>(), len).ok());
        window.flatten().unwrap_or_else(|| self.level.region.nothing())
    }

    /// Whether a [`trim`](Arena::trim) would give its memory back, were it free.
    #[inline(always)]
    pub(super) fn goes(&self) -> bool {
        self.index >= self.blocks.stay
    }

    /// Frees the block, which the caller's owner holds or is the sweeper of. Large ones may give their pages back first.
    #[inline(always)]
    pub(crate) fn free(&self) {
        if !self.blocks.keeps_pages(self.index) {
            // All but the one with the header, while nobody else can have the block.
            let start = self.start();
            self.level.region.discard(start + PAGE..start + self.blocks.class.size);
        }
        // Release: our reads and writes of the payload come before anyone else's (pairs with: free).
        self.header.state.store(BlockState::FREE.0, Ordering::Release);
    }

    /// Makes sure that the message in this block, which another process may have written, can be touched.
    #[inline(always)]
    pub(crate) fn prepare_message(&self) -> io::Result<()> {
        if self.blocks.class.size <= WHOLE {
            return Ok(());
        }
        // Relaxed: it came with the slot. A length that is too long is found out by the taker.
        let meta = Meta::unpack(self.header.meta.load(Ordering::Relaxed));
        self.prepare_payload(meta.len.min(self.capacity()))
    }

    /// Makes sure that `len` bytes of payload can be touched.
    #[inline(always)]
    pub(crate) fn prepare_payload(&self, len: usize) -> io::Result<()> {
        match self.level.lengths.get(self.within as usize) {
            None => Ok(()),
            // Pages that are given back have to be committed every time.
            Some(known) if known.get() < len as u64 || !self.blocks.keeps_pages(self.index) => {
                let start = self.start() + size_of::<BlockHeader>();
                self.level.region.commit(start..start + len)?;
                known.set(len as u64);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }
}

impl Level {
    /// A block of this stretch, with its header's memory committed.
    #[inline(always)]
    fn find<'a>(&'a self, blocks: &'a Blocks, index: u32) -> io::Result<Found<'a>> {
        let within = index - self.first;
        self.ensure(&blocks.class, within)?;
        self.found(blocks, within).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    #[inline(always)]
    fn found<'a>(&'a self, blocks: &'a Blocks, within: u32) -> Option<Found<'a>> {
        let header = self.headers.get(within as usize)?;
        Some(Found { blocks, level: self, index: self.first + within, within, header })
    }

    /// Those of its blocks before the block `used` that have pages.
    fn in_use<'a>(&'a self, blocks: &'a Blocks, used: u32) -> impl Iterator<Item = Found<'a>> {
        let class = &blocks.class;
        let beyond = (self.headers.len() as u32).min(used.saturating_sub(self.first));
        let chunks = (0..beyond.div_ceil(1 << class.chunk)).filter(|chunk| self.has_pages(class, *chunk));
        let blocks_of = move |chunk: u32| chunk << class.chunk..beyond.min((chunk + 1) << class.chunk);
        let there = chunks.flat_map(blocks_of).filter(|within| self.is_there(class, *within));
        there.filter_map(|within| self.found(blocks, within))
    }

    #[inline(always)]
    fn is_known(&self, chunk: u32) -> bool {
        self.committed.get((chunk / 64) as usize).map_or(0, Known::get) >> (chunk % 64) & 1 != 0
    }

    /// Whether a chunk has any pages. If so they are all asked for, so that they can be touched.
    fn has_pages(&self, class: &Class, chunk: u32) -> bool {
        if self.is_known(chunk) {
            return true;
        }
        let has_pages = self.region.has_pages(self.chunk_range(class, chunk));
        if has_pages {
            // Where this fails, each block is asked for its page.
            let _ = self.commit(class, chunk << class.chunk);
        }
        has_pages
    }

    /// Whether a block's header has a page. Where there was no memory for a whole chunk, a part of it may have pages.
    #[inline(always)]
    fn is_there(&self, class: &Class, within: u32) -> bool {
        let header = within as usize * class.size;
        self.is_known(within >> class.chunk) || self.region.has_pages(header..header + size_of::<BlockHeader>())
    }

    /// What of a chunk is committed at once.
    fn chunk_range(&self, class: &Class, chunk: u32) -> Range<usize> {
        let from = ((chunk << class.chunk) as usize) * class.size;
        let len = if class.size > WHOLE { size_of::<BlockHeader>() } else { class.size << class.chunk };
        from..(from + len).min(self.region.len())
    }

    /// Makes sure that the header of a block can be touched, and small blocks as a whole.
    #[inline(always)]
    pub(super) fn ensure(&self, class: &Class, within: u32) -> io::Result<()> {
        if self.is_known(within >> class.chunk) { Ok(()) } else { self.commit(class, within) }
    }

    #[cold]
    fn commit(&self, class: &Class, within: u32) -> io::Result<()> {
        let chunk = within >> class.chunk;
        self.region.commit(self.chunk_range(class, chunk))?;
        if let Some(known) = self.committed.get((chunk / 64) as usize) {
            known.insert(1 << (chunk % 64));
        }
        Ok(())
    }
}

impl Blocks {
    #[inline(always)]
    fn capacity(&self) -> usize {
        self.class.size - size_of::<BlockHeader>()
    }

    /// Whether a block keeps its pages when it is freed.
    #[inline(always)]
    fn keeps_pages(&self, index: u32) -> bool {
        self.class.size <= ALL_KEEP_PAGES || (index as usize + 1).saturating_mul(self.class.size) <= FIRST_KEEP_PAGES
    }

    /// The window for the next lap: half as large if little of it was in use.
    fn next_window(&self, window: u64) -> u64 {
        let smaller = (window / 2).max(smallest_window(&self.class));
        let next = if self.busy.get() < window / 8 { smaller } else { window };
        self.busy.set(0);
        self.window.set(next);
        next
    }
}
