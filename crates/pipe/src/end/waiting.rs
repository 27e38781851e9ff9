//! A stand-by: what it takes to be an end once its user is gone.

use super::{End, Shared};
use crate::error::{PipeError, StandbyError};
use crate::layout::{Owner, PipeWords, Side};
use multiproc_prim::stamp;
use multiproc_prim::{Deadline, Ordering, Place};
use multiproc_shm::Segment;
use multiproc_sync as sync;
use multiproc_travel::{Link, Wire};
use std::sync::Arc;

/// An end that waits. It keeps the other side connected, and touches nothing.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(super) segment: Segment,
    pub(super) side: Side,
    pub(super) duplex: bool,
    pub(super) wire: Arc<Wire>,
    /// Hangs up when every copy of the end is gone.
    pub(super) lease: Link,
    /// The generation of the end in which this stand-by was made.
    pub(super) number: u64,
    words: Place<PipeWords>,
}

impl Waiting {
    pub(super) fn new(shared: &Shared, lease: Link) -> Self {
        let Shared { segment, side, duplex, wire, words, generation, .. } = shared;
        Self {
            segment: segment.clone(),
            side: *side,
            duplex: *duplex,
            wire: wire.clone(),
            lease,
            number: *generation,
            words: words.clone(),
        }
    }

    pub(super) fn build(
        segment: Segment,
        (side, duplex): (Side, bool),
        wire: Wire,
        lease: Link,
        number: u64,
    ) -> Result<Self, PipeError> {
        let at = segment.content_at();
        segment.region().commit(at..at + size_of::<PipeWords>())?;
        let words = segment.region().place(at).map_err(sync::ChannelError::from)?;
        Ok(Self { segment, side, duplex, wire: Arc::new(wire), lease, number, words })
    }

    pub(crate) fn sends(&self) -> bool {
        self.duplex || self.side == Side::First
    }

    pub(crate) fn receives(&self) -> bool {
        self.duplex || self.side == Side::Second
    }

    /// Becomes the end once its user is gone. What is left of the stand-by is of no use afterwards.
    pub(crate) fn take_over(&self, deadline: Deadline) -> Result<End, StandbyError> {
        loop {
            if let Some(end) = self.try_take_over()? {
                return Ok(end);
            }
            if deadline.is_over() {
                return Err(StandbyError::InUse);
            }
            // A user that closed the end or died, and left forked copies of it, is seen at the next look.
            let _ = self.lease.wait_readable(deadline.within(sync::SLICE));
        }
    }

    fn try_take_over(&self) -> Result<Option<End>, StandbyError> {
        let words = self.words.side(self.side);
        // Looked at first: with the last copy of the lease goes the last process that could use the end.
        let is_alone = self.lease.is_hung_up();
        // Acquire: what the user did to the end's positions comes before what we do (pairs with: hand over).
        let found = words.user(Ordering::Acquire);
        let has_left = found.pid == 0 && found.namespace == Owner::LEFT;
        if !(is_alone || has_left || found.has_died()) {
            return Ok(None);
        }
        // Of several copies of this stand-by one goes on.
        if words.stand_by.compare_exchange(self.number, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Err(StandbyError::Moved);
        }
        let generation = words.generation.load(Ordering::Relaxed).wrapping_add(1);
        let us = Owner::us(generation);
        let give_back = || words.stand_by.store(self.number, Ordering::Release);
        if words.owner.compare_exchange(found.word(), us.word(), Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // A forked copy of the user, which has died, went on with the end.
            give_back();
            return Ok(None);
        }
        words.generation.store(generation, Ordering::Release);
        match End::build(self.segment.clone(), self.side, self.duplex, self.wire.clone(), generation, None) {
            Ok(end) => {
                end.shared.held_by.set(stamp());
                Ok(Some(end))
            }
            Err(error) => {
                words.owner.store(Owner { namespace: Owner::LEFT, ..Owner::nobody(generation) }.word(), Ordering::Release);
                give_back();
                Err(error.into())
            }
        }
    }
}
