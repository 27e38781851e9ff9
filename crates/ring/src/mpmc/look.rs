//! Looks at messages that others may take, finish or give back at the same time: nothing is taken, and nobody is disturbed.
//!
//! A message is copied, and then the word is read again that said where it was. If the word is the same, the copy is the message as
//! it was there: each word carries the ticket under which the message is there, and a ticket is used once. If not, the message has
//! gone on meanwhile, and the copy is thrown away.

use super::arena::Found;
use super::block::Meta;
use super::error::PopError;
use super::handle::Mpmc;
use super::id::MessageId;
use super::notes::Unfinished;
use super::ring::{Spot, Waiting};
use super::state::{BlockState, Lane, Origin, Owner, Phase, RingId};
use multiproc_prim::{Ordering, fence};

/// A waiting message, as it was when [`Mpmc::waiting`] passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: MessageId,
    /// How often it was delivered before.
    pub deliveries: u16,
    /// How the last of these deliveries ended.
    pub ended: Option<Unfinished>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A message in some participant's hands, as it was when [`Mpmc::in_hand`] looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InHand {
    block: u32,
    state: BlockState,
    /// Its id.
    pub id: MessageId,
    /// How often the message was delivered, this time included.
    pub deliveries: u16,
    /// When it was taken, in milliseconds of the clock of [`Taken::note_taken`](super::Taken::note_taken). `None`: its owner has not
    /// said so yet.
    pub since: Option<u64>,
}

impl InHand {
    /// Whether it may be in the hands of this owner: one in the same row, whose epoch ends in the same bits.
    pub fn may_be_of(&self, owner: Owner) -> bool {
        self.state.may_be_of(owner)
    }
}

impl Mpmc {
    /// Copies the messages that wait in a lane, one at a time, the oldest first. None is taken. A message that is taken meanwhile may
    /// be left out.
    ///
    /// # Errors
    ///
    /// An item is one where the memory holds rubbish, or can't be read. Messages behind it may be left out.
    pub fn waiting(&self, lane: Lane) -> impl Iterator<Item = Result<Seen, PopError>> {
        let found = self.lane(lane).into_iter().flat_map(|rings| rings.all_waiting(&self.arena));
        found.filter_map(|found| match found {
            Ok((spot, ring, waiting)) => self.copy_waiting(&spot, ring, waiting).transpose(),
            Err(trouble) => Some(Err(trouble.into())),
        })
    }

    fn copy_waiting(&self, spot: &Spot<'_>, ring: RingId, waiting: Waiting<'_>) -> Result<Option<Seen>, PopError> {
        match waiting {
            Waiting::Block(found, state) => self.copy(found, state, Origin::new(ring, spot.ticket)),
            Waiting::Small(len, _) => {
                // Acquire, beyond the models, in which the two words are one: if these are the bytes of a later turn, the first word is of
                // that turn, too, when it is read again.
                let bytes = spot.slot.second(Ordering::Acquire).to_ne_bytes();
                let bytes = bytes.get(..len).unwrap_or(&bytes).to_vec();
                let id = self.id_at(ring, spot.ticket.low());
                // Relaxed: read after the second word, which was read with Acquire.
                let is_there = spot.slot.first(Ordering::Relaxed) == spot.word.0;
                Ok(is_there.then_some(Seen { id, deliveries: 0, ended: None, bytes }))
            }
            Waiting::Nothing | Waiting::Closed => Ok(None),
        }
    }

    /// A copy of a message whose block is in this state, if it still is afterwards.
    fn copy(&self, found: Found<'_>, state: BlockState, from: Origin) -> Result<Option<Seen>, PopError> {
        let meta = Meta::unpack(found.header.meta.load(Ordering::Relaxed));
        let deliveries = meta.deliveries_in(from.ring().lane());
        let id = self.id_from(found.number(), from);
        let ended = found.notes().and_then(|notes| notes.ended()).filter(|_| deliveries > 0);
        let copied = found.copy_payload(meta.len);
        if !is_still(found, state) {
            return Ok(None);
        }
        // A length that no block of this size has.
        let bytes = copied.ok_or(PopError::Corrupt)?;
        Ok(Some(Seen { id, deliveries, ended, bytes }))
    }

    /// The messages that some participant has taken and not finished, but for those of the dead lanes. None, in a ring without room for
    /// returns. Looks at all blocks.
    pub fn in_hand(&self) -> impl Iterator<Item = InHand> {
        self.arena.ever_used().flatten().filter_map(|found| {
            let notes = found.notes()?;
            // Acquire, beyond the models, which have no notes: what is read below is not older than the state.
            let state = BlockState(found.header.state.load(Ordering::Acquire));
            if state.phase() != Phase::Taken || state.ring().lane().is_dead() {
                return None;
            }
            let deliveries = Meta::unpack(found.header.meta.load(Ordering::Relaxed)).counted() + 1;
            // The mark tells whether the time is of this delivery.
            let since = notes.since(state);
            let id = self.id_from(found.number(), state.origin());
            let in_hand = InHand { block: found.number(), state, id, deliveries, since };
            // If another delivery began meanwhile, the count may be that one's. Then this one is no longer in hand.
            is_still(found, state).then_some(in_hand)
        })
    }

    /// A copy of the bytes of a message in hand; `None` if it is no longer in the same hands.
    pub fn bytes_in_hand(&self, in_hand: &InHand) -> Option<Vec<u8>> {
        let found = self.arena.find(in_hand.block)?.ok()??;
        let meta = Meta::unpack(found.header.meta.load(Ordering::Relaxed));
        let bytes = found.copy_payload(meta.len)?;
        is_still(found, in_hand.state).then_some(bytes)
    }
}

/// Whether a block is still in a state, after something of it was read.
fn is_still(found: Found<'_>, state: BlockState) -> bool {
    // Acquire, beyond the models, which allow no copy of bytes that others write: what was read before comes before the state is read
    // again. If a later owner's bytes were among it, then we see that owner's state, or a later one.
    fence(Ordering::Acquire);
    found.header.state.load(Ordering::Relaxed) == state.0
}
