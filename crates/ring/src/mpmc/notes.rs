//! What a block records of its deliveries, in a ring with [room for returns](super::Geometry::returns): since when it is in hand, how the
//! last delivery ended that did not finish its message, and the message's id once a delivery has ended so.
//!
//! A note carries a mark of the ticket under which the block was taken. So a note that an earlier delivery left is not taken for one of
//! this delivery, whichever process dies between taking the block and writing the note.

use super::id::MessageId;
use super::layout::Notes;
use super::state::{BlockState, RING_BITS, RingId};
use multiproc_prim::Ordering;

/// How a delivery ended that did not finish its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfinished {
    /// Its consumer gave it back.
    GivenBack {
        /// What the consumer noted, as the exit status of a command; 0 if it noted nothing.
        note: u32,
    },
    /// Its consumer could not read it.
    Unreadable,
    /// Its consumer's process died.
    Died {
        /// The process, as its own pid namespace numbers it.
        pid: u32,
    },
}

/// Bits of a mark beside a time, and beside an end. The highest are the ring, the others the lowest ones of the ticket.
const SINCE_MARK: u32 = 24;
const END_MARK: u32 = 30;
const PID_BITS: u32 = 32;
const GIVEN_BACK: u64 = 1;
const UNREADABLE: u64 = 2;
const DIED: u64 = 3;

const fn mark(ring: RingId, ticket_low: u64, bits: u32) -> u64 {
    let ticket_bits = bits - RING_BITS;
    ring.bits() << ticket_bits | ticket_low & ((1 << ticket_bits) - 1)
}

impl Notes {
    /// The message was taken now. The caller has it in hand.
    #[inline(always)]
    pub(super) fn take(&self, ring: RingId, ticket_low: u64, millis: u64) {
        // Relaxed, here and below: notes order nothing. A sweeper reads them after the death of the process that wrote them.
        self.since.store(millis << SINCE_MARK | mark(ring, ticket_low, SINCE_MARK), Ordering::Relaxed);
    }

    pub(super) fn since(&self, state: BlockState) -> Option<u64> {
        let since = self.since.load(Ordering::Relaxed);
        let is_of_this = since & ((1 << SINCE_MARK) - 1) == mark(state.ring(), state.ticket_low(), SINCE_MARK);
        is_of_this.then_some(since >> SINCE_MARK)
    }

    /// The delivery under which the block is taken has ended. The first note of its end counts: another process may have said so and died
    /// before the message was brought back.
    pub(super) fn end(&self, ring: RingId, ticket_low: u64, how: Unfinished) {
        let mark = mark(ring, ticket_low, END_MARK) << PID_BITS;
        let kind = |kind: u64| kind << (END_MARK + PID_BITS);
        let note = match how {
            Unfinished::GivenBack { note } => kind(GIVEN_BACK) | u64::from(note),
            Unfinished::Unreadable => kind(UNREADABLE),
            Unfinished::Died { pid } => kind(DIED) | u64::from(pid),
        };
        let before = self.ended.load(Ordering::Relaxed);
        let is_known = before >> (END_MARK + PID_BITS) != 0 && before << 2 >> (2 + PID_BITS) << PID_BITS == mark;
        if !is_known {
            self.ended.store(note | mark, Ordering::Relaxed);
        }
    }

    /// How the last delivery ended; `None` if none has.
    pub(super) fn ended(&self) -> Option<Unfinished> {
        let note = self.ended.load(Ordering::Relaxed);
        match note >> (END_MARK + PID_BITS) {
            GIVEN_BACK => Some(Unfinished::GivenBack { note: note as u32 }),
            UNREADABLE => Some(Unfinished::Unreadable),
            DIED => Some(Unfinished::Died { pid: note as u32 }),
            _ => None,
        }
    }

    /// Records the message's id. The caller has the block in hand, or sweeps it. A second call writes the same id.
    pub(super) fn identify(&self, id: MessageId) {
        self.id.store(id.0, Ordering::Relaxed);
    }

    /// The id of a message of which a delivery has ended.
    pub(super) fn id(&self) -> MessageId {
        MessageId(self.id.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpmc::state::Lane;

    #[test]
    fn the_same_ticket_of_another_ring_has_another_mark() {
        for bits in [SINCE_MARK, END_MARK] {
            let rings = Lane::ALL.into_iter().flat_map(|lane| (0..16).map(move |class| RingId::new(lane, class)));
            let mut marks: Vec<u64> = rings.map(|ring| mark(ring, 77, bits)).collect();
            assert!(marks.iter().all(|mark| mark >> bits == 0));
            marks.sort_unstable();
            marks.dedup();
            assert_eq!(marks.len(), 64);
        }
    }
}
