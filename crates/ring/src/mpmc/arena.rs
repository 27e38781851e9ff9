//! Blocks: who owns which, and where the next free one is.
//!
//! The compare-and-swap `Free -> Owned` on a block's own state decides; everything else here is a guess about where to look.
//! Each handle walks over a window of blocks in address order, which is also the order in which a queue frees them, so the
//! next block is nearly always free, no allocator word is shared, and the processor's prefetcher sees a straight line. The
//! window grows when most of it is in use and shrinks when most of it is free.

use super::error::AllocError;
use super::layout::{ALL_KEEP_PAGES, BlockHeader, Class, FIRST_KEEP_PAGES, Layout, WHOLE};
use super::state::{BlockState, Owner};
use multiproc_prim::{Array, AtomicU64, Bytes, Hint, Ordering, OutOfBounds, Region};

pub(crate) struct Arena {
    region: Region,
    at: usize,
    classes: Vec<Blocks>,
    used: Array<AtomicU64>,
}

struct Blocks {
    class: Class,
    headers: Array<BlockHeader>,
    /// Next block to look at.
    cursor: Hint,
    /// Blocks looked at before starting over.
    window: Hint,
    /// Blocks of this lap over the window that were not free.
    busy: Hint,
    /// Blocks from the first on whose memory this handle has seen committed.
    committed: Hint,
    /// Blocks from the first on that sweepers know of.
    noted: Hint,
    /// For blocks that are not committed whole: how many bytes of each this handle has seen committed.
    lengths: Box<[Hint]>,
}

/// Fewest blocks to walk over: enough to be far from other handles, few enough where blocks are large to stay in the
/// processor's caches.
const fn smallest_window(class: &Class) -> u64 {
    let window = if class.size > LARGE { 2 } else { 16 };
    if window < class.count as u64 { window } else { class.count as u64 }
}

/// Blocks larger than this fill a cache by themselves.
const LARGE: usize = 64 << 10;
/// Memory is committed this many bytes at a time, where blocks are smaller.
const COMMIT_CHUNK: usize = 32 << 10;
/// How far beyond the blocks known to be committed one commit may reach, besides twice as far.
const COMMIT_AHEAD: usize = 1 << 20;

impl Arena {
    pub(crate) fn new(region: &Region, at: usize, layout: &Layout, seed: u64) -> Result<Self, OutOfBounds> {
        let mut classes = Vec::new();
        for &class in &layout.classes {
            let headers = region.strided(at + class.offset, class.count as usize, class.size)?;
            let window = smallest_window(&class);
            let lengths = 0..if class.size > WHOLE { class.count } else { 0 };
            classes.push(Blocks {
                class,
                headers,
                // Handles start at different places, so that they seldom meet.
                cursor: Hint::new(seed.wrapping_mul(5) % window),
                window: Hint::new(window),
                busy: Hint::new(0),
                committed: Hint::new(0),
                noted: Hint::new(0),
                lengths: lengths.map(|_| Hint::new(0)).collect(),
            });
        }
        Ok(Self { region: region.clone(), at, classes, used: region.array(at + layout.used, layout.classes.len())? })
    }

    pub(crate) fn make_fresh(&self) {
        self.used.make_fresh();
        for blocks in &self.classes {
            blocks.headers.make_fresh();
        }
    }

    pub(crate) fn longest(&self) -> usize {
        self.classes.last().map_or(0, |blocks| blocks.capacity())
    }

    /// The block of this number, `None` if there is none. Its memory may not be committed: see [`find`](Self::find).
    #[inline(always)]
    pub(crate) fn find_committed(&self, number: u32) -> Option<Found<'_>> {
        // Small blocks come first, and nearly always are the ones looked for.
        let blocks = self.classes.iter().find(|blocks| number.wrapping_sub(blocks.class.first) < blocks.class.count)?;
        let index = number - blocks.class.first;
        Some(Found { arena: self, blocks, index, header: blocks.headers.get(index as usize)? })
    }

    /// The block of a number that another process wrote, with its header's memory committed. The outer `None`: there is no such
    /// block.
    #[inline(always)]
    pub(crate) fn find(&self, number: u32) -> Option<std::io::Result<Found<'_>>> {
        let found = self.find_committed(number)?;
        if u64::from(found.index) >= found.blocks.committed.get()
            && let Err(error) = self.commit(found.blocks, found.index)
        {
            return Some(Err(error));
        }
        Some(Ok(found))
    }

    /// A window of no bytes.
    pub(crate) fn nothing(&self) -> Bytes<'_> {
        self.region.nothing()
    }

    /// A block for `len` bytes, owned by `owner`.
    #[inline(always)]
    pub(crate) fn claim(&self, owner: Owner, len: usize) -> Result<Found<'_>, AllocError> {
        if len > self.longest() {
            return Err(AllocError::TooLong { len, max: self.longest() });
        }
        for (number, blocks) in self.classes.iter().enumerate().filter(|(_, blocks)| blocks.capacity() >= len) {
            if let Some(found) = self.claim_in(number, blocks, owner)? {
                if let Err(error) = found.prepare_payload(len) {
                    found.free();
                    return Err(AllocError::Commit(error));
                }
                return Ok(found);
            }
        }
        Err(AllocError::Exhausted)
    }

    #[inline(always)]
    fn claim_in<'a>(&'a self, number: usize, blocks: &'a Blocks, owner: Owner) -> Result<Option<Found<'a>>, AllocError> {
        let owned = BlockState::owned(owner).0;
        let mut limit = u64::from(blocks.class.count);
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
            if index >= blocks.committed.get()
                && let Err(error) = self.commit(blocks, index as u32)
            {
                // No memory for more blocks: those before this one may still be free.
                if index == 0 || refused.is_some() {
                    return Err(AllocError::Commit(error));
                }
                (limit, refused, looked) = (index, Some(error), 0);
                window = window.min(limit);
                blocks.cursor.set(0);
                continue;
            }
            if index >= blocks.noted.get() {
                self.note_used(number, blocks, index);
            }
            let Some(header) = blocks.headers.get(index as usize) else { return Ok(None) };
            // Relaxed to look, because the exchange decides. Acquire: what the last owner did with the payload happened before
            // it freed the block (pairs with: free), so that our writes come after its reads.
            if header.state.load(Ordering::Relaxed) == BlockState::FREE.0
                && header.state.compare_exchange(BlockState::FREE.0, owned, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Ok(Some(Found { arena: self, blocks, index: index as u32, header }));
            }
            blocks.busy.set(blocks.busy.get() + 1);
            looked += 1;
            if looked >= window {
                if window >= limit {
                    return refused.map_or(Ok(None), |error| Err(AllocError::Commit(error)));
                }
                // Everything in the window is in use: go on behind it.
                blocks.cursor.set(window);
                window = (window * 2).min(limit);
                blocks.window.set(window);
                looked /= 2;
            }
        }
    }

    /// Commits the blocks from the last committed one up to `index`, and some beyond.
    #[cold]
    fn commit(&self, blocks: &Blocks, index: u32) -> std::io::Result<()> {
        let size = blocks.class.size;
        let start = self.at + blocks.class.offset;
        if size > WHOLE {
            let block = start + index as usize * size;
            self.region.owner().commit(block..block + size_of::<BlockHeader>())?;
            // Headers of large blocks are committed one by one, so that this mark only moves when nothing is left out.
            if blocks.committed.get() == u64::from(index) {
                blocks.committed.set(u64::from(index) + 1);
            }
            return Ok(());
        }
        let chunk = (COMMIT_CHUNK / size).max(1);
        let known = blocks.committed.get() as usize;
        let index = index as usize;
        // A block far beyond the known ones is committed alone: an index that a peer made up must not cost more than that.
        let near = index <= 2 * known + COMMIT_AHEAD / size;
        let from = if near { known.min(index) } else { index };
        let to = (index + 1).next_multiple_of(chunk).min(blocks.class.count as usize);
        self.region.owner().commit(start + from * size..start + to * size)?;
        if near {
            blocks.committed.set(to as u64);
        }
        Ok(())
    }

    /// Tells sweepers, before a block is claimed for the first time, to look at it and at some beyond.
    #[cold]
    fn note_used(&self, class: usize, blocks: &Blocks, index: u64) {
        let Some(used) = self.used.get(class) else { return };
        // Every large block that a sweeper looks at costs a page for its header.
        let step = if blocks.class.size > WHOLE { 1 } else { 64 };
        let upto = (index + 1).next_multiple_of(step).min(u64::from(blocks.class.count));
        // Relaxed: a sweeper comes after the death of whoever claims, and sees what it did before. One that comes for another one
        // now does not look for our block.
        used.fetch_max(upto, Ordering::Relaxed);
        blocks.noted.set(upto);
    }

    /// The blocks that may ever have been in use.
    pub(crate) fn ever_used(&self) -> impl Iterator<Item = u32> {
        self.classes.iter().zip(self.used.iter()).flat_map(|(blocks, used)| {
            let used = used.load(Ordering::Relaxed).min(u64::from(blocks.class.count)) as u32;
            (0..used).map(move |index| blocks.class.first + index)
        })
    }
}

/// A block, looked up once.
#[derive(Clone, Copy)]
pub(crate) struct Found<'a> {
    arena: &'a Arena,
    blocks: &'a Blocks,
    index: u32,
    pub(crate) header: &'a BlockHeader,
}

impl std::fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "block {} of {} bytes", self.number(), self.blocks.class.size)
    }
}

impl<'a> Found<'a> {
    /// What a slot calls it.
    #[inline(always)]
    pub(crate) fn number(&self) -> u32 {
        self.blocks.class.first + self.index
    }

    /// Longest message that it holds.
    #[inline(always)]
    pub(crate) fn capacity(&self) -> usize {
        self.blocks.capacity()
    }

    /// Offset in the region.
    #[inline(always)]
    fn start(&self) -> usize {
        self.arena.at + self.blocks.class.offset + self.index as usize * self.blocks.class.size
    }

    /// The first `len` bytes of the payload, none at all if there are fewer.
    #[inline(always)]
    pub(crate) fn payload(&self, len: usize) -> Bytes<'a> {
        let fits = len <= self.capacity();
        let window = fits.then(|| self.arena.region.bytes(self.start() + size_of::<BlockHeader>(), len).ok());
        window.flatten().unwrap_or_else(|| self.arena.nothing())
    }

    /// Frees the block, which the caller's owner holds or is the sweeper of. Large ones may give their pages back first.
    #[inline(always)]
    pub(crate) fn free(&self) {
        if !self.blocks.keeps_pages(self.index) {
            // All but the one with the header, while nobody else can have the block.
            let start = self.start();
            self.arena.region.owner().discard(start + 4096..start + self.blocks.class.size);
        }
        // Release: our reads and writes of the payload come before anyone else's (pairs with: free). An exchange, so that whoever
        // looks for sleepers next needs no fence.
        self.header.state.swap(BlockState::FREE.0, Ordering::Release);
    }

    /// Makes sure that `len` bytes of payload can be touched.
    #[inline(always)]
    pub(crate) fn prepare_payload(&self, len: usize) -> std::io::Result<()> {
        match self.blocks.lengths.get(self.index as usize) {
            None => Ok(()),
            // Pages that are given back have to be committed every time.
            Some(known) if known.get() < len as u64 || !self.blocks.keeps_pages(self.index) => {
                let start = self.start() + size_of::<BlockHeader>();
                self.arena.region.owner().commit(start..start + len)?;
                known.set(len as u64);
                Ok(())
            }
            Some(_) => Ok(()),
        }
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
