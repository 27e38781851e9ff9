//! How a free block is found.
//!
//! The compare-and-swap `Free -> Owned` on a block's own state decides; where to look is a guess. Each handle walks over a
//! window of blocks in address order, which is also the order in which a queue frees them, so the next block is nearly always
//! free, no allocator word is shared, and the processor's prefetcher sees a straight line. The window grows when all of it is in
//! use and shrinks when most of it is free. Blocks beyond those that exist are added as a stretch that doubles them.

use super::arena::{Arena, Blocks, Found, ONLY};
use super::error::AllocError;
use super::layout::{Class, WHOLE};
use super::state::{BlockState, Owner};
use multiproc_prim::Ordering;

/// Fewest blocks to walk over: enough to be far from other handles, few enough where blocks are large to stay in the
/// processor's caches.
pub(super) const fn smallest_window(class: &Class) -> u64 {
    let window = if class.size > LARGE { 2 } else { 16 };
    if window < class.count as u64 { window } else { class.count as u64 }
}

/// Blocks larger than this fill a cache by themselves.
const LARGE: usize = 64 << 10;
/// So many blocks in use one after the other, and a claim goes on elsewhere: all of the window, before that grows. Where it can't grow, larger
/// blocks do as well, and so it is at most [`LONG`].
fn many(window: u64, limit: u64) -> u64 {
    if window < limit { window } else { window.min(LONG) }
}
const LONG: u64 = 64;
/// Blocks that a claim looks at which expects to find none: where the next one comes free if messages go in turn.
const NEARBY: u64 = 4;
/// Such looks until one of them looks at a block anywhere else, too, which is in no cache.
const SELDOM: u64 = 16;
/// Once a look at a size was in vain, so many claims go to larger blocks at once. So a claim seldom looks at a block that is in no cache.
const PAUSE: u64 = 16;
/// How many blocks ahead a claim asks for the lines of a block, which the consumer that freed it has: farther and nearer gained less.
const AHEAD: u64 = 2;

/// Claims a block if it is free. Returns whether it was.
#[inline(always)]
fn claim_if_free(found: &Found<'_>, owner: Owner) -> bool {
    // Relaxed to look, because the exchange decides. Acquire: what the last owner did with the payload happened before it freed the
    // block (pairs with: free), so that our writes come after its reads.
    let state = &found.header.state;
    state.load(Ordering::Relaxed) == BlockState::FREE.0
        && state.compare_exchange(BlockState::FREE.0, BlockState::owned(owner).0, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

impl Arena {
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
        // From here on as in `claim_in`, which has the reasons.
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
        let ahead = index + AHEAD;
        let window = blocks.window.get();
        level.fetch_to_fill(blocks, if ahead < window { ahead } else { ahead - window }, len);
        if !claim_if_free(&found, owner) {
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
        self.check_length(len)?;
        let fitting = || self.classes.iter().filter(|blocks| blocks.capacity() >= len);
        for blocks in fitting().filter(|_| !cfg!(loom)) {
            let pause = blocks.pause.get();
            let found = if pause > 0 {
                blocks.pause.set(pause - 1);
                continue;
            } else if blocks.exhausted.is_set() {
                self.claim_nearby_in(blocks, owner, len)
            } else {
                self.claim_in(blocks, owner, len, false)
            };
            match found {
                Ok(Some(found)) => return Ok(found),
                // Not here: elsewhere one may be free, and have memory.
                Ok(None) | Err(_) => blocks.pause.set(PAUSE),
            }
        }
        // Before it says that there is nothing, it looks everywhere.
        self.claim_nearby(owner, len).or_else(|_| first_found(fitting().map(|blocks| self.claim_in(blocks, owner, len, true))))
    }

    fn check_length(&self, len: usize) -> Result<(), AllocError> {
        if len > self.longest() { Err(AllocError::TooLong { len, max: self.longest() }) } else { Ok(()) }
    }

    /// A block for `len` bytes among a few of each size: for a caller that has found all in use, and knows of none that came free.
    #[cold]
    pub(crate) fn claim_nearby(&self, owner: Owner, len: usize) -> Result<Found<'_>, AllocError> {
        self.check_length(len)?;
        // In a model it finds none, and the caller looks everywhere.
        let fitting = self.classes.iter().filter(|blocks| blocks.capacity() >= len && !cfg!(loom));
        first_found(fitting.map(|blocks| self.claim_nearby_in(blocks, owner, len)))
    }

    /// A block of a size of which many were in use: one of those that are next in turn, or one from anywhere.
    fn claim_nearby_in<'a>(&'a self, blocks: &'a Blocks, owner: Owner, len: usize) -> Result<Option<Found<'a>>, AllocError> {
        let window = blocks.window.get().clamp(1, u64::from(blocks.class.count));
        let (next, looks) = (blocks.cursor.get(), blocks.nearby_looks.get() + 1);
        blocks.nearby_looks.set(looks);
        // The multiples of the golden ratio go all over the window, whatever part of it they have been to.
        let anywhere = ((looks.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * window) >> 32;
        let mut refused = None;
        for index in (next..next + NEARBY).map(|index| index % window).chain((looks % SELDOM == 0).then_some(anywhere)) {
            match self.claim_at(blocks, owner, index) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    blocks.cursor.set(index + 1);
                    return self.prepared(blocks, found, len).map(Some);
                }
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(None), Err)
    }

    /// A block of one size whose payload can be touched. `None`: [many] one after the other are in use, or with `whole` all. The next
    /// look begins where this one did then: if messages go in turn, that block is the first to come free.
    fn claim_in<'a>(
        &'a self,
        blocks: &'a Blocks,
        owner: Owner,
        len: usize,
        whole: bool,
    ) -> Result<Option<Found<'a>>, AllocError> {
        // Before the window is read, which begins anew then, and blocks of it are looked at.
        self.forget_what_was_trimmed();
        let count = u64::from(blocks.class.count);
        let mut limit = count;
        let mut window = blocks.window.get().clamp(1, limit);
        let mut index = blocks.cursor.get();
        let mut left = if whole { window } else { many(window, limit) };
        let mut refused = None;
        loop {
            if index >= window {
                index = 0;
                if !whole {
                    window = blocks.next_window(window);
                }
            }
            let looked = match self.claim_at(blocks, owner, index) {
                Ok(Some(found)) => {
                    blocks.cursor.set(index + 1);
                    return self.prepared(blocks, found, len).map(Some);
                }
                Ok(None) => {
                    blocks.busy.set(blocks.busy.get() + 1);
                    1
                }
                Err(error) => {
                    // No memory for these blocks: another one, which has some, may be free. Beyond those ever used none has.
                    refused = Some(error);
                    limit = limit.min(self.ever_used_of(blocks));
                    (((index >> blocks.class.chunk) + 1) << blocks.class.chunk).min(window) - index
                }
            };
            index += looked;
            // Where few are looked at, blocks without memory count as one.
            left = left.saturating_sub(if whole || window < count { looked } else { 1 });
            if left == 0 {
                if window >= limit || !whole && refused.is_some() {
                    break;
                }
                // Go on behind it.
                index = window;
                window = (window * 2).min(limit);
                blocks.window.set(window);
                left = if whole { window - index } else { many(window, limit) };
            }
        }
        blocks.exhausted.set();
        refused.map_or(Ok(None), Err)
    }

    /// The block at an index, if it is free.
    fn claim_at<'a>(&'a self, blocks: &'a Blocks, owner: Owner, index: u64) -> Result<Option<Found<'a>>, AllocError> {
        // Each time: others may be giving memory back all the while.
        self.forget_what_was_trimmed();
        let level = self.level(blocks, blocks.class.level_of(index as u32), true);
        let found = level.and_then(|level| level.find(blocks, index as u32))?;
        if index >= blocks.noted.get() {
            self.note_used(blocks, index);
        }
        let claimed = claim_if_free(&found, owner);
        if claimed {
            blocks.exhausted.clear();
        }
        Ok(claimed.then_some(found))
    }

    /// A claimed block, once its payload can be touched.
    fn prepared<'a>(&self, blocks: &Blocks, found: Found<'a>, len: usize) -> Result<Found<'a>, AllocError> {
        // It may have been given back since we saw that it was committed. From here on it can't be.
        self.forget_what_was_trimmed();
        if let Err(error) = found.level.ensure(&blocks.class, found.within).and_then(|()| found.prepare_payload(len)) {
            found.free();
            return Err(error.into());
        }
        found.level.fetch_to_fill(blocks, found.index() + AHEAD, len);
        Ok(found)
    }

    /// Blocks of a size that some participant has ever used, or is about to.
    fn ever_used_of(&self, blocks: &Blocks) -> u64 {
        // Relaxed: those that are used for the first time now have no memory from before.
        self.used.get(blocks.number).map_or(0, |used| used.load(Ordering::Relaxed))
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
}

/// The first block that is found among sizes, or why the first of them has none.
fn first_found<'a>(mut sizes: impl Iterator<Item = Result<Option<Found<'a>>, AllocError>>) -> Result<Found<'a>, AllocError> {
    let mut refused = None;
    let found = sizes.find_map(|found| match found {
        Ok(found) => found,
        Err(error) => {
            refused.get_or_insert(error);
            None
        }
    });
    found.ok_or_else(|| refused.unwrap_or(AllocError::Exhausted))
}

impl Blocks {
    /// The window for the next lap: half as large if little of it was in use and is.
    fn next_window(&self, window: u64) -> u64 {
        let smaller = (window / 2).max(smallest_window(&self.class));
        // Where messages go in turn, each block comes free right before it is looked at, however many wait.
        let is_used = || (1..8).filter(|eighth| self.is_in_use(window * eighth / 8)).count() >= 4;
        let next = if self.busy.get() < window / 8 && !is_used() { smaller } else { window };
        self.busy.set(0);
        self.window.set(next);
        next
    }

    /// Whether a block seems to be in use. It asks the system for nothing.
    fn is_in_use(&self, index: u64) -> bool {
        let level = self.levels.get(self.class.level_of(index as u32) as usize).and_then(|level| level.peek(ONLY));
        let state = level.and_then(|level| {
            let within = index as u32 - level.first;
            // Relaxed: a guess. In a model it would be only more to explore.
            let there = level.is_known(within >> self.class.chunk) && !cfg!(loom);
            there.then(|| level.headers.get(within as usize)).flatten().map(|header| header.state.load(Ordering::Relaxed))
        });
        state.is_some_and(|state| state != BlockState::FREE.0)
    }
}
