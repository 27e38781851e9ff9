//! A process's handle on the ring in a region.

use super::arena::Arena;
use super::block::{Block, Held, Meta, Storage, Taken};
use super::error::{AllocError, GiveBackError, LayoutError, PopError, PushError, Refused};
use super::lane::Rings;
use super::layout::{Geometry, Label, Layout, PAGE};
use super::ring::{Filling, Popped};
use super::state::{BlockState, Lane, Owner};
use super::stretches::Stretches;
use super::sweep::Again;
use super::trim::Trimmed;
use multiproc_prim::{AtomicPair, Counter, Ordering, OwnBytes, Place, Region};
use std::sync::Arc;

/// A handle on a ring for many producers and many consumers.
///
/// Every process (or thread) attaches a handle of its own to the same region; a handle may also be shared by threads.
///
/// ```
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_ring::mpmc::{Geometry, Mpmc, Owner, PushError};
/// use multiproc_ring::{Heap, Region};
///
/// let geometry = Geometry::new(3);
/// let region = Region::new(Heap::new(geometry.region_len()?));
/// let ours = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0))?;
/// let theirs = Mpmc::attach(&region, 0, &geometry, Owner::new(1, 0))?;
///
/// for message in ["1", "2", "3"] {
///     ours.push(message.as_bytes())?;
/// }
/// assert_eq!(ours.push(b"4"), Err(PushError::Full));
///
/// let mut message = Vec::new();
/// theirs.pop(&mut message)?;
/// assert_eq!(message, b"1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// ```
pub struct Mpmc {
    pub(super) arena: Arena,
    main: Rings,
    /// The other lanes, in their order; none if the ring has no room for returns.
    more: Vec<Rings>,
    pub(super) owner: Owner,
    small_in_slots: bool,
}

impl std::fmt::Debug for Mpmc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mpmc").field("capacity", &self.capacity()).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Mpmc {
    /// Makes a new ring in zeroed memory, `at` bytes (a multiple of 4096) into the region.
    ///
    /// # Errors
    ///
    /// The geometry makes no ring or does not fit the region, or the system has no memory for it.
    pub fn create(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, LayoutError> {
        let (ring, label) = Self::build(region, at, geometry, owner, true)?;
        ring.arena.make_fresh()?;
        for lane in [&ring.main].into_iter().chain(&ring.more) {
            lane.make_fresh(geometry.first_turn)?;
        }
        label.write(geometry);
        Ok(ring)
    }

    /// Another handle on a ring that [`create`](Self::create) made with the same geometry at the same place.
    ///
    /// # Errors
    ///
    /// As `create`, or the memory holds a ring of another geometry, or none: [`LayoutError::Differs`].
    pub fn attach(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, LayoutError> {
        Ok(Self::build(region, at, geometry, owner, false)?.0)
    }

    fn build(
        region: &Region,
        at: usize,
        geometry: &Geometry,
        owner: Owner,
        fresh: bool,
    ) -> Result<(Self, Place<Label>), LayoutError> {
        /// How many handles this process has made: a guess of where a new one's blocks are far from the others'.
        static HANDLES: Counter = Counter::new();
        let layout = Arc::new(Layout::of(geometry)?);
        if at % PAGE != 0 {
            return Err(LayoutError::Unaligned { at });
        }
        region.bytes(at, layout.fixed)?;
        region.commit(at..at + layout.fixed)?;
        let label: Place<Label> = region.place(at)?;
        let stretches = Arc::new(Stretches::new(region, at, &layout)?);
        match fresh {
            // Nobody has listed anything yet if the memory is new. (In a model it has to be made fresh before that.)
            true => {
                label.make_fresh();
                stretches.make_fresh();
            }
            false => label.check(geometry)?,
        }
        // A model must do the same every time it is run.
        let seed = if cfg!(loom) { u64::from(owner.row()) } else { HANDLES.count() - 1 };
        let arena = Arena::new(region, at, &stretches, seed)?;
        let lane = |lane: Lane| Rings::new(region, at + layout.lane_at(lane), lane, &stretches, geometry.first_turn);
        let more = layout.lanes().iter().filter(|&&more| more != Lane::Main).map(|&more| lane(more));
        let more = more.collect::<Result<_, _>>()?;
        let small_in_slots = geometry.small_in_slots && AtomicPair::is_whole();
        Ok((Self { arena, main: lane(Lane::Main)?, more, owner, small_in_slots }, label))
    }

    /// The owner of the blocks in this handle's hands.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Messages that can wait at once.
    pub fn capacity(&self) -> usize {
        self.main.capacity()
    }

    /// Longest message in bytes: what the largest block holds, which is [`Geometry::max_message`] or a little more.
    pub fn max_message(&self) -> usize {
        self.arena.longest()
    }

    /// Messages waiting in the main lane, at some moment during the call.
    pub fn len(&self) -> usize {
        self.len_of(Lane::Main)
    }

    /// Messages waiting in a lane, at some moment during the call.
    pub fn len_of(&self, lane: Lane) -> usize {
        self.lane(lane).map_or(0, |lane| lane.len(&self.arena))
    }

    /// Whether no message waits in the main lane.
    pub fn is_empty(&self) -> bool {
        !self.has_message(Lane::Main)
    }

    /// Whether a message waits in a lane.
    pub fn has_message(&self, lane: Lane) -> bool {
        self.lane(lane).is_some_and(|lane| lane.has_message(&self.arena))
    }

    /// Whether no message waits in a lane, by a look that costs less than a [`take`](Self::take). `false` says nothing: `take` tells.
    #[inline(always)]
    pub fn is_plainly_empty(&self, lane: Lane) -> bool {
        self.lane(lane).is_none_or(Rings::is_plainly_empty)
    }

    /// Whether a message would find a slot in the main lane, without the ring's growing.
    pub fn has_room(&self) -> bool {
        self.main.has_room(&self.arena)
    }

    /// Messages pushed into a lane since the ring was made: at least all whose push has returned.
    pub fn pushed(&self, lane: Lane) -> u64 {
        self.lane(lane).map_or(0, Rings::pushed)
    }

    /// Copies a message into the ring.
    ///
    /// # Errors
    ///
    /// There is no block for it, or no slot; nothing was pushed then.
    #[inline(always)]
    pub fn push(&self, message: &[u8]) -> Result<(), PushError> {
        if message.len() <= OwnBytes::LEN && self.small_in_slots {
            let word = message.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            return Ok(self.main.push(&self.arena, self.owner, Filling::Small(word.to_le(), message.len(), 0))?);
        }
        let block = self.arena.claim(self.owner, message.len())?;
        let meta = Meta { len: message.len(), tag: 0, deliveries: 0, put_anew: false };
        // Relaxed: pushing orders it.
        block.header.meta.store(meta.pack(), Ordering::Relaxed);
        let fits = block.payload(message.len()).write(message);
        debug_assert!(fits);
        Ok(self.main.push(&self.arena, self.owner, Filling::Block(block)).inspect_err(|_| block.free())?)
    }

    /// Appends the oldest message to `target`; returns its length. Messages that a sweep brought back come before new ones.
    ///
    /// # Errors
    ///
    /// There is none.
    #[inline(always)]
    pub fn pop(&self, target: &mut Vec<u8>) -> Result<usize, PopError> {
        let block = match self.pop_block(Lane::Returned) {
            Err(PopError::Empty) => self.pop_block(Lane::Main)?,
            done => done?,
        };
        block.payload().append_to(target);
        Ok(block.len())
    }

    /// A block for a message of `len` bytes, to be written in place and [pushed](Self::push_block).
    ///
    /// # Errors
    ///
    /// There is none that large, or none left.
    #[inline(always)]
    pub fn alloc(&self, len: usize) -> Result<Block<'_>, AllocError> {
        let storage = match len {
            0..=OwnBytes::LEN if self.small_in_slots => Storage::Own(OwnBytes::default()),
            _ => Storage::Shared(self.arena.claim(self.owner, len)?),
        };
        Ok(Block::new(storage, len))
    }

    /// A block as [`alloc`](Self::alloc) gives it, for a caller that knows of none that came free since `alloc` failed. It looks at a few
    /// blocks that are likely to come free next, and now and then at one from anywhere.
    ///
    /// # Errors
    ///
    /// There is none among these.
    pub fn alloc_nearby(&self, len: usize) -> Result<Block<'_>, AllocError> {
        Ok(Block::new(Storage::Shared(self.arena.claim_nearby(self.owner, len)?), len))
    }

    /// Puts a block into the main lane.
    ///
    /// # Errors
    ///
    /// There is no slot; the block comes back.
    #[inline(always)]
    pub fn push_block<'a>(&self, block: Block<'a>) -> Result<(), Refused<PushError, Block<'a>>> {
        let filling = match &block.storage {
            Storage::Own(bytes) => Filling::Small(bytes.word(), block.len, block.tag),
            Storage::Shared(place) => Filling::Block(*place),
        };
        match self.main.push(&self.arena, self.owner, filling) {
            Ok(()) => {
                // From here on the block is the consumer's.
                std::mem::forget(block);
                Ok(())
            }
            Err(error) => Err(Refused { error: error.into(), block }),
        }
    }

    /// Gives a popped block to another consumer before new ones, and counts the delivery if `again` says so; to [`Lane::Dead`] once the
    /// count reaches the limit there. Returns the lane where it went.
    ///
    /// # Errors
    ///
    /// It is no popped block, the ring has no [room for returns](Geometry::returns), there is no memory, or the memory holds rubbish: the
    /// block comes back.
    pub fn give_back<'a>(&self, block: Block<'a>, again: Again) -> Result<Lane, Refused<GiveBackError, Block<'a>>> {
        let (Some(from), &Storage::Shared(place)) = (block.from, &block.storage) else {
            return Err(Refused { error: GiveBackError::NotABlock, block });
        };
        let taken = BlockState::taken(from.ring(), self.owner, from.ticket());
        match self.deliver_again(place, taken, from.ring().lane(), again) {
            Ok(target) => {
                std::mem::forget(block);
                Ok(target)
            }
            Err(error) => Err(Refused { error, block }),
        }
    }

    /// Takes the oldest block of a lane, to be read in place.
    ///
    /// # Errors
    ///
    /// There is none.
    #[inline(always)]
    pub fn pop_block(&self, lane: Lane) -> Result<Block<'_>, PopError> {
        self.take(lane).map(Block::from)
    }

    /// Takes the oldest message of a lane as [`pop_block`](Self::pop_block) does, without anything that frees it by itself.
    ///
    /// # Errors
    ///
    /// There is none.
    #[inline(always)]
    pub fn take(&self, lane: Lane) -> Result<Taken<'_>, PopError> {
        let ring = self.lane(lane).ok_or(PopError::Empty)?;
        match ring.pop(&self.arena, self.owner)? {
            Popped::Small(message, len, tag) => Ok(Taken::small_of(message, len, tag)),
            Popped::Block(found, from, touchable) => {
                self.arena.note_taken(&found);
                // Relaxed: ordered by the pop. Checked: from here on only the private copy counts.
                let meta = Meta::unpack(found.header.meta.load(Ordering::Relaxed));
                if meta.len > touchable {
                    found.free();
                    return Err(PopError::Corrupt);
                }
                Ok(Taken::of(found, meta, from))
            }
        }
    }

    /// Lets nobody push any more. What is in the ring can still be popped.
    pub fn shut(&self) {
        self.main.shut();
    }

    /// Whether it was [shut](Self::shut).
    #[inline(always)]
    pub fn is_shut(&self) -> bool {
        self.main.is_shut()
    }

    /// Whether some block is not free: memory may come free later. Looks at all of them.
    pub fn is_memory_in_use(&self) -> bool {
        self.arena.is_in_use()
    }

    /// Whether some message waits or is in hand, here or elsewhere: memory may come free when it is done. Looks at all blocks.
    pub fn is_any_message_left(&self) -> bool {
        self.has_message(Lane::Main) || self.arena.holds_messages()
    }

    /// Looks at about `most` bytes of memory that a burst of messages needed, and gives back what is free. It begins when this handle
    /// has found a ring that has grown empty, or at [`idle`](Self::idle).
    pub fn trim(&self, most: usize) -> Trimmed {
        self.arena.trim(self.owner, most)
    }

    /// Says that no message came for a while: [`trim`](Self::trim) begins, if messages that this handle took since the last time
    /// needed more memory than is kept.
    pub fn idle(&self) {
        self.arena.begin_trim_if_worth_while();
    }

    /// Gives back all memory of free blocks, as for a message of a size that there is no memory for.
    pub fn trim_all(&self) {
        self.arena.trim_all(self.owner);
    }

    /// Closes the main lane, which was [shut](Self::shut), if it is empty: no push that was under way gets in any more. Returns
    /// [`PopError::Empty`] if a message slipped in before, and [`PopError::Closed`] once it is done.
    pub fn close_if_empty(&self) -> PopError {
        self.main.close_if_empty(&self.arena)
    }

    /// The block that a [`Held`] of this ring stands for; `None` for one of another ring, and where a hostile peer wrote over it.
    pub fn resume(&self, held: Held) -> Option<Block<'_>> {
        let found = self.arena.find(held.number())?.ok()??;
        held.resumed(found)
    }

    /// Frees the block that a [`Held`] of this ring stands for.
    #[inline(always)]
    pub fn free_held(&self, held: &Held) {
        if let Some(Ok(Some(found))) = self.arena.find(held.number()) {
            found.free();
        }
    }

    #[inline(always)]
    pub(super) fn lane(&self, lane: Lane) -> Option<&Rings> {
        match lane {
            Lane::Main => Some(&self.main),
            _ => self.more.get(lane as usize - 1),
        }
    }
}
