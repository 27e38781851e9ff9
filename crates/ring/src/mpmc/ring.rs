//! The algorithm: one ring of slots, many producers and many consumers. (How a lane goes on from ring to ring is in `lane.rs`.)
//!
//! - A push takes effect when it exchanges the slot of its ticket from the turn before to this turn, with a block's number or, both
//!   words at once, with a small message itself.
//! - A pop takes effect when it exchanges the block's state from `Publishing(ticket)` to `Taken`, or a small message's slot to
//!   taken.
//! - Slots are filled in order and emptied in order, and each says in which turn it was filled. So a handle that knows any ticket
//!   which was once the next one finds today's next one by going on from slot to slot. Each handle remembers its own ticket. The two
//!   shared words follow every few tickets, for handles that were away for long. No operation waits for a process that stopped in
//!   between, and none needs those words to be new.
//!
//! Slots are never cleared: a slot of the turn before is free once its small message is taken, or its block is no longer
//! `Publishing` under that ticket. A consumer that read a slot long ago finds another ticket in the block's state, and goes on.
//!
//! The protocol is the one of the project's design notes with the clearing of slots and the helping at every ticket left out;
//! crossbeam's `ArrayQueue` and Vyukov's bounded queue have the turns, but block every user when a producer dies between its two
//! steps.

use super::arena::{Arena, Found};
use super::era::Era;
use super::error::{AllocError, FillError, PopError};
use super::layout::{Ends, PAGE, SLOTS_AT};
use super::state::{BlockState, Content, Origin, Owner, RingId, Slot, Ticket, Turns};
use super::walk::{Aim, remember};
use crate::distance::Distance;
use multiproc_prim::{Array, AtomicPair, AtomicU64, Backoff, Known, Ordering, OutOfBounds, Place, Region};
use std::io;

/// Tries after which a loop that should have ended calls the memory corrupt. Each failed try is another process's success or
/// rubbish; with back-off between them, so many successes in a row that all hit this process do not happen. (Where nobody else runs,
/// fewer do.)
pub(super) const MOST_TRIES: u32 = if cfg!(fuzzing) { 1 << 8 } else { 1 << 16 };
/// Looks after which a number of waiting messages that changes all the while is told as the least that it was.
const MOST_LOOKS: u32 = 1000;
/// Slots that are committed at once, as a power of two.
const CHUNK: u32 = 10;
/// Tickets by which a shared end follows: beyond that, going from slot to slot costs more than it saves. (Of whole turns, a slot
/// says how many to skip.)
const LAG: u64 = 16;

pub(crate) struct Ring {
    pub(super) id: RingId,
    pub(super) turns: Turns,
    /// The ticket of the first message ever.
    pub(super) first: Ticket,
    pub(super) ends: Place<Ends>,
    pub(super) slots: Array<AtomicPair>,
    region: Region,
    /// Whether both words of a slot can be exchanged at once.
    pub(super) whole: bool,
    /// The shared ends follow at tickets of which these bits are zero.
    pub(super) lag: u64,
    /// Which chunks of slots this handle has seen committed, a bit each.
    committed: Box<[Known]>,
    /// A ticket that was the next to be filled: all before it are.
    pub(super) tail: AtomicU64,
    /// A ticket that was the next to be taken: all before it are, for good.
    pub(super) head: AtomicU64,
    behind_puts: Distance,
    behind_takes: Distance,
}

/// A message that was popped.
pub(crate) enum Popped<'a> {
    /// The bytes of a small one, its length and its tag.
    Small(u64, usize, u8),
    /// The block of another one, now owned by the consumer; which ring it was in under which ticket; how many of its bytes can be touched.
    Block(Found<'a>, Origin, usize),
}

/// What a producer puts into a slot.
#[derive(Clone, Copy)]
pub(crate) enum Filling<'a> {
    Small(u64, usize, u8),
    Block(Found<'a>),
}

/// What waits under the head ticket.
pub(super) enum Waiting<'a> {
    Nothing,
    Closed,
    Small(usize, u8),
    Block(Found<'a>, BlockState),
}

/// A ticket, and its slot as it was read.
pub(super) struct Spot<'r> {
    pub(super) ticket: Ticket,
    pub(super) slot: &'r AtomicPair,
    pub(super) word: Slot,
}

/// Memory in a state that no order of events explains, or that can't be touched.
pub(super) enum Trouble {
    Corrupt,
    NoMemory { kind: io::ErrorKind },
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.into() {
            AllocError::NoMemory { kind } => Self::NoMemory { kind },
            _ => Self::Corrupt,
        }
    }
}

impl From<Trouble> for FillError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Corrupt => Self::Corrupt,
            Trouble::NoMemory { kind } => Self::NoMemory { kind },
        }
    }
}

impl From<Trouble> for PopError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Corrupt => Self::Corrupt,
            Trouble::NoMemory { kind } => Self::NoMemory { kind },
        }
    }
}

impl Ring {
    /// A ring of so many slots in a stretch of its own.
    pub(crate) fn new(region: Region, id: RingId, slots: u64, first_turn: u64) -> Result<Self, OutOfBounds> {
        let count = slots as u32;
        let turns = Turns::new(count);
        let first = turns.first(first_turn);
        // A model has few slots, and should see ends that are behind.
        let lag = if cfg!(loom) { slots } else { LAG };
        Ok(Self {
            id,
            turns,
            first,
            ends: region.place(0)?,
            slots: region.array(SLOTS_AT, count as usize)?,
            region,
            whole: AtomicPair::is_whole(),
            lag: (lag + 1).next_power_of_two() / 2 - 1,
            committed: (0..((count >> CHUNK) + 1).div_ceil(64)).map(|_| Known::new(0)).collect(),
            tail: AtomicU64::new(first.0),
            head: AtomicU64::new(first.0),
            behind_puts: Distance::near(),
            behind_takes: Distance::far(),
        })
    }

    /// Makes zeroed memory an empty ring whose tickets start in another turn than the first: for tests of their wrap.
    pub(crate) fn make_fresh(&self, first_turn: u64) -> io::Result<()> {
        self.ends.make_fresh();
        self.slots.make_fresh();
        if first_turn != 1 {
            let first = self.turns.first(first_turn).0;
            self.ensure(0)?;
            // Nobody else has the memory yet; what hands it on orders these stores.
            self.ends.tail.store(first, Ordering::Relaxed);
            self.ends.head.store(first, Ordering::Relaxed);
            for (index, slot) in self.slots.iter().enumerate() {
                self.ensure(index)?;
                slot.store_first(Slot::never_used(first_turn.wrapping_sub(1)).0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Pushes a message into the ring: a small one, or a block that `me` owns. `Closed` also if the ring was opened for a later era than
    /// `era`, which may not have begun: no consumer would look for the message here.
    #[inline(always)]
    pub(crate) fn push(&self, arena: &Arena, me: Owner, era: Era, filling: Filling<'_>) -> Result<(), FillError> {
        let (mut backoff, mut hung_back) = (Backoff::new(), false);
        while backoff.tries() <= MOST_TRIES {
            let spot = self.find_tail(&mut backoff, Aim::Fill)?;
            let Spot { ticket, slot, word } = spot;
            match word.content() {
                Content::Closed => return Err(FillError::Closed),
                Content::Nothing if word.is_of_another(era) => return Err(FillError::Closed),
                _ => {}
            }
            if !self.is_free_for(arena, &spot)? {
                // Another look once, not as often as others make progress: this may be all the time that there is.
                if !std::mem::replace(&mut hung_back, true) && self.hangs_back(&self.behind_takes, ticket) {
                    continue;
                }
                return Err(FillError::Full);
            }
            let turn = self.turns.turn(ticket);
            let filled = match filling {
                Filling::Small(message, len, tag) => {
                    let old = (word.0, slot.second(Ordering::Relaxed));
                    let new = (Slot::small(turn, len, tag).0, message);
                    // Release: for handles that find the slots before this one by it (pairs with: walk). The message comes with it.
                    slot.exchange(old, new, Ordering::Release, Ordering::Relaxed)
                }
                Filling::Block(block) => {
                    // It must be there before the slot is, since from then on it is what consumers compare with. Relaxed: nobody
                    // comes to it but by the slot.
                    block.header.state.store(BlockState::publishing(self.id, me, ticket).0, Ordering::Relaxed);
                    let new = Slot::holding(turn, block.number(), self.whole).ok_or(FillError::Corrupt)?;
                    // Release: payload and state come before the slot (pairs with: take). Failure needs nothing: we look anew.
                    let order = Ordering::Release;
                    match self.whole {
                        true => {
                            let old = (word.0, slot.second(Ordering::Relaxed));
                            slot.exchange(old, (new.0.0, new.1), order, Ordering::Relaxed)
                        }
                        false => slot.exchange_first(word.0, new.0.0, order, Ordering::Relaxed),
                    }
                }
            };
            if filled {
                self.pass(&self.tail, &self.ends.tail, ticket);
                return Ok(());
            }
            // Someone else's message, or the mark that closes: the next look tells.
            backoff.spin();
        }
        Err(FillError::Corrupt)
    }

    /// Whether a push would find room now. Closed counts as room: the push will say it.
    pub(crate) fn has_room(&self, arena: &Arena) -> bool {
        match self.find_tail(&mut Backoff::new(), Aim::Look) {
            Ok(spot) if spot.word.content() != Content::Closed => self.is_free_for(arena, &spot).unwrap_or(true),
            _ => true,
        }
    }

    /// Whether what the slot held one turn before `tail` is gone.
    #[inline(always)]
    fn is_free_for(&self, arena: &Arena, &Spot { ticket: tail, slot, word }: &Spot<'_>) -> Result<bool, Trouble> {
        match word.content() {
            Content::Nothing | Content::Closed => return Ok(true),
            Content::Small { taken, .. } => return Ok(taken),
            Content::Block => {}
        }
        let before = self.turns.one_turn_before(tail);
        // Relaxed: that its message was taken is all that a head beyond that ticket tells here, and nothing of it is touched.
        if Ticket(self.head.load(Ordering::Relaxed)).is_after(before) {
            return Ok(true);
        }
        // Acquire: a later walk of this handle starts there (pairs with: end).
        let head = Ticket(self.ends.head.load(Ordering::Acquire));
        if head.is_after(before) {
            remember(&self.head, head);
            return Ok(true);
        }
        let Some(block) = self.block_in(arena, slot, word)? else { return Ok(true) };
        // Relaxed: at least as new as the slot that named the block (pairs with: take). If it still waits, the ring is full.
        Ok(!BlockState(block.header.state.load(Ordering::Relaxed)).is_queued(self.id, before))
    }

    /// The block that a slot names; `None` if the slot was filled anew since its first word was read, or the block is long free.
    #[inline(always)]
    pub(super) fn block_in<'a>(&self, arena: &'a Arena, slot: &AtomicPair, word: Slot) -> Result<Option<Found<'a>>, Trouble> {
        // Acquire, beyond the models, in which the two words are one: the first word is read again after it. If that is the same, both came
        // together.
        let second = if self.whole { slot.second(Ordering::Acquire) } else { 0 };
        if self.whole && slot.first(Ordering::Relaxed) != word.0 {
            return Ok(None);
        }
        Ok(arena.find(word.block(second, self.whole)).ok_or(Trouble::Corrupt)??)
    }

    /// Pops the oldest message, if this still is the ring to pop from once that message has been seen; `None` if it is not.
    #[inline(always)]
    pub(crate) fn pop<'a>(
        &self,
        arena: &'a Arena,
        me: Owner,
        is_drained: impl Fn() -> bool,
    ) -> Result<Option<Popped<'a>>, PopError> {
        let (mut backoff, mut hung_back) = (Backoff::new(), false);
        while backoff.tries() <= MOST_TRIES {
            let (Spot { ticket, slot, word }, waiting) = self.find_head(arena, &mut backoff, Aim::Take)?;
            if !is_drained() {
                return Ok(None);
            }
            let taken = match waiting {
                // Another look once, as in a push.
                Waiting::Nothing if !hung_back && self.hangs_back(&self.behind_puts, ticket) => {
                    hung_back = true;
                    continue;
                }
                Waiting::Nothing => return Err(PopError::Empty),
                Waiting::Closed => return Err(PopError::Closed),
                Waiting::Small(len, tag) => {
                    // Relaxed: it came with the word that we have read (pairs with: take), and stays while that does.
                    let message = slot.second(Ordering::Relaxed);
                    // Release, beyond the models, in which the two words are one: our reading comes before the next turn's
                    // message. Failure: someone else has it.
                    let won = slot.exchange_first(word.0, word.taken().0, Ordering::Release, Ordering::Relaxed);
                    won.then_some(Popped::Small(message, len, tag))
                }
                Waiting::Block(block, state) => {
                    // What can fail comes before the exchange: then the message stays where it is.
                    let touchable = block.prepare_message()?;
                    let taken = BlockState::taken(self.id, me, ticket).0;
                    // Relaxed: the slot brought the payload (pairs with: take), and the exchange only decides whose it is.
                    let won = block.header.state.compare_exchange(state.0, taken, Ordering::Relaxed, Ordering::Relaxed).is_ok();
                    won.then_some(Popped::Block(block, Origin::new(self.id, ticket), touchable))
                }
            };
            self.pass(&self.head, &self.ends.head, ticket);
            match taken {
                Some(taken) => return Ok(Some(taken)),
                None => backoff.spin(),
            }
        }
        Err(PopError::Corrupt)
    }

    /// Where nothing is left to take, or no room is.
    #[inline]
    fn hangs_back(&self, distance: &Distance, ticket: Ticket) -> bool {
        distance.hang_back(self.turns.number(ticket), self.slots.len() as u64)
    }

    /// Whether a pop would find something now.
    pub(crate) fn has_message(&self, arena: &Arena) -> bool {
        let found = self.find_head(arena, &mut Backoff::new(), Aim::Look);
        matches!(found, Ok((_, Waiting::Small(..) | Waiting::Block(..))))
    }

    /// Closes a ring that is empty: fills the next slot with a mark that no push gets past, if this still is the ring to close once
    /// that slot has been seen. `Empty` if a message was there, or if this is not the ring to close; `Closed` once it is done.
    pub(crate) fn close_if_empty(&self, arena: &Arena, era: Era, is_drained: impl Fn() -> bool) -> PopError {
        let mut backoff = Backoff::new();
        while backoff.tries() <= MOST_TRIES {
            match self.find_head(arena, &mut backoff, Aim::Close) {
                Ok((_, Waiting::Closed)) => return PopError::Closed,
                Ok((_, Waiting::Small(..) | Waiting::Block(..))) => return PopError::Empty,
                Ok((Spot { ticket, slot, word }, Waiting::Nothing)) => {
                    if !is_drained() {
                        return PopError::Empty;
                    }
                    let mark = Slot::closed(self.turns.turn(ticket), era);
                    // Release, beyond the models: a handle that sees the mark sees what made us close the ring, a later era or the end
                    // (pairs with: walk). One that did not would do as if it had come before that, which is right as well.
                    slot.exchange_first(word.0, mark.0, Ordering::Release, Ordering::Relaxed);
                }
                Err(trouble) => return trouble.into(),
            }
            backoff.spin();
        }
        PopError::Corrupt
    }

    /// Opens a ring that was closed, for `era`, unless `is_over` says that this era has begun since. Its tickets go on where they ended.
    pub(crate) fn open(&self, era: Era, is_over: impl Fn() -> bool) -> Result<(), FillError> {
        let mut backoff = Backoff::new();
        while backoff.tries() <= MOST_TRIES {
            let Spot { ticket, slot, word } = self.find_tail(&mut backoff, Aim::Fill)?;
            // Nor is it open for this era if a process that died opened it for an era that began elsewhere.
            let is_shut = word.content() == Content::Closed || word.is_of_another(era);
            // The mark that was seen is of an earlier era only if this one has not begun since.
            if !is_shut || is_over() {
                return Ok(());
            }
            let opened = Slot::opened(self.turns.turn(ticket).wrapping_sub(1), era);
            // Relaxed: the era's own word shows it (pairs with: era). Failure: another process opened it, for the same era.
            slot.exchange_first(word.0, opened.0, Ordering::Relaxed, Ordering::Relaxed);
            backoff.spin();
        }
        Err(FillError::Corrupt)
    }

    fn head(&self, arena: &Arena) -> Result<u64, Trouble> {
        self.find_head(arena, &mut Backoff::new(), Aim::Look).map(|(spot, _)| self.turns.number(spot.ticket))
    }

    /// Messages taken since the ring was made.
    pub(crate) fn taken(&self, arena: &Arena) -> u64 {
        self.head(arena).unwrap_or(0)
    }

    /// Messages waiting, at some moment during the call.
    pub(crate) fn len(&self, arena: &Arena) -> usize {
        let head = || self.head(arena);
        let Ok(mut before) = head() else { return 0 };
        let mut least = 0;
        for _ in 0..MOST_LOOKS {
            let Ok(tail) = self.find_tail(&mut Backoff::new(), Aim::Look) else { return 0 };
            let Ok(after) = head() else { return 0 };
            // At the moment the tail was read, at least so many waited, and exactly so many if the head stood still.
            let waiting = self.turns.number(tail.ticket).wrapping_sub(after) as i64;
            least = waiting.clamp(0, self.slots.len() as i64) as usize;
            if before == after {
                break;
            }
            before = after;
        }
        least
    }

    /// Messages pushed since the ring was made, at least all whose push has returned.
    pub(crate) fn pushed(&self) -> u64 {
        let tail = match self.find_tail(&mut Backoff::new(), Aim::Look) {
            Ok(spot) => spot.ticket,
            Err(_) => Ticket(self.ends.tail.load(Ordering::Relaxed)),
        };
        self.turns.number(tail).wrapping_sub(self.turns.number(self.first))
    }

    /// How many messages were pushed up to the ticket that ends in these bits, that one included.
    pub(crate) fn count_at(&self, ticket_low: u64) -> u64 {
        let first = self.turns.number(Ticket(self.first.low()));
        self.turns.number(Ticket(ticket_low)).wrapping_sub(first).wrapping_add(1)
    }

    /// Whether the slot of a ticket, known by its low bits, holds `block` in that ticket's turn.
    pub(crate) fn holds(&self, ticket_low: u64, block: Found<'_>) -> io::Result<bool> {
        let (index, turn_low) = self.turns.split_low(ticket_low);
        let Some(slot) = self.slots.get(index) else { return Ok(false) };
        if let Err(error) = self.ensure(index) {
            match Trouble::from(error) {
                Trouble::NoMemory { .. } if self.has_been_written(index) => {}
                Trouble::NoMemory { .. } => return Ok(false),
                Trouble::Corrupt => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        // Asked for a block of the dead, whose last writes are visible since it died before it was found dead. Acquire, beyond the models,
        // in which the two words are one: the second word is read after it.
        let word = Slot(slot.first(Ordering::Acquire));
        let second = if self.whole { slot.second(Ordering::Relaxed) } else { 0 };
        let same = word.content() == Content::Block && word.block(second, self.whole) == block.number();
        Ok(same && self.turns.same_turn_low(word.turn(), turn_low))
    }

    /// Makes sure that the slot at `index` can be touched.
    #[inline(always)]
    pub(super) fn ensure(&self, index: usize) -> io::Result<()> {
        let chunk = index >> CHUNK;
        match self.committed.get(chunk / 64) {
            Some(known) if known.get() >> (chunk % 64) & 1 != 0 => Ok(()),
            _ => self.commit(chunk),
        }
    }

    /// Whether anything was written to a slot for which there is no memory here: then its page has some.
    #[cold]
    pub(super) fn has_been_written(&self, index: usize) -> bool {
        let at = SLOTS_AT + index * size_of::<AtomicPair>();
        self.region.copy_out(at..at + size_of::<AtomicPair>()).is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0))
    }

    /// Whether a slot has memory since the one before it has: the first slot of a chunk lies in the last page of the chunk before.
    #[cold]
    pub(super) fn shares_page_with_one_written(&self, index: usize) -> bool {
        let page = |slot: usize| (SLOTS_AT + slot * size_of::<AtomicPair>()) / PAGE;
        index.checked_sub(1).is_some_and(|before| page(before) == page(index) && self.has_been_written(before))
    }

    #[cold]
    fn commit(&self, chunk: usize) -> io::Result<()> {
        let from = chunk << CHUNK;
        let to = (from + (1 << CHUNK)).min(self.slots.len());
        let [from, to] = [from, to].map(|slot| SLOTS_AT + slot * size_of::<AtomicPair>());
        // The ends are before the first slot.
        self.region.commit(if chunk == 0 { 0 } else { from }..to)?;
        if let Some(known) = self.committed.get(chunk / 64) {
            known.insert(1 << (chunk % 64));
        }
        Ok(())
    }
}
