//! Blocks: who owns which, and where the next free one is.
//!
//! The compare-and-swap `Free -> Owned` on a block's own state decides; everything else here is a guess about where to look.
//! Each handle walks over a window of blocks in address order, which is also the order in which a queue frees them, so the
//! next block is nearly always free, no allocator word is shared, and the processor's prefetcher sees a straight line. The
//! window grows when most of it is in use and shrinks when most of it is free.

use super::error::AllocError;
use super::layout::{BlockHeader, Class, KEEP_PAGES, Layout};
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
}

const SMALLEST_WINDOW: u64 = 16;
/// Memory is committed this many bytes at a time, where blocks are smaller.
const COMMIT_CHUNK: usize = 32 << 10;
/// How far beyond the blocks known to be committed one commit may reach, besides twice as far.
const COMMIT_AHEAD: usize = 1 << 20;

impl Arena {
    pub(crate) fn new(region: &Region, at: usize, layout: &Layout, seed: u64) -> Result<Self, OutOfBounds> {
        let mut classes = Vec::new();
        for &class in &layout.classes {
            let headers = region.strided(at + class.offset, class.count as usize, class.size)?;
            let window = SMALLEST_WINDOW.min(u64::from(class.count));
            classes.push(Blocks {
                class,
                headers,
                // Handles start at different places, so that they seldom meet.
                cursor: Hint::new(seed.wrapping_mul(5) % window),
                window: Hint::new(window),
                busy: Hint::new(0),
                committed: Hint::new(0),
                noted: Hint::new(0),
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

    fn locate(&self, block: u32) -> Option<(usize, &Blocks, u32)> {
        let (number, blocks) = self.classes.iter().enumerate().rfind(|(_, blocks)| blocks.class.first <= block)?;
        let index = block - blocks.class.first;
        (index < blocks.class.count).then_some((number, blocks, index))
    }

    /// The header of a block, `None` for an index that is none. Its memory may have to be committed: see [`header`](Self::header).
    #[inline]
    pub(crate) fn committed_header(&self, block: u32) -> Option<&BlockHeader> {
        let (_, blocks, index) = self.locate(block)?;
        blocks.headers.get(index as usize)
    }

    /// The header of a block that another process named, its memory committed. The outer `None`: there is no such block.
    #[inline]
    pub(crate) fn header(&self, block: u32) -> Option<std::io::Result<&BlockHeader>> {
        let (_, blocks, index) = self.locate(block)?;
        if u64::from(index) >= blocks.committed.get()
            && let Err(error) = self.commit(blocks, index)
        {
            return Some(Err(error));
        }
        blocks.headers.get(index as usize).map(Ok)
    }

    /// The payload window of a block, whole.
    #[inline]
    pub(crate) fn payload(&self, block: u32) -> Option<Bytes<'_>> {
        let (_, blocks, index) = self.locate(block)?;
        self.region.bytes(self.payload_offset(blocks, index), blocks.capacity()).ok()
    }

    /// A window of no bytes.
    pub(crate) fn nothing(&self) -> Bytes<'_> {
        self.region.nothing()
    }

    fn payload_offset(&self, blocks: &Blocks, index: u32) -> usize {
        self.at + blocks.class.offset + index as usize * blocks.class.size + size_of::<BlockHeader>()
    }

    /// A block for `len` bytes, owned by `owner`.
    pub(crate) fn claim(&self, owner: Owner, len: usize) -> Result<u32, AllocError> {
        if len > self.longest() {
            return Err(AllocError::TooLong { len, max: self.longest() });
        }
        for (number, blocks) in self.classes.iter().enumerate().filter(|(_, blocks)| blocks.capacity() >= len) {
            if let Some(index) = self.claim_in(number, blocks, owner)? {
                let block = blocks.class.first + index;
                if let Err(error) = self.prepare_payload(block, len) {
                    self.free(block);
                    return Err(AllocError::Commit(error));
                }
                return Ok(block);
            }
        }
        Err(AllocError::Exhausted)
    }

    #[inline]
    fn claim_in(&self, number: usize, blocks: &Blocks, owner: Owner) -> Result<Option<u32>, AllocError> {
        let count = u64::from(blocks.class.count);
        let owned = BlockState::owned(owner).0;
        let mut window = blocks.window.get().clamp(1, count);
        let mut looked = 0;
        loop {
            let mut index = blocks.cursor.get();
            if index >= window {
                window = blocks.next_window(window);
                index = 0;
            }
            blocks.cursor.set(index + 1);
            if index >= blocks.noted.get() {
                if index >= blocks.committed.get() {
                    self.commit(blocks, index as u32).map_err(AllocError::Commit)?;
                }
                self.note_used(number, blocks, index);
            }
            let Some(header) = blocks.headers.get(index as usize) else { return Ok(None) };
            // Relaxed to look, because the exchange decides. Acquire: what the last owner did with the payload happened before
            // it freed the block (pairs with: free), so that our writes come after its reads.
            if header.state.load(Ordering::Relaxed) == BlockState::FREE.0
                && header.state.compare_exchange(BlockState::FREE.0, owned, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Ok(Some(index as u32));
            }
            blocks.busy.set(blocks.busy.get() + 1);
            looked += 1;
            if looked >= window {
                if window == count {
                    return Ok(None);
                }
                // Everything in the window is in use: go on behind it.
                blocks.cursor.set(window);
                window = (window * 2).min(count);
                blocks.window.set(window);
                looked /= 2;
            }
        }
    }

    /// Frees a block that the caller's owner holds, or is the sweeper of. Large ones give their pages back first.
    #[inline]
    pub(crate) fn free(&self, block: u32) {
        self.give_back_pages(block);
        if let Some(header) = self.committed_header(block) {
            // Release: our reads and writes of the payload come before anyone else's (pairs with: free).
            header.state.store(BlockState::FREE.0, Ordering::Release);
        }
    }

    /// Gives the pages of a large block back, but for the one with its header. Only for its owner.
    pub(crate) fn give_back_pages(&self, block: u32) {
        if let Some((_, blocks, index)) = self.locate(block)
            && blocks.class.size > KEEP_PAGES
        {
            let start = self.at + blocks.class.offset + index as usize * blocks.class.size;
            self.region.owner().discard(start + 4096..start + blocks.class.size);
        }
    }

    /// Makes sure that `len` bytes of payload can be touched.
    #[inline]
    pub(crate) fn prepare_payload(&self, block: u32, len: usize) -> std::io::Result<()> {
        match self.locate(block) {
            Some((_, blocks, index)) if blocks.class.size > KEEP_PAGES => {
                let start = self.payload_offset(blocks, index);
                self.region.owner().commit(start..start + len)
            }
            _ => Ok(()),
        }
    }

    /// Commits the blocks from the last committed one up to `index`, and some beyond.
    #[cold]
    fn commit(&self, blocks: &Blocks, index: u32) -> std::io::Result<()> {
        let size = blocks.class.size;
        let start = self.at + blocks.class.offset;
        if size > KEEP_PAGES {
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
        let upto = (index + 1).next_multiple_of(64).min(u64::from(blocks.class.count));
        // Release: whoever finds the claim finds this too. A sweeper that comes between the two finds a free block.
        used.fetch_max(upto, Ordering::AcqRel);
        blocks.noted.set(upto);
    }

    /// The blocks that may ever have been in use.
    pub(crate) fn ever_used(&self) -> impl Iterator<Item = u32> {
        self.classes.iter().zip(self.used.iter()).flat_map(|(blocks, used)| {
            let used = used.load(Ordering::Acquire).min(u64::from(blocks.class.count)) as u32;
            (0..used).map(move |index| blocks.class.first + index)
        })
    }
}

impl Blocks {
    fn capacity(&self) -> usize {
        self.class.size - size_of::<BlockHeader>()
    }

    /// The window for the next lap: half as large if little of it was in use.
    fn next_window(&self, window: u64) -> u64 {
        let smaller = (window / 2).max(SMALLEST_WINDOW.min(u64::from(self.class.count)));
        let next = if self.busy.get() < window / 8 { smaller } else { window };
        self.busy.set(0);
        self.window.set(next);
        next
    }
}
