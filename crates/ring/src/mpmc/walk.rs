//! How an operation on a ring finds its slot: from where this handle was last, from slot to slot. A handle that was away for long
//! asks the shared ends.

use super::arena::{Arena, Found};
use super::layout::SLOTS_AT;
use super::ring::{MOST_TRIES, Ring, Spot, Trouble, Waiting};
use super::state::{BlockState, Content, Slot, Ticket};
use multiproc_prim::{AtomicPair, AtomicU64, Backoff, LINE, Ordering};
use static_assertions::const_assert_eq;
use std::iter;

const SLOTS_IN_A_LINE: usize = LINE / size_of::<AtomicPair>();
const_assert_eq!(SLOTS_AT % LINE, 0);
/// Slots that a walk looks at before it asks the shared end: as many as others are likely to have used meanwhile.
const SHORT_WALK: u32 = 4;

/// What an operation does with the slot that it looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// It only looks.
    Look,
    /// It takes the message, if there is one.
    Take,
    /// It puts a message into the slot, if that is free.
    Fill,
    /// It writes the mark that closes into the slot, if the ring is empty.
    Close,
}

/// The way of one operation from slot to slot.
struct Walk<'r> {
    /// The shared word of the end that is looked for.
    end: &'r AtomicU64,
    /// The ticket to look at.
    at: Ticket,
    steps: u32,
    /// Whether the shared word was asked.
    asked: bool,
}

impl Ring {
    /// The first ticket whose slot is not filled, or is filled with the mark that closes.
    #[inline(always)]
    pub(super) fn find_tail(&self, backoff: &mut Backoff, aim: Aim) -> Result<Spot<'_>, Trouble> {
        let mut walk = Walk { end: &self.ends.tail, at: self.start(&self.tail), steps: 0, asked: false };
        loop {
            let spot = self.look(walk.at, aim)?;
            match spot.word.turns_ahead_of(self.turns.turn(spot.ticket)) {
                -1 => {
                    self.arrive(&walk, &self.tail);
                    return Ok(spot);
                }
                0 if spot.word.content() == Content::Closed => return Ok(spot),
                // The ticket of the mark is the next one, not used up: a push must not pass it.
                ahead @ 1.. if spot.word.content() == Content::Closed => {
                    walk.at = self.turns.turns_later(spot.ticket, ahead as u64);
                    self.step(&mut walk)?;
                }
                ahead @ 0.. => self.go_on(&mut walk, ahead as u64)?,
                _ => self.doubt(&mut walk, backoff)?,
            }
        }
    }

    /// The first ticket whose message is not taken, or not there yet.
    #[inline(always)]
    pub(super) fn find_head<'a>(
        &self,
        arena: &'a Arena,
        backoff: &mut Backoff,
        aim: Aim,
    ) -> Result<(Spot<'_>, Waiting<'a>), Trouble> {
        let mut walk = Walk { end: &self.ends.head, at: self.start(&self.head), steps: 0, asked: false };
        loop {
            let spot = self.look(walk.at, aim)?;
            let ahead = spot.word.turns_ahead_of(self.turns.turn(spot.ticket));
            let waiting = match ahead {
                -1 => Some(Waiting::Nothing),
                0 => self.waiting(arena, &spot, aim)?,
                _ => None,
            };
            if let Some(waiting) = waiting {
                self.arrive(&walk, &self.head);
                return Ok((spot, waiting));
            }
            match ahead {
                // Filled in a later turn: what it held the turn before that was taken.
                0.. => self.go_on(&mut walk, (ahead as u64).saturating_sub(1))?,
                _ => self.doubt(&mut walk, backoff)?,
            }
        }
    }

    /// Asks for the lines of a message, and for those of the next one if the line of slots that we have says where it is. Out of line, so
    /// that small messages don't pay for it.
    #[inline(never)]
    fn fetch(&self, arena: &Arena, ticket: Ticket, block: &Found<'_>) {
        block.fetch();
        let next = self.turns.next(ticket);
        // A model has no cache, and looks that change nothing are only more to explore.
        let index = self.turns.index(next).filter(|index| index % SLOTS_IN_A_LINE != 0 && !cfg!(loom));
        let Some(slot) = index.and_then(|index| self.slots.get(index)) else { return };
        // Its memory is there, as that of the slot before it in the line. Relaxed, here and below: nothing but what to ask for hangs on it.
        let word = Slot(slot.first(Ordering::Relaxed));
        if word.content() != Content::Block || word.turn() != self.turns.turn(next) {
            return;
        }
        let second = if self.whole { slot.second(Ordering::Relaxed) } else { 0 };
        if let Some(next) = arena.mapped(word.block(second, self.whole)) {
            next.fetch();
        }
    }

    /// Whether nothing waits, by one look from where this handle was last. `false` says nothing: a walk tells.
    #[inline(always)]
    pub(super) fn is_plainly_empty(&self) -> bool {
        let at = self.start(&self.head);
        self.look(at, Aim::Look).is_ok_and(|spot| spot.word.turns_ahead_of(self.turns.turn(at)) == -1)
    }

    /// What waits, from the head on. Memory that can't be read ends it.
    pub(super) fn all_waiting<'r, 'a: 'r>(
        &'r self,
        arena: &'a Arena,
    ) -> impl Iterator<Item = Result<(Spot<'r>, Waiting<'a>), Trouble>> {
        let mut next = Some(self.find_head(arena, &mut Backoff::new(), Aim::Look).map(|(head, _)| head.ticket));
        // One turn: what is put behind that came while we looked.
        let mut left = self.slots.len();
        iter::from_fn(move || {
            while let Some(at) = next.take() {
                match at.and_then(|at| self.seen_at(arena, at)) {
                    Ok(None) => {}
                    Ok(Some((spot, waiting))) => {
                        left -= 1;
                        next = (left > 0).then(|| Ok(self.turns.next(spot.ticket)));
                        if let Some(waiting) = waiting {
                            return Some(Ok((spot, waiting)));
                        }
                    }
                    Err(trouble) => return Some(Err(trouble)),
                }
            }
            None
        })
    }

    /// What waits at a ticket, and no message if others took it meanwhile. `None`: nothing was put there yet.
    fn seen_at<'a>(&self, arena: &'a Arena, at: Ticket) -> Result<Option<(Spot<'_>, Option<Waiting<'a>>)>, Trouble> {
        let spot = self.look(at, Aim::Look)?;
        let turn = self.turns.turn(at);
        if spot.word.turns_ahead_of(turn) < 0 {
            return Ok(None);
        }
        let waiting = if spot.word.turn() == turn { self.waiting(arena, &spot, Aim::Look)? } else { None };
        let is_end = matches!(waiting, Some(Waiting::Closed));
        Ok((!is_end).then_some((spot, waiting)))
    }

    /// What a slot that was filled in this turn has for a consumer; `None`: it was taken.
    #[inline(always)]
    fn waiting<'a>(&self, arena: &'a Arena, spot: &Spot<'_>, aim: Aim) -> Result<Option<Waiting<'a>>, Trouble> {
        Ok(match spot.word.content() {
            // It was opened again after it was closed in the turn after this one: what it held in this turn is long taken.
            Content::Nothing => None,
            Content::Closed => Some(Waiting::Closed),
            Content::Small { taken: true, .. } => None,
            Content::Small { len, tag, .. } => Some(Waiting::Small(len, tag)),
            Content::Block => {
                let Some(block) = self.block_in(arena, spot.slot, spot.word)? else { return Ok(None) };
                if aim == Aim::Take {
                    self.fetch(arena, spot.ticket, &block);
                }
                // Relaxed: at least as new as the slot that named the block (pairs with: take).
                let state = BlockState(block.header.state.load(Ordering::Relaxed));
                state.is_queued(self.id, spot.ticket).then_some(Waiting::Block(block, state))
            }
        })
    }

    /// Reads the slot of a ticket.
    #[inline(always)]
    fn look(&self, ticket: Ticket, aim: Aim) -> Result<Spot<'_>, Trouble> {
        let index = self.turns.index(ticket).ok_or(Trouble::Corrupt)?;
        let slot = self.slots.get(index).ok_or(Trouble::Corrupt)?;
        if let Err(error) = self.ensure(index) {
            match (aim, Trouble::from(error)) {
                // Its own page has memory, where those around it can't be had.
                (_, Trouble::NoMemory { .. }) if self.has_been_written(index) => {}
                // It is as if it had memory.
                (Aim::Look | Aim::Take, Trouble::NoMemory { .. }) => return Ok(Spot { ticket, slot, word: Slot(0) }),
                (Aim::Close, Trouble::NoMemory { .. }) if self.shares_page_with_one_written(index) => {}
                (_, trouble) => return Err(trouble),
            }
        }
        // Acquire: what came with the message (pairs with: take), and the slots after this one at least as new as the process
        // that filled this one saw them (pairs with: walk).
        Ok(Spot { ticket, slot, word: Slot(slot.first(Ordering::Acquire)) })
    }

    /// Counts a step. In a ring of so many slots, so many steps are one turn; more than that only if others make progress all the while.
    #[inline(always)]
    fn step(&self, walk: &mut Walk<'_>) -> Result<(), Trouble> {
        walk.steps += 1;
        if walk.steps > MOST_TRIES + 2 * self.slots.len() as u32 { Err(Trouble::Corrupt) } else { Ok(()) }
    }

    /// Goes on from a ticket that is used up, and whose slot is so many turns ahead of it.
    #[inline]
    fn go_on(&self, walk: &mut Walk<'_>, turns_ahead: u64) -> Result<(), Trouble> {
        self.step(walk)?;
        walk.at = self.turns.next(self.turns.turns_later(walk.at, turns_ahead));
        if !walk.asked && (turns_ahead > 0 || walk.steps >= SHORT_WALK) {
            self.ask(walk);
        }
        Ok(())
    }

    /// Asks the shared end, and goes there if it is further.
    #[cold]
    fn ask(&self, walk: &mut Walk<'_>) {
        let end = self.shared_end(walk.end);
        walk.asked = true;
        if end.is_after(walk.at) {
            walk.at = end;
        }
    }

    /// Where this handle was last.
    #[inline(always)]
    fn start(&self, own: &AtomicU64) -> Ticket {
        // Acquire: the slots are at least as new as the thread of this process that wrote it saw them (pairs with: own).
        Ticket(own.load(Ordering::Acquire))
    }

    pub(super) fn shared_end(&self, end: &AtomicU64) -> Ticket {
        // Acquire: the slots are at least as new as the process that wrote the end saw them (pairs with: end).
        match end.load(Ordering::Acquire) {
            // Nobody wrote it yet.
            0 => self.first,
            known => Ticket(known),
        }
    }

    /// Remembers where a walk ended, and lets others start there if it was long.
    #[inline(always)]
    fn arrive(&self, walk: &Walk<'_>, own: &AtomicU64) {
        if walk.steps > 0 {
            remember(own, walk.at);
            // The process that should have moved the end on was killed or stopped before it did.
            if walk.asked && u64::from(walk.steps) > 2 * self.lag + u64::from(SHORT_WALK) {
                self.move_end(walk.end, walk.at);
            }
        }
    }

    /// Remembers that a ticket is used up, and tells others at every few.
    #[inline(always)]
    pub(super) fn pass(&self, own: &AtomicU64, end: &AtomicU64, ticket: Ticket) {
        let next = self.turns.next(ticket);
        remember(own, next);
        if next.0 & self.lag == 0 {
            self.move_end(end, next);
        }
    }

    /// Moves a shared end on, unless it is further already. Looks first, since a failed exchange costs as much as a successful one.
    #[inline]
    fn move_end(&self, end: &AtomicU64, to: Ticket) {
        let seen = Ticket(end.load(Ordering::Relaxed));
        if to.is_after(seen) {
            // Release: a handle that reads the end sees the slots before it as we do (pairs with: end). Failure: another one moved it.
            let _ = end.compare_exchange(seen.0, to.0, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// A slot that no order of events explains. If the shared end explains it no better, and does not move, the memory is rubbish.
    #[cold]
    fn doubt(&self, walk: &mut Walk<'_>, backoff: &mut Backoff) -> Result<(), Trouble> {
        backoff.spin();
        let before = walk.at;
        walk.asked = false;
        walk.at = self.shared_end(walk.end);
        if walk.at == before || backoff.tries() > MOST_TRIES { Err(Trouble::Corrupt) } else { Ok(()) }
    }
}

/// Says where the threads of this handle start from now on.
#[inline(always)]
pub(super) fn remember(own: &AtomicU64, at: Ticket) {
    // Release: they see the slots before it as this thread does (pairs with: own).
    own.store(at.0, Ordering::Release);
}
