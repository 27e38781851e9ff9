//! The algorithm: one ring of slots, many who put and many who take.
//!
//! - A put takes effect when it exchanges the slot of its ticket from the turn before to (turn, block).
//! - A take takes effect when it exchanges the block's state from `Publishing(ticket)` to `Taken`.
//! - The ticket words only follow. Whoever finds one behind moves it on, so nobody waits for a process that stopped
//!   in between.
//!
//! Slots are never cleared: a slot of the turn before is free once its block is no longer `Publishing` under that ticket.
//! A consumer that read a slot long ago finds another ticket in the block's state, and only helps.
//!
//! The protocol is the one of the project's design notes with the clearing of slots left out; crossbeam's `ArrayQueue` and
//! Vyukov's bounded queue have the turns, but block everyone when a producer dies between its two steps.

use super::arena::{Arena, Found};
use super::error::{PublishError, TakeError};
use super::layout::Ends;
use super::state::{BlockState, Lane, Owner, Slot, Ticket, Turns};
use multiproc_prim::{Array, AtomicU64, Backoff, Hint, Ordering, OutOfBounds, Place, Region};

/// Tries after which a loop that should have ended calls the memory corrupt. Each failed try is another process's success or
/// rubbish; with back-off between them, so many successes in a row that all hit this process do not happen. (Where nobody else runs,
/// fewer do.)
const MOST_TRIES: u32 = if cfg!(fuzzing) { 1 << 8 } else { 1 << 16 };
/// Slots are committed this many bytes at a time.
const COMMIT_CHUNK: usize = 16 << 10;

pub(crate) struct LaneRing {
    lane: Lane,
    turns: Turns,
    /// The ticket of the first message ever.
    first: Ticket,
    ends: Place<Ends>,
    slots: Array<AtomicU64>,
    region: Region,
    slots_at: usize,
    /// Slots from the first on whose memory this handle has seen committed.
    committed: Hint,
    /// A head ticket seen in the past: all before it are taken for good.
    seen_head: Hint,
}

impl LaneRing {
    pub(crate) fn new(
        region: &Region,
        at: usize,
        (lane, ends, slots_at, count): (Lane, usize, usize, u32),
        first_turn: u64,
    ) -> Result<Self, OutOfBounds> {
        let turns = Turns::new(count);
        Ok(Self {
            lane,
            turns,
            first: turns.first(first_turn),
            ends: region.place(at + ends)?,
            slots: region.array(at + slots_at, count as usize)?,
            region: region.clone(),
            slots_at: at + slots_at,
            committed: Hint::new(0),
            seen_head: Hint::new(turns.first(first_turn).0),
        })
    }

    /// Makes zeroed memory an empty lane.
    pub(crate) fn make_fresh(&self, first_turn: u64) -> std::io::Result<()> {
        self.ends.make_fresh();
        self.slots.make_fresh();
        let first = self.turns.first(first_turn).0;
        // Nobody else has the memory yet; what hands it on orders these stores.
        self.ends.tail.store(first, Ordering::Relaxed);
        self.ends.head.store(first, Ordering::Relaxed);
        if first_turn != 1 {
            self.commit(self.slots.len() - 1)?;
            for slot in self.slots.iter() {
                slot.store(Slot::never_used(first_turn.wrapping_sub(1)).0, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Puts a block that `me` owns into the ring.
    #[inline]
    pub(crate) fn publish(&self, arena: &Arena, me: Owner, block: Found<'_>) -> Result<(), PublishError> {
        let mut backoff = Backoff::new();
        loop {
            let (tail, slot, word) = self.look_at_tail(&mut backoff)?;
            if !self.is_free_for(arena, tail, word)? {
                return Err(PublishError::Full);
            }
            // It must be there before the slot is, since from then on it is what consumers compare with. Relaxed: nobody comes to
            // it but by the slot.
            block.header.state.store(BlockState::publishing(self.lane, me, tail).0, Ordering::Relaxed);
            let filled = Slot::holding(self.turns.turn(tail), block.number());
            // Release: payload and state come before the slot (pairs with: take). Failure needs nothing: we look anew.
            if slot.compare_exchange(word.0, filled.0, Ordering::Release, Ordering::Relaxed).is_ok() {
                self.pass_tail(tail);
                return Ok(());
            }
            // Someone else's block, or the mark that closes: the next look tells, and helps only past a block.
            backoff.spin();
        }
    }

    /// Whether a put would find room now. Closed counts as room: the put will say it.
    pub(crate) fn has_room(&self, arena: &Arena) -> bool {
        match self.look_at_tail(&mut Backoff::new()) {
            Ok((tail, _, word)) => self.is_free_for(arena, tail, word).unwrap_or(true),
            Err(_) => true,
        }
    }

    /// The tail ticket and its slot, which is still of the turn before.
    #[inline]
    fn look_at_tail(&self, backoff: &mut Backoff) -> Result<(Ticket, &AtomicU64, Slot), PublishError> {
        loop {
            if backoff.tries() > MOST_TRIES {
                return Err(PublishError::Corrupt);
            }
            // Acquire: the slot is at least as new as what whoever moved the tail saw (pairs with: tail).
            let tail = Ticket(self.ends.tail.load(Ordering::Acquire));
            let (index, slot) = self.slot(tail).ok_or(PublishError::Corrupt)?;
            self.ensure(index).map_err(|_| PublishError::NoMemory)?;
            // Acquire: the block's state is at least as new as the slot (pairs with: take).
            let word = Slot(slot.load(Ordering::Acquire));
            match word.turns_ahead_of(self.turns.turn(tail)) {
                -1 => return Ok((tail, slot, word)),
                0 if word.is_closed() => return Err(PublishError::Closed),
                0.. => {
                    self.pass_tail(tail);
                    backoff.spin();
                }
                _ => self.doubt(&self.ends.tail, tail, backoff).map_err(|()| PublishError::Corrupt)?,
            }
        }
    }

    /// Whether what the slot held one turn before `tail` is gone.
    #[inline]
    fn is_free_for(&self, arena: &Arena, tail: Ticket, word: Slot) -> Result<bool, PublishError> {
        let before = self.turns.one_turn_before(tail);
        if Ticket(self.seen_head.get()).is_after(before) {
            return Ok(true);
        }
        // A head beyond that ticket means that its message was taken. Relaxed: nothing of that message is touched.
        let head = Ticket(self.ends.head.load(Ordering::Relaxed));
        self.seen_head.set(head.0);
        if head.is_after(before) {
            return Ok(true);
        }
        let Some(block) = word.block() else { return Ok(true) };
        let block = arena.find(block).ok_or(PublishError::Corrupt)?.map_err(|_| PublishError::NoMemory)?;
        // Relaxed: at least as new as the slot that named the block (pairs with: take). If it still waits, the ring is full.
        if BlockState(block.header.state.load(Ordering::Relaxed)).is_queued(self.lane, before) {
            return Ok(false);
        }
        self.pass_head(before);
        Ok(true)
    }

    /// Takes the oldest message: its block, now owned by `me`, and its ticket.
    #[inline]
    pub(crate) fn take<'a>(&self, arena: &'a Arena, me: Owner) -> Result<(Found<'a>, Ticket), TakeError> {
        let mut backoff = Backoff::new();
        loop {
            let (head, block, state) = self.look_at_head(arena, &mut backoff)?;
            let taken = BlockState::taken(self.lane, me, head);
            // Relaxed: the slot brought the payload (pairs with: take), and the exchange only decides whose it is.
            let won = block.header.state.compare_exchange(state.0, taken.0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            self.pass_head(head);
            if won {
                return Ok((block, head));
            }
            backoff.spin();
        }
    }

    /// Whether a take would find something now.
    pub(crate) fn has_message(&self, arena: &Arena) -> bool {
        self.look_at_head(arena, &mut Backoff::new()).is_ok()
    }

    /// The head ticket, and the block that waits under it with its state.
    #[inline]
    fn look_at_head<'a>(&self, arena: &'a Arena, backoff: &mut Backoff) -> Result<(Ticket, Found<'a>, BlockState), TakeError> {
        loop {
            let (head, _, word) = self.slot_at_head(backoff)?;
            if word.turns_ahead_of(self.turns.turn(head)) != 0 {
                return Err(TakeError::Empty);
            }
            if word.is_closed() {
                return Err(TakeError::Closed);
            }
            let block = word.block().ok_or(TakeError::Corrupt)?;
            let block = arena.find(block).ok_or(TakeError::Corrupt)?.map_err(|_| TakeError::NoMemory)?;
            // Relaxed: at least as new as the slot that named the block (pairs with: take).
            let state = BlockState(block.header.state.load(Ordering::Relaxed));
            if state.is_queued(self.lane, head) {
                return Ok((head, block, state));
            }
            self.pass_head(head);
            backoff.spin();
        }
    }

    /// The head ticket and its slot, which is of its turn or of the one before.
    #[inline]
    fn slot_at_head(&self, backoff: &mut Backoff) -> Result<(Ticket, &AtomicU64, Slot), TakeError> {
        loop {
            if backoff.tries() > MOST_TRIES {
                return Err(TakeError::Corrupt);
            }
            // Acquire: the slot is at least as new as what whoever moved the head saw (pairs with: head).
            let head = Ticket(self.ends.head.load(Ordering::Acquire));
            let (index, slot) = self.slot(head).ok_or(TakeError::Corrupt)?;
            self.ensure(index).map_err(|_| TakeError::NoMemory)?;
            // Acquire: the block's payload and state are at least as new as the slot (pairs with: take).
            let word = Slot(slot.load(Ordering::Acquire));
            match word.turns_ahead_of(self.turns.turn(head)) {
                -1 | 0 => return Ok((head, slot, word)),
                1.. => {
                    self.pass_head(head);
                    backoff.spin();
                }
                _ => self.doubt(&self.ends.head, head, backoff).map_err(|()| TakeError::Corrupt)?,
            }
        }
    }

    /// Closes an empty ring for good: fills the next slot with a mark that no put gets past. `Empty` if a message was there,
    /// `Closed` once it is done.
    pub(crate) fn close_if_empty(&self, arena: &Arena) -> TakeError {
        let mut backoff = Backoff::new();
        loop {
            match self.look_at_head(arena, &mut backoff) {
                Ok(_) => return TakeError::Empty,
                Err(TakeError::Empty) => {}
                Err(end) => return end,
            }
            let Ok((head, slot, word)) = self.slot_at_head(&mut backoff) else { return TakeError::Corrupt };
            let turn = self.turns.turn(head);
            if word.turns_ahead_of(turn) == -1 {
                // Relaxed: the mark carries nothing but itself.
                let _ = slot.compare_exchange(word.0, Slot::closed(turn).0, Ordering::Relaxed, Ordering::Relaxed);
            }
            backoff.spin();
        }
    }

    /// Messages waiting, at some moment during the call.
    pub(crate) fn len(&self) -> usize {
        // Acquire, beyond the models: keeps the head first. It never passes the tail, so the difference is not negative.
        let head = self.turns.number(Ticket(self.ends.head.load(Ordering::Acquire)));
        let tail = self.turns.number(Ticket(self.ends.tail.load(Ordering::Acquire)));
        (tail.wrapping_sub(head) as i64).clamp(0, self.slots.len() as i64) as usize
    }

    /// Messages published since the ring was made, at least all whose put has returned.
    pub(crate) fn published(&self) -> u64 {
        let tail = match self.look_at_tail(&mut Backoff::new()) {
            Ok((tail, ..)) => tail,
            Err(_) => Ticket(self.ends.tail.load(Ordering::Relaxed)),
        };
        self.turns.number(tail).wrapping_sub(self.turns.number(self.first))
    }

    /// Whether the slot of a ticket, known by its low bits, holds `block` in that ticket's turn.
    pub(crate) fn holds(&self, ticket_low: u64, block: u32) -> std::io::Result<bool> {
        let (index, turn_low) = self.turns.split_low(ticket_low);
        let Some(slot) = self.slots.get(index) else { return Ok(false) };
        self.ensure(index)?;
        // Relaxed: asked for a block of the dead, whose last writes are visible since it died before it was found dead.
        let word = Slot(slot.load(Ordering::Relaxed));
        Ok(self.turns.same_turn_low(word.turn(), turn_low) && word.block() == Some(block))
    }

    #[inline]
    fn slot(&self, ticket: Ticket) -> Option<(usize, &AtomicU64)> {
        let index = self.turns.index(ticket)?;
        Some((index, self.slots.get(index)?))
    }

    /// Moves the tail past a ticket whose slot is filled. Looks first, since a failed exchange costs as much as a successful one.
    #[inline]
    fn pass_tail(&self, tail: Ticket) {
        if self.ends.tail.load(Ordering::Relaxed) == tail.0 {
            let next = self.turns.next(tail).0;
            // Release: whoever reads the new tail sees the slots filled before it (pairs with: tail).
            let _ = self.ends.tail.compare_exchange(tail.0, next, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Moves the head past a ticket whose message is taken.
    #[inline]
    fn pass_head(&self, head: Ticket) {
        if self.ends.head.load(Ordering::Relaxed) == head.0 {
            let next = self.turns.next(head).0;
            // Release: whoever reads the new head sees the messages before it taken (pairs with: head).
            let _ = self.ends.head.compare_exchange(head.0, next, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// A slot that no order of events explains: if the ticket has not moved meanwhile, the memory is rubbish.
    #[cold]
    fn doubt(&self, end: &AtomicU64, ticket: Ticket, backoff: &mut Backoff) -> Result<(), ()> {
        backoff.spin();
        if end.load(Ordering::Relaxed) == ticket.0 { Err(()) } else { Ok(()) }
    }

    /// Makes sure that the slot at `index` can be touched.
    #[inline]
    fn ensure(&self, index: usize) -> std::io::Result<()> {
        if index as u64 >= self.committed.get() { self.commit(index) } else { Ok(()) }
    }

    #[cold]
    fn commit(&self, index: usize) -> std::io::Result<()> {
        let size = size_of::<AtomicU64>();
        let from = (self.committed.get() as usize).min(index);
        let to = (index + 1).next_multiple_of(COMMIT_CHUNK / size).min(self.slots.len());
        self.region.owner().commit(self.slots_at + from * size..self.slots_at + to * size)?;
        self.committed.set(to as u64);
        Ok(())
    }
}
