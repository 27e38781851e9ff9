//! How a free block is found.
//!
//! The compare-and-swap `Free -> Owned` on a block's own state decides; where to look is a guess. Each handle walks over a
//! window of blocks in address order, which is also the order in which a queue frees them, so the next block is nearly always
//! free, no allocator word is shared, and the processor's prefetcher sees a straight line. The window grows when most of it is in
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
/// Blocks of a size that a claim looks at which expects to find none. In a model it finds none.
const NEARBY: u64 = if cfg!(loom) { 0 } else { 4 };
/// Once all blocks of a size were in use, so many claims go to larger blocks at once. The next one looks at [`NEARBY`] blocks, and so on
/// until it finds one. So a claim looks at less than one block on average, however many are in use: each look costs a cache miss.
const PAUSE: u64 = 8;
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
        let mut passed = false;
        for blocks in self.classes.iter().filter(|blocks| blocks.capacity() >= len) {
            let pause = blocks.pause.get();
            if pause > 0 {
                blocks.pause.set(pause - 1);
                passed = true;
            } else {
                let most = if blocks.exhausted.is_set() && !cfg!(loom) { NEARBY } else { u64::MAX };
                passed |= most == NEARBY;
                match self.claim_in(blocks, owner, len, most) {
                    Ok(Some(found)) => return Ok(found),
                    Err(error) if most == u64::MAX => return Err(error),
                    // Not here: elsewhere one may be free, and have memory.
                    Ok(None) | Err(_) => {}
                }
            }
        }
        if !passed {
            return Err(AllocError::Exhausted);
        }
        // What came free last is where the last look ended. Before it says that there is nothing, it looks everywhere.
        self.claim_among(owner, len, NEARBY).or_else(|_| self.claim_among(owner, len, u64::MAX))
    }

    fn check_length(&self, len: usize) -> Result<(), AllocError> {
        if len > self.longest() { Err(AllocError::TooLong { len, max: self.longest() }) } else { Ok(()) }
    }

    /// A block for `len` bytes among the next few of each size: for a caller that has found all in use, and knows of none that came
    /// free.
    #[cold]
    pub(crate) fn claim_nearby(&self, owner: Owner, len: usize) -> Result<Found<'_>, AllocError> {
        self.check_length(len)?;
        self.claim_among(owner, len, NEARBY)
    }

    #[cold]
    fn claim_among(&self, owner: Owner, len: usize, most: u64) -> Result<Found<'_>, AllocError> {
        for blocks in self.classes.iter().filter(|blocks| blocks.capacity() >= len && most > 0) {
            if let Some(found) = self.claim_in(blocks, owner, len, most)? {
                return Ok(found);
            }
        }
        Err(AllocError::Exhausted)
    }

    /// A block of one size whose payload can be touched; `None` if all are in use, or as many as `most`.
    fn claim_in<'a>(&'a self, blocks: &'a Blocks, owner: Owner, len: usize, most: u64) -> Result<Option<Found<'a>>, AllocError> {
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
                    if looked < window.min(most) {
                        continue;
                    }
                    break;
                }
            };
            if index >= blocks.noted.get() {
                self.note_used(blocks, index);
            }
            if claim_if_free(&found, owner) {
                blocks.exhausted.clear();
                // It may have been given back since we saw that it was committed. From here on it can't be.
                self.forget_what_was_trimmed();
                if let Err(error) = found.level.ensure(&blocks.class, found.within).and_then(|()| found.prepare_payload(len)) {
                    found.free();
                    return Err(error.into());
                }
                found.level.fetch_to_fill(blocks, index + AHEAD, len);
                return Ok(Some(found));
            }
            blocks.busy.set(blocks.busy.get() + 1);
            looked += 1;
            if looked >= most {
                blocks.pause.set(PAUSE);
                return refused.map_or(Ok(None), |error| Err(error.into()));
            }
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
        blocks.exhausted.set();
        blocks.pause.set(PAUSE);
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
}

impl Blocks {
    /// The window for the next lap: half as large if little of it was in use.
    fn next_window(&self, window: u64) -> u64 {
        let smaller = (window / 2).max(smallest_window(&self.class));
        let next = if self.busy.get() < window / 8 { smaller } else { window };
        self.busy.set(0);
        self.window.set(next);
        next
    }
}
