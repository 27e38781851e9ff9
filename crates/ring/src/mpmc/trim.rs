//! Giving back the memory that a burst of messages needed.
//!
//! A trim claims all blocks that lie together, tells every handle to forget that it has seen them committed, and only then takes their
//! pages away. After that they read as free.
//!
//! A handle may commit them again in between. It does not remember that, since it sees that a trim has them. So a trim may be stopped or
//! killed between any two steps: before its last one the pages are there, and after it no handle takes them for committed.

use super::arena::{Arena, Blocks, Found, Level, ONLY};
use super::claim::smallest_window;
use super::layout::{Class, PAGE};
use super::state::{BlockState, Owner};
use multiproc_prim::Ordering;

/// What a trim has looked at. While it looks, free blocks are taken for moments: a producer that waits for memory may have missed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Trimmed {
    /// Nothing: no burst is over.
    Nothing,
    /// A part of what there is.
    Part,
    /// The rest.
    All,
}

/// No memory is to be given back.
pub(super) const NO_TRIM: u64 = u64::MAX;

impl Arena {
    /// Makes the next [`trim`](Self::trim) begin at the first block.
    pub(crate) fn begin_trim(&self) {
        self.used_more.clear();
        self.trim_next.set(0);
    }

    /// Begins a trim if messages that this handle popped since the last one lay in memory that does not stay.
    pub(crate) fn begin_trim_if_worth_while(&self) {
        if self.used_more.is_set() {
            self.begin_trim();
        }
    }

    /// Remembers that a message which was taken lay in this block.
    #[inline(always)]
    pub(crate) fn note_taken(&self, block: &Found<'_>) {
        if block.goes() && !self.used_more.is_set() {
            self.used_more.set();
        }
    }

    /// Looks at about `most` bytes of memory beyond what each size keeps, and gives back those of free blocks.
    pub(crate) fn trim(&self, owner: Owner, most: usize) -> Trimmed {
        let begin = self.trim_next.get();
        if begin == NO_TRIM {
            return Trimmed::Nothing;
        }
        let (mut left, mut next) = (most, begin);
        for (blocks, stretch, unit) in self.units(Class::first_that_goes).skip(begin as usize) {
            if left == 0 {
                self.trim_next.set(next);
                return Trimmed::Part;
            }
            left = left.saturating_sub(blocks.class.size << blocks.class.unit());
            next += 1;
            self.trim_unit(blocks, stretch, unit, owner);
        }
        self.trim_next.set(NO_TRIM);
        Trimmed::All
    }

    /// Gives back everything that free blocks have: for a participant that finds no memory.
    pub(crate) fn trim_all(&self, owner: Owner) {
        self.units(|_| 0).for_each(|(blocks, stretch, unit)| self.trim_unit(blocks, stretch, unit, owner));
    }

    /// What is given back at once, of every class from a level on: the blocks that lie together in one unit of a stretch.
    fn units(&self, first_level: impl Fn(&Class) -> u32) -> impl Iterator<Item = (&Blocks, &Level, u32)> {
        self.classes.iter().flat_map(move |blocks| {
            let class = &blocks.class;
            // What is not there ends the class.
            let there =
                (first_level(class)..class.levels()).map_while(|level| Some((level, self.level(blocks, level, false).ok()?)));
            there.flat_map(move |(level, stretch)| {
                (0..class.blocks_in(level).div_ceil(1 << class.unit())).map(move |unit| (blocks, stretch, unit))
            })
        })
    }

    fn trim_unit(&self, blocks: &Blocks, stretch: &Level, unit: u32, owner: Owner) {
        let class = &blocks.class;
        let first = unit << class.unit();
        let beyond = (first + (1 << class.unit())).min(stretch.headers.len() as u32);
        let range = first as usize * class.size..(beyond as usize * class.size).next_multiple_of(PAGE).min(stretch.region.len());
        if !stretch.region.has_pages(range.clone()) {
            return;
        }
        // Others may have given back what this handle has seen committed: the headers below are touched.
        self.forget_what_was_trimmed();
        // A sweeper finds what we claim, should we die before it is gone.
        self.note_used(blocks, u64::from(stretch.first) + u64::from(beyond) - 1);
        let header = |within: u32| stretch.ensure(class, within).ok().and_then(|()| stretch.headers.get(within as usize));
        // Acquire, beyond the models, whose memory never goes: as in a claim, what the last owner did with the block comes before it goes
        // (pairs with: free).
        let claim = |within: &u32| {
            let ours = BlockState::trimming(owner).0;
            let state = header(*within).map(|header| &header.state);
            state.is_some_and(|state| {
                state.compare_exchange(BlockState::FREE.0, ours, Ordering::Acquire, Ordering::Relaxed).is_ok()
            })
        };
        let claimed = (first..beyond).take_while(claim).count() as u32;
        if first + claimed == beyond {
            self.note_trim();
            if stretch.region.discard(range) {
                return;
            }
        }
        let ours = BlockState::trimming(owner).0;
        for state in (first..first + claimed).filter_map(|within| header(within).map(|header| &header.state)) {
            // Relaxed: we wrote nothing there, and an exchange hands on what the last owner released (pairs with: free).
            let _ = state.compare_exchange(ours, BlockState::FREE.0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Tells all handles that memory which they have seen committed may go. They look before a claim, and again once it is theirs:
    /// from then on it is not given back.
    fn note_trim(&self) {
        // Release, beyond the models, whose memory never goes: a handle that has forgotten sees that a trim has these blocks (pairs
        // with: trim).
        self.trims.fetch_add(1, Ordering::Release);
        self.forget_what_was_trimmed();
    }

    #[inline(always)]
    pub(super) fn forget_what_was_trimmed(&self) {
        // Relaxed: the kernel orders for every process what it does after this was counted up.
        if self.trims.load(Ordering::Relaxed) != self.forgot_at.get() {
            self.forget();
        }
    }

    /// Forgets what was seen committed, since some participant has given memory back, and begins again at the first blocks.
    #[cold]
    fn forget(&self) {
        // Acquire, beyond the models, whose memory never goes: what we learn from here on, we learn with a view of the blocks that the
        // trim has (pairs with: trim).
        let trims = self.trims.load(Ordering::Acquire);
        for blocks in &self.classes {
            blocks.window.set(smallest_window(&blocks.class));
            blocks.cursor.set(0);
            blocks.exhausted.clear();
            blocks.pause.set(0);
        }
        for level in self.classes.iter().flat_map(|blocks| &blocks.levels).filter_map(|level| level.peek(ONLY)) {
            level.committed.iter().chain(&level.lengths).for_each(|known| known.set(0));
        }
        // Last: until then every thread of this process forgets for itself.
        self.forgot_at.set(trims);
    }
}
