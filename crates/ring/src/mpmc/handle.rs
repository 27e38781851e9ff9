//! What users hold: a handle on the ring in a region, and blocks that free themselves.

use super::arena::{Arena, Found};
use super::error::{AllocError, LayoutError, PopError, PublishError, PushError, TakeError};
use super::lane::Rings;
use super::layout::{Geometry, Layout};
use super::ring::{Filling, Taken};
use super::state::{BlockState, Lane, Origin, Owner};
use super::stretches::Stretches;
use super::sweep::Finished;
use multiproc_prim::{AtomicPair, Bytes, Counter, Ordering, OwnBytes, Region};
use std::sync::Arc;

/// A handle on a ring for many producers and many consumers.
///
/// Every process (or thread) attaches a handle of its own to the same region; a handle may also be shared by threads.
///
/// ```
/// use multiproc_prim::{Heap, Region};
/// use multiproc_ring::mpmc::{Geometry, Mpmc, Owner, PopError, PublishError, PushError};
///
/// let geometry = Geometry::new(3);
/// let region = Region::new(Heap::new(geometry.region_len()?));
/// let ours = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0))?;
/// let theirs = Mpmc::attach(&region, 0, &geometry, Owner::new(1, 0))?;
///
/// for message in ["1", "2", "3"] {
///     ours.push(message.as_bytes())?;
/// }
/// assert!(matches!(ours.push(b"4"), Err(PushError::Publish(PublishError::Full))));
///
/// let mut message = Vec::new();
/// theirs.pop(&mut message)?;
/// assert_eq!(message, b"1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mpmc {
    pub(super) arena: Arena,
    pub(super) lanes: Vec<Rings>,
    pub(super) owner: Owner,
    small_in_slots: bool,
}

impl std::fmt::Debug for Mpmc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mpmc").field("capacity", &self.capacity()).field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A block's second word: length 40 bits, tag 8, deliveries 15, and whether it is a dead message that is put anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) len: usize,
    pub(super) tag: u8,
    pub(super) deliveries: u16,
    pub(super) put_anew: bool,
}

impl Meta {
    /// More deliveries than this are not counted.
    pub(super) const MOST_DELIVERIES: u16 = (1 << 15) - 1;

    pub(crate) const fn unpack(word: u64) -> Self {
        let len = (word & ((1 << 40) - 1)) as usize;
        Self { len, tag: (word >> 40) as u8, deliveries: (word >> 48) as u16 & Self::MOST_DELIVERIES, put_anew: word >> 63 != 0 }
    }

    /// Deliveries that count for whoever gets it next.
    pub(super) const fn counted(self) -> u16 {
        if self.put_anew { 0 } else { self.deliveries }
    }

    /// Deliveries of a message that lies in `lane`.
    const fn deliveries_in(self, lane: Lane) -> u16 {
        if lane.is_dead() { self.deliveries } else { self.counted() }
    }

    pub(super) const fn pack(self) -> u64 {
        self.len as u64 | (self.tag as u64) << 40 | (self.deliveries as u64) << 48 | (self.put_anew as u64) << 63
    }
}

impl Mpmc {
    /// Makes a new ring in zeroed memory, `at` bytes (a multiple of 4096) into the region.
    ///
    /// # Errors
    ///
    /// The geometry makes no ring or does not fit the region, or the system has no memory for it.
    pub fn create(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, LayoutError> {
        let ring = Self::build(region, at, geometry, owner, true)?;
        ring.arena.make_fresh()?;
        for lane in &ring.lanes {
            lane.make_fresh(geometry.first_turn)?;
        }
        Ok(ring)
    }

    /// Another handle on a ring that [`create`](Self::create) made with the same geometry at the same place.
    ///
    /// # Errors
    ///
    /// As `create`.
    pub fn attach(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, LayoutError> {
        Self::build(region, at, geometry, owner, false)
    }

    fn build(region: &Region, at: usize, geometry: &Geometry, owner: Owner, fresh: bool) -> Result<Self, LayoutError> {
        static HANDLES: Counter = Counter::new();
        let layout = Arc::new(Layout::of(geometry)?);
        region.bytes(at, layout.fixed)?;
        region.commit(at..at + layout.fixed)?;
        let stretches = Arc::new(Stretches::new(region, at, &layout)?);
        // Nobody has listed anything yet if the memory is new. (In a model it has to be made fresh before that.)
        if fresh {
            stretches.make_fresh();
        }
        // A model must do the same every time it is run.
        let seed = if cfg!(loom) { u64::from(owner.row()) } else { HANDLES.count() - 1 };
        let arena = Arena::new(region, at, &stretches, seed)?;
        let lanes =
            layout.lanes.iter().map(|&(lane, words)| Rings::new(region, at + words, lane, &stretches, geometry.first_turn));
        let small_in_slots = geometry.small_in_slots && AtomicPair::is_whole();
        Ok(Self { arena, lanes: lanes.collect::<Result<_, _>>()?, owner, small_in_slots })
    }

    /// Whom the blocks in this handle's hands belong to.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Messages that can wait at once.
    pub fn capacity(&self) -> usize {
        self.lanes.first().map_or(0, Rings::capacity)
    }

    /// Longest message in bytes.
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

    /// Whether a message would find a slot in the main lane, without the ring's growing.
    pub fn has_room(&self) -> bool {
        self.lane(Lane::Main).is_some_and(|lane| lane.has_room(&self.arena))
    }

    /// Messages published in a lane since the ring was made: at least all whose put has returned.
    pub fn published(&self, lane: Lane) -> u64 {
        self.lane(lane).map_or(0, Rings::published)
    }

    /// Copies a message into the ring.
    ///
    /// # Errors
    ///
    /// There is no block for it, or no slot; nothing was put then.
    #[inline(always)]
    pub fn push(&self, message: &[u8]) -> Result<(), PushError> {
        let block = self.alloc(message.len())?;
        let fits = block.payload().write(message);
        debug_assert!(fits);
        self.publish(block).map_err(|(error, _)| error.into())
    }

    /// Appends the oldest message to `target`; returns its length.
    ///
    /// # Errors
    ///
    /// There is none.
    #[inline(always)]
    pub fn pop(&self, target: &mut Vec<u8>) -> Result<usize, PopError> {
        let block = self.take(Lane::Main)?;
        block.payload().append_to(target);
        Ok(block.len())
    }

    /// A block for a message of `len` bytes, to be written in place and published.
    ///
    /// # Errors
    ///
    /// There is none that large, or none left.
    #[inline(always)]
    pub fn alloc(&self, len: usize) -> Result<Block<'_>, AllocError> {
        let place = match len {
            0..=OwnBytes::LEN if self.small_in_slots => Place::Own(OwnBytes::default()),
            _ => Place::Shared(self.arena.claim(self.owner, len)?),
        };
        let block = Block { place, len, tag: 0, deliveries: 0, from: None };
        block.write_meta();
        Ok(block)
    }

    /// As [`push`](Self::push), without saying why not: the fast way, since nothing but a yes or no is handed on.
    #[inline(always)]
    pub fn push_now(&self, message: &[u8]) -> bool {
        let Some(main) = self.lane(Lane::Main) else { return false };
        if message.len() <= OwnBytes::LEN && self.small_in_slots {
            let word = message.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            return main.publish(&self.arena, self.owner, Filling::Small(word.to_le(), message.len(), 0)).is_ok();
        }
        let Ok(place) = self.arena.claim(self.owner, message.len()) else { return false };
        let meta = Meta { len: message.len(), tag: 0, deliveries: 0, put_anew: false };
        // Relaxed: publishing orders it.
        place.header.meta.store(meta.pack(), Ordering::Relaxed);
        let fits = place.payload(message.len()).write(message);
        debug_assert!(fits);
        let done = main.publish(&self.arena, self.owner, Filling::Block(place)).is_ok();
        if !done {
            place.free();
        }
        done
    }

    /// Puts a block into the main lane.
    ///
    /// # Errors
    ///
    /// There is no slot; the block comes back.
    #[inline(always)]
    pub fn publish<'a>(&self, block: Block<'a>) -> Result<(), (PublishError, Block<'a>)> {
        let Some(main) = self.lane(Lane::Main) else { return Err((PublishError::Closed, block)) };
        let filling = match &block.place {
            Place::Own(bytes) => Filling::Small(bytes.word(), block.len, block.tag),
            Place::Shared(place) => Filling::Block(*place),
        };
        match main.publish(&self.arena, self.owner, filling) {
            Ok(()) => {
                // From here on the block is the consumer's.
                std::mem::forget(block);
                Ok(())
            }
            Err(error) => Err((error, block)),
        }
    }

    /// Gives a taken block to another consumer before new ones, with a raised count; to the dead lane once it was delivered as
    /// often as that. Returns where it went.
    ///
    /// # Errors
    ///
    /// There is no memory for it, or the memory holds rubbish: the block comes back.
    pub fn give_back<'a>(&self, block: Block<'a>, max_deliveries: Option<u16>) -> Result<Lane, (PublishError, Block<'a>)> {
        let (Some(from), &Place::Shared(place)) = (block.from, &block.place) else {
            return Err((PublishError::Corrupt, block));
        };
        let taken = BlockState::taken(from.ring(), self.owner, from.ticket());
        match self.deliver_again(place, taken, from.ring().lane(), max_deliveries) {
            Ok(target) => {
                std::mem::forget(block);
                Ok(target)
            }
            Err(error) => Err((error, block)),
        }
    }

    /// Takes the oldest block of a lane, to be read in place.
    ///
    /// # Errors
    ///
    /// There is none.
    #[inline(always)]
    pub fn take(&self, lane: Lane) -> Result<Block<'_>, TakeError> {
        let ring = self.lane(lane).ok_or(TakeError::Empty)?;
        let (place, from) = match ring.take(&self.arena, self.owner)? {
            // A length that no one of us writes is cut off: there are no more bytes than that.
            Taken::Small(message, len, tag) => {
                let (place, len) = (Place::Own(OwnBytes::new(message)), len.min(OwnBytes::LEN));
                return Ok(Block { place, len, tag, deliveries: 0, from: None });
            }
            Taken::Block(place, from) => (place, from),
        };
        self.arena.note_taken(&place);
        // Relaxed: ordered by the take. Read once and checked: from here on only the private copy counts.
        let meta = Meta::unpack(place.header.meta.load(Ordering::Relaxed));
        let Meta { len, tag, .. } = meta;
        let deliveries = meta.deliveries_in(lane);
        let mut block = Block { place: Place::Shared(place), len, tag, deliveries, from: Some(from) };
        if block.len > place.capacity() {
            block.len = 0;
            return Err(TakeError::Corrupt);
        }
        Ok(block)
    }

    /// No more puts, by anyone. What is in the ring can still be taken.
    pub fn shut(&self) {
        if let Some(main) = self.lane(Lane::Main) {
            main.shut();
        }
    }

    /// Whether it was [shut](Self::shut).
    #[inline(always)]
    pub fn is_shut(&self) -> bool {
        self.lane(Lane::Main).is_some_and(Rings::is_shut)
    }

    /// Whether some block is not free: memory may come free later. Looks at all of them.
    pub fn is_memory_in_use(&self) -> bool {
        self.arena.is_in_use()
    }

    /// Whether some message waits or is in hand, here or elsewhere: memory may come free when it is done. Looks at all blocks.
    pub fn is_any_message_left(&self) -> bool {
        self.has_message(Lane::Main) || self.arena.holds_messages()
    }

    /// Looks at about `most` bytes of memory that a burst of messages needed, and gives back what is free. Returns whether there is
    /// more to look at: it begins when this handle has found a ring that has grown empty, or at [`idle`](Self::idle).
    pub fn trim(&self, most: usize) -> bool {
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

    /// Closes the main lane, which was [shut](Self::shut), if it is empty: no put that was under way gets in any more. Returns
    /// [`TakeError::Empty`] if a message slipped in before, and [`TakeError::Closed`] once it is done.
    pub fn close_if_empty(&self) -> TakeError {
        self.lane(Lane::Main).map_or(TakeError::Closed, |lane| lane.close_if_empty(&self.arena))
    }

    /// The block that a [`Held`] of this ring stands for; `None` for one of another ring.
    pub fn resume(&self, held: Held) -> Option<Block<'_>> {
        let Held { number, len, tag, deliveries, from } = held;
        Some(Block { place: Place::Shared(self.arena.find(number)?.ok()??), len, tag, deliveries, from: Some(from) })
    }

    #[inline(always)]
    pub(super) fn lane(&self, lane: Lane) -> Option<&Rings> {
        self.lanes.get(lane as usize)
    }
}

/// A message in this process's hands: being written before it is published, or taken and being read. Its bytes are in a block of
/// shared memory, which is free when this is dropped; those of a small message in a slot are in here.
#[derive(Debug)]
pub struct Block<'a> {
    place: Place<'a>,
    len: usize,
    tag: u8,
    deliveries: u16,
    from: Option<Origin>,
}

/// Where the bytes of a message in hand are.
#[derive(Debug)]
enum Place<'a> {
    Own(OwnBytes),
    Shared(Found<'a>),
}

/// A taken block that is kept in hand without borrowing the ring.
#[derive(Debug)]
#[must_use = "a block that is neither resumed nor swept is lost"]
pub struct Held {
    number: u32,
    len: usize,
    tag: u8,
    deliveries: u16,
    from: Origin,
}

impl Held {
    pub(super) fn of(block: Found<'_>, meta: Meta, from: Origin) -> Self {
        let deliveries = meta.deliveries_in(from.ring().lane());
        Self { number: block.number(), len: meta.len, tag: meta.tag, deliveries, from }
    }

    /// What is finished once this message is, too.
    pub fn complete(&self, done: Finished) -> Finished {
        Finished { count: done.count.wrapping_add(1), last: done.last.with(self.from.ring(), self.from.ticket().low()) }
    }
}

impl<'a> Block<'a> {
    /// The message's bytes, for longer than the block is borrowed; `None` if they are [in here](Self::small). They are the next
    /// message's once this is dropped: reading them then gives rubbish, and writing them makes that.
    #[inline(always)]
    pub fn shared_payload(&self) -> Option<Bytes<'a>> {
        match &self.place {
            Place::Own(_) => None,
            Place::Shared(place) => Some(place.payload(self.len)),
        }
    }
}

impl Block<'_> {
    /// Length of the message in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the writer said of the message; 0 if nothing.
    #[inline(always)]
    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// Says something of the message to whoever takes it.
    pub fn set_tag(&mut self, tag: u8) {
        self.tag = tag;
        self.write_meta();
    }

    /// How often the message was delivered before and came back.
    pub fn deliveries(&self) -> u16 {
        self.deliveries
    }

    /// The message's bytes. They start on a multiple of 16.
    #[inline(always)]
    pub fn payload(&self) -> Bytes<'_> {
        match &self.place {
            Place::Own(bytes) => bytes.bytes(self.len),
            Place::Shared(place) => place.payload(self.len),
        }
    }

    /// The bytes of a message that lies in a slot, lowest address first and zero behind its length; `None` for one in a block.
    #[inline(always)]
    pub fn small(&self) -> Option<[u8; OwnBytes::LEN]> {
        match &self.place {
            Place::Own(bytes) => Some(bytes.word().to_ne_bytes()),
            Place::Shared(_) => None,
        }
    }

    /// Makes the message shorter, for a writer who needed less than asked for.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.write_meta();
    }

    /// Keeps a taken block in hand beyond the borrow. What is not in a block, or was never taken, comes back as the error.
    ///
    /// # Errors
    ///
    /// The message was allocated, not taken, or lay in a slot.
    pub fn hold(self) -> Result<Held, Self> {
        match (self.from, &self.place) {
            (Some(from), Place::Shared(place)) => {
                let held = Held { number: place.number(), len: self.len, tag: self.tag, deliveries: self.deliveries, from };
                std::mem::forget(self);
                Ok(held)
            }
            _ => Err(self),
        }
    }

    /// Makes a message from the dead lanes one that was never delivered, to be published. Until it is, a sweep gives it back to
    /// the dead.
    pub fn renew(&mut self) {
        self.set_meta(true);
    }

    #[inline(always)]
    fn write_meta(&self) {
        self.set_meta(false);
    }

    #[inline(always)]
    fn set_meta(&self, put_anew: bool) {
        let Self { len, tag, deliveries, ref place, .. } = *self;
        let Place::Shared(place) = place else { return };
        // Relaxed: publishing orders it.
        place.header.meta.store(Meta { len, tag, deliveries, put_anew }.pack(), Ordering::Relaxed);
    }
}

impl Drop for Block<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Place::Shared(place) = &self.place {
            place.free();
        }
    }
}
