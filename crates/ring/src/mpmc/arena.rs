//! Blocks: which there are, where their memory is, and how they are freed. How a free one is found is in `claim.rs`.

use super::block::Meta;
use super::claim::smallest_window;
use super::layout::{ALL_KEEP_PAGES, BlockHeader, Class, FIRST_KEEP_PAGES, Layout, Notes, PAGE, Stretch, WHOLE};
use super::state::{BlockState, Phase};
use super::stretches::Stretches;
use super::trim;
use multiproc_prim::{
    Array, AtomicU64, Bytes, Flag, Hint, Known, LINE, Ordering, OutOfBounds, Place, Region, Renewed, fetch_to_write,
};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block that are asked for at once. The processor's own prefetcher sees those behind them coming.
const FETCHED: usize = 1 << 10;

pub(crate) struct Arena {
    stretches: Arc<Stretches>,
    pub(super) classes: Vec<Blocks>,
    pub(super) used: Array<AtomicU64>,
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
    pub(super) number: usize,
    /// What the first one is called in a slot.
    base: u32,
    pub(super) class: Class,
    /// So many from the first on keep their memory when it is given back.
    stay: u32,
    /// What of them this process has mapped.
    pub(super) levels: Vec<Renewed<Level>>,
    /// A guess of where the next free block is.
    pub(super) cursor: Hint,
    /// About how many claims that expected to find none have looked here.
    pub(super) nearby_looks: Hint,
    /// A guess of how many blocks are in use at once: the claims walk over so many.
    pub(super) window: Hint,
    /// About how many blocks of this lap over the window were not free.
    pub(super) busy: Hint,
    /// A guess of how many claims would find nothing here. A claim that all sizes turn away looks everywhere in spite of it.
    pub(super) pause: Hint,
    /// A guess that many were in use, or had no memory, the last time that a claim looked.
    pub(super) exhausted: Flag,
    /// Blocks from the first on that sweepers know of.
    pub(super) noted: Known,
}

/// One stretch of blocks.
pub(super) struct Level {
    /// The number of its first block.
    pub(super) first: u32,
    pub(super) region: Region,
    pub(super) headers: Array<BlockHeader>,
    /// The same bytes and more, in a ring with room for returns.
    notes: Option<Array<Notes>>,
    /// The arena's.
    trims: Place<AtomicU64>,
    /// Which chunks of blocks this handle has seen committed, a bit each.
    pub(super) committed: Box<[Known]>,
    /// For blocks that are not committed whole: how many bytes of each this handle has seen committed.
    pub(super) lengths: Box<[Known]>,
}

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
                nearby_looks: Hint::new(0),
                window: Hint::new(window),
                busy: Hint::new(0),
                pause: Hint::new(0),
                exhausted: Flag::new(),
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
        let notes = self.stretches.layout.has_notes().then(|| region.strided(0, count as usize, blocks.class.size));
        let notes = notes.transpose().map_err(|_| io::ErrorKind::InvalidData)?;
        let lengths = 0..if blocks.class.size > WHOLE { count } else { 0 };
        let lengths = lengths.map(|_| Known::new(0)).collect();
        let chunks = (count >> blocks.class.chunk) + 1;
        let committed = (0..chunks.div_ceil(64)).map(|_| Known::new(0)).collect();
        let trims = self.trims.clone();
        Ok(place.get(ONLY, || Level { first, region, headers, notes, trims, committed, lengths }))
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

    /// The block of a number, if this process has mapped its stretch. It asks the system for nothing, so there may be no memory for it.
    #[inline(always)]
    pub(super) fn mapped(&self, number: u32) -> Option<Found<'_>> {
        let (class, index) = self.stretches.layout.block_of(number)?;
        let blocks = self.classes.get(class)?;
        let level = blocks.levels.get(blocks.class.level_of(index) as usize)?.peek(ONLY)?;
        level.found(blocks, index - level.first)
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
    pub(super) level: &'a Level,
    index: u32,
    /// Its place in its stretch.
    pub(super) within: u32,
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

    /// Its place among the blocks of its size.
    #[inline(always)]
    pub(super) fn index(&self) -> u64 {
        u64::from(self.index)
    }

    /// Its notes, in a ring with room for returns.
    #[inline(always)]
    pub(super) fn notes(&self) -> Option<&'a Notes> {
        self.level.notes.as_ref()?.get(self.within as usize)
    }

    /// Longest message that it holds.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.capacity()
    }

    /// Asks for its cache lines, to be taken and read. How long its message is, its header says, which has not come yet.
    #[inline(always)]
    pub(super) fn fetch(&self) {
        fetch_to_write(self.header);
        self.level.lines_behind_first(self.blocks, self.within as usize, self.blocks.class.size).fetch();
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
        let window = fits.then(|| self.level.region.bytes(self.start() + self.blocks.class.header, len).ok());
        window.flatten().unwrap_or_else(|| self.level.region.nothing())
    }

    /// A copy of the first `len` bytes of the payload, which others may write or give back meanwhile; `None` if there are fewer.
    pub(super) fn copy_payload(&self, len: usize) -> Option<Vec<u8>> {
        let start = self.start() + self.blocks.class.header;
        if len <= self.capacity() { self.level.region.copy_out(start..start + len) } else { None }
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

    /// Makes sure that the message in this block, which another process may have written, can be touched. Returns how many bytes can be.
    #[inline(always)]
    pub(crate) fn prepare_message(&self) -> io::Result<usize> {
        if self.blocks.class.size <= WHOLE {
            return Ok(self.capacity());
        }
        // Relaxed: it came with the slot. The taker reads it again, and finds out a length that is too long.
        let meta = Meta::unpack(self.header.meta.load(Ordering::Relaxed));
        let len = meta.len.min(self.capacity());
        self.prepare_payload(len).map(|()| len)
    }

    /// Makes sure that `len` bytes of payload can be touched.
    #[inline(always)]
    pub(crate) fn prepare_payload(&self, len: usize) -> io::Result<()> {
        match self.level.lengths.get(self.within as usize) {
            None => Ok(()),
            // Pages that are given back have to be committed every time.
            Some(known) if known.get() < len as u64 || !self.blocks.keeps_pages(self.index) => {
                let start = self.start() + self.blocks.class.header;
                // Acquire, beyond the models, whose memory never goes: as in `Level::commit` (pairs with: trim).
                let trims = self.level.trims.load(Ordering::Acquire);
                self.level.region.commit(start..start + len)?;
                known.set(len as u64);
                // Acquire, beyond the models, as above (pairs with: trim).
                if self.level.trims.load(Ordering::Acquire) != trims {
                    known.set(0);
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }
}

impl Level {
    /// A block of this stretch, with its header's memory committed.
    #[inline(always)]
    pub(super) fn find<'a>(&'a self, blocks: &'a Blocks, index: u32) -> io::Result<Found<'a>> {
        let within = index - self.first;
        self.ensure(&blocks.class, within)?;
        self.found(blocks, within).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    #[inline(always)]
    pub(super) fn found<'a>(&'a self, blocks: &'a Blocks, within: u32) -> Option<Found<'a>> {
        let header = self.headers.get(within as usize)?;
        Some(Found { blocks, level: self, index: self.first + within, within, header })
    }

    /// Asks for the cache lines of a block, to write a message of `len` bytes. Nothing, if the block is in another stretch.
    #[inline(always)]
    pub(super) fn fetch_to_fill(&self, blocks: &Blocks, index: u64, len: usize) {
        let within = (index as usize).wrapping_sub(self.first as usize);
        if let Some(header) = self.headers.get(within) {
            fetch_to_write(header);
            self.lines_behind_first(blocks, within, blocks.class.header + len).fetch_to_write();
        }
    }

    /// The first `len` bytes of a block but for the cache line that it begins with, and no more than are worth asking for.
    #[inline(always)]
    fn lines_behind_first(&self, blocks: &Blocks, within: usize, len: usize) -> Bytes<'_> {
        let behind = len.min(FETCHED).saturating_sub(LINE);
        self.region.bytes(within * blocks.class.size + LINE, behind).unwrap_or_else(|_| self.region.nothing())
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
    pub(super) fn is_known(&self, chunk: u32) -> bool {
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
        self.is_known(within >> class.chunk) || self.region.has_pages(header..header + class.header)
    }

    /// What of a chunk is committed at once.
    fn chunk_range(&self, class: &Class, chunk: u32) -> Range<usize> {
        let from = ((chunk << class.chunk) as usize) * class.size;
        let len = if class.size > WHOLE { class.header } else { class.size << class.chunk };
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
        // Acquire, beyond the models, whose memory never goes: if a trim has told, we see below that it has the block (pairs with: trim).
        let trims = self.trims.load(Ordering::Acquire);
        let range = self.chunk_range(class, chunk);
        self.region.commit(range.clone())?;
        let state = self.headers.get(within as usize).map(|header| BlockState(header.state.load(Ordering::Relaxed)));
        // What a trim has in hand may go at the next instruction, and no process is told of it again. Where we see no trim, none has told
        // of it yet; when one does, we forget what we learn here.
        let Some(known) = self.committed.get((chunk / 64) as usize).filter(|_| state.is_some_and(|state| !state.is_trimming()))
        else {
            return Ok(());
        };
        // A trim that had told may have taken the pages away since we committed them: it leaves zeroes, which are free blocks.
        if trims != 0 {
            self.region.commit(range)?;
        }
        known.insert(1 << (chunk % 64));
        // Another thread of this process may have forgotten everything right before. Acquire, beyond the models, whose memory never
        // goes: what that thread had seen, we see (pairs with: trim).
        if self.trims.load(Ordering::Acquire) != trims {
            known.set(0);
        }
        Ok(())
    }
}

impl Blocks {
    #[inline(always)]
    pub(super) fn capacity(&self) -> usize {
        self.class.size - self.class.header
    }

    /// Whether a block keeps its pages when it is freed.
    #[inline(always)]
    fn keeps_pages(&self, index: u32) -> bool {
        self.class.size <= ALL_KEEP_PAGES || (index as usize + 1).saturating_mul(self.class.size) <= FIRST_KEEP_PAGES
    }
}
