//! Messages in hand: blocks that free themselves when they are dropped.

use super::arena::Found;
use super::notes::Unfinished;
use super::state::{Lane, Origin};
use super::sweep::Finished;
use multiproc_prim::{Bytes, Ordering, OwnBytes};

/// A message in this process's hands: being written before it is pushed, or popped and being read.
///
/// Its bytes are in a block of shared memory, which is free once this is dropped; those of a small message in a slot are in here.
#[derive(Debug)]
#[must_use = "a block that is dropped is free again, and its message lost"]
pub struct Block<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) len: usize,
    pub(super) tag: u8,
    pub(super) deliveries: u16,
    pub(super) from: Option<Origin>,
}

/// Where the bytes of a message in hand are.
#[derive(Debug)]
pub(super) enum Storage<'a> {
    Own(OwnBytes),
    Shared(Found<'a>),
}

/// A message that was [taken](super::Mpmc::take) and not freed yet: a few words without a destructor, so that they stay in registers.
///
/// Dropping it frees nothing, as with a [`Held`].
#[derive(Debug)]
#[must_use = "its message stays in the owner's hands until it is freed, or the owner is swept"]
pub struct Taken<'a> {
    /// `None`: the message lay in its slot.
    found: Option<Found<'a>>,
    /// The bytes of a message that lay in its slot.
    word: u64,
    len: usize,
    tag: u8,
    deliveries: u16,
    from: Option<Origin>,
}

impl<'a> Taken<'a> {
    /// A message that lay in its slot. A length that no participant writes is cut off: there are no more bytes than that.
    #[inline(always)]
    pub(super) fn small_of(word: u64, len: usize, tag: u8) -> Self {
        Self { found: None, word, len: len.min(OwnBytes::LEN), tag, deliveries: 0, from: None }
    }

    /// A message in a block.
    #[inline(always)]
    pub(super) fn of(found: Found<'a>, meta: Meta, from: Origin) -> Self {
        let Meta { len, tag, .. } = meta;
        Self { found: Some(found), word: 0, len, tag, deliveries: meta.deliveries_in(from.ring().lane()), from: Some(from) }
    }

    /// Length of the message in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the message has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tag that the message's writer gave it; 0 if none.
    #[inline(always)]
    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// The bytes of a message that lay in its slot, lowest address first, and zero behind its length; `None` if it is in a block. It
    /// needs no freeing.
    #[inline(always)]
    pub fn small(&self) -> Option<[u8; OwnBytes::LEN]> {
        self.found.is_none().then(|| self.word.to_ne_bytes())
    }

    /// The message's bytes in its block, which are the next message's once this is freed; `None` if it lay in its slot.
    #[inline(always)]
    pub fn shared_payload(&self) -> Option<Bytes<'a>> {
        self.found.as_ref().map(|found| found.payload(self.len))
    }

    /// Appends the message's bytes to `target`.
    #[inline(always)]
    pub fn append_to(&self, target: &mut Vec<u8>) {
        match &self.found {
            Some(found) => found.payload(self.len).append_to(target),
            None => target.extend_from_slice(self.word.to_ne_bytes().get(..self.len).unwrap_or_default()),
        }
    }

    /// Notes in the message's block when it was taken, in milliseconds of a clock that all participants share. Nothing, in a ring without
    /// [room for returns](super::Geometry::returns).
    #[inline(always)]
    pub fn note_taken(&self, millis: u64) {
        note_taken(self.found.as_ref(), self.from, millis);
    }

    /// Frees the message's block.
    #[inline(always)]
    pub fn free(self) {
        if let Some(found) = &self.found {
            found.free();
        }
    }

    /// Keeps the message in hand; `None` if it lay in its slot, or was never pushed, in which case its block is free.
    #[inline(always)]
    pub fn hold(self) -> Option<Held> {
        let found = self.found?;
        let Some(from) = self.from else {
            found.free();
            return None;
        };
        Some(Held::of(found, self.len, from))
    }
}

impl<'a> From<Taken<'a>> for Block<'a> {
    #[inline(always)]
    fn from(taken: Taken<'a>) -> Self {
        let Taken { found, word, len, tag, deliveries, from } = taken;
        let storage = found.map_or_else(|| Storage::Own(OwnBytes::new(word)), Storage::Shared);
        Self { storage, len, tag, deliveries, from }
    }
}

/// A popped block that stays in its owner's hands without borrowing the ring. [`Mpmc::resume`](super::Mpmc::resume) makes it a block
/// again.
///
/// Dropping it frees nothing, on purpose: a process that forks, or dies, drops its copies too, and the message must not be lost by
/// that. A message whose `Held` was dropped stays in the hands of its [owner](super::Owner) until that owner is
/// [swept](super::Mpmc::sweep), and then comes back or is counted as lost. To free it at once, resume it and drop the block.
#[derive(Debug)]
#[must_use = "its message stays in the owner's hands until it is resumed, or the owner is swept"]
pub struct Held {
    // Two words, which stay in registers; `resumed` reads the rest where it lies. Here: the block's number, and above it the low half of
    // the message's length, by which a rewritten length is known (in blocks of up to 4 GiB).
    block: u64,
    from: Origin,
}

impl Held {
    #[inline(always)]
    pub(super) fn of(block: Found<'_>, len: usize, from: Origin) -> Self {
        Self { block: u64::from(len as u32) << 32 | u64::from(block.number()), from }
    }

    #[inline(always)]
    pub(super) fn number(&self) -> u32 {
        self.block as u32
    }

    pub(super) fn resumed(self, found: Found<'_>) -> Option<Block<'_>> {
        // Relaxed: it is in our hands.
        let meta = Meta::unpack(found.header.meta.load(Ordering::Relaxed));
        // Another length was written by a hostile peer: so many bytes may lie beyond the block, or have no memory.
        let is_as_taken = meta.len as u32 == (self.block >> 32) as u32 && meta.len <= found.capacity();
        is_as_taken.then(|| Block::from(Taken::of(found, meta, self.from)))
    }

    pub(super) fn origin(&self) -> Origin {
        self.from
    }

    /// What is finished once this message is, too.
    pub fn complete(&self, done: Finished) -> Finished {
        Finished { count: done.count.wrapping_add(1), last: done.last.with(self.from.ring(), self.from.ticket().low()) }
    }
}

#[inline(always)]
fn note_taken(found: Option<&Found<'_>>, from: Option<Origin>, millis: u64) {
    if let (Some(notes), Some(from)) = (found.and_then(Found::notes), from) {
        notes.take(from.ring(), from.ticket().low(), millis);
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

    /// Deliveries that count for the consumer that gets it next.
    pub(super) const fn counted(self) -> u16 {
        if self.put_anew { 0 } else { self.deliveries }
    }

    /// Deliveries of a message that lies in `lane`.
    pub(super) const fn deliveries_in(self, lane: Lane) -> u16 {
        if lane.is_dead() { self.deliveries } else { self.counted() }
    }

    pub(super) const fn pack(self) -> u64 {
        self.len as u64 | (self.tag as u64) << 40 | (self.deliveries as u64) << 48 | (self.put_anew as u64) << 63
    }
}

impl<'a> Block<'a> {
    /// A message to be written.
    #[inline(always)]
    pub(super) fn new(storage: Storage<'a>, len: usize) -> Self {
        let block = Self { storage, len, tag: 0, deliveries: 0, from: None };
        block.write_meta();
        block
    }

    /// The message as it was taken, which nothing frees by itself any more.
    #[inline(always)]
    pub fn into_taken(self) -> Taken<'a> {
        let (found, word) = match &self.storage {
            Storage::Own(bytes) => (None, bytes.word()),
            Storage::Shared(found) => (Some(*found), 0),
        };
        let taken = Taken { found, word, len: self.len, tag: self.tag, deliveries: self.deliveries, from: self.from };
        std::mem::forget(self);
        taken
    }

    /// The message's bytes, for longer than the block is borrowed; `None` if they are in here. They are the next
    /// message's once this is dropped: reading them then gives rubbish, and writing them makes that.
    #[inline(always)]
    pub fn shared_payload(&self) -> Option<Bytes<'a>> {
        match &self.storage {
            Storage::Own(_) => None,
            Storage::Shared(place) => Some(place.payload(self.len)),
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

    /// The tag that the message's writer gave it; 0 if none.
    #[inline(always)]
    pub fn tag(&self) -> u8 {
        self.tag
    }

    /// Gives the message a tag, which its consumer reads.
    pub fn set_tag(&mut self, tag: u8) {
        self.tag = tag;
        self.write_meta();
    }

    /// How often the message was delivered before and came back.
    pub fn deliveries(&self) -> u16 {
        self.deliveries
    }

    /// Notes when the message was taken, as [`Taken::note_taken`] does.
    pub fn note_taken(&self, millis: u64) {
        note_taken(self.found(), self.from, millis);
    }

    /// Notes how this delivery ended, before the message is [given back](super::Mpmc::give_back). The first note of a delivery stays.
    pub fn note_end(&self, how: Unfinished) {
        // A dead letter keeps the note that made it one.
        if let (Some(notes), Some(from)) =
            (self.found().and_then(Found::notes), self.from.filter(|from| !from.ring().lane().is_dead()))
        {
            notes.end(from.ring(), from.ticket().low(), how);
        }
    }

    /// How the last delivery ended that has; `None` if none has, or the ring has no room for returns. Of a message that was never
    /// delivered it is about an earlier message in the same block.
    pub fn last_end(&self) -> Option<Unfinished> {
        self.found()?.notes()?.ended()
    }

    fn found(&self) -> Option<&Found<'_>> {
        match &self.storage {
            Storage::Own(_) => None,
            Storage::Shared(found) => Some(found),
        }
    }

    /// The message's bytes. They start on a multiple of 16.
    #[inline(always)]
    pub fn payload(&self) -> Bytes<'_> {
        match &self.storage {
            Storage::Own(bytes) => bytes.bytes(self.len),
            Storage::Shared(place) => place.payload(self.len),
        }
    }

    /// Makes the message shorter, for a writer who needed less than asked for.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.write_meta();
    }

    /// Keeps a popped message in hand beyond the borrow.
    ///
    /// # Errors
    ///
    /// The message was allocated and not popped, or lay in a slot: the block comes back.
    pub fn hold(self) -> Result<Held, Self> {
        match (self.from, &self.storage) {
            (Some(from), Storage::Shared(place)) => {
                let held = Held::of(*place, self.len, from);
                std::mem::forget(self);
                Ok(held)
            }
            _ => Err(self),
        }
    }

    /// Makes a message from the dead lanes one that was never delivered, to be pushed anew. Until it is, a sweep brings it back to the
    /// dead lanes.
    pub fn renew(&mut self) {
        self.set_meta(true);
    }

    #[inline(always)]
    fn write_meta(&self) {
        self.set_meta(false);
    }

    #[inline(always)]
    fn set_meta(&self, put_anew: bool) {
        let Self { len, tag, deliveries, ref storage, .. } = *self;
        let Storage::Shared(place) = storage else { return };
        // Relaxed: pushing orders it.
        place.header.meta.store(Meta { len, tag, deliveries, put_anew }.pack(), Ordering::Relaxed);
    }
}

impl Drop for Block<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Storage::Shared(place) = &self.storage {
            place.free();
        }
    }
}
