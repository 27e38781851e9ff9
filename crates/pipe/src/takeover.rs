//! How a stand-by becomes an end, once the end's user is gone.

use crate::end::End;
use crate::error::{PipeError, StandbyError};
use crate::layout::{Owner, PipeWords, Side};
use crate::ownership::{Shared, words};
use multiproc_prim::{Deadline, Ordering, Place};
use multiproc_shm::Segment;
use multiproc_sync::SLICE;
use multiproc_travel::{Link, Wire};
use std::sync::Arc;

/// A stand-by: it holds what an end needs, keeps the other side connected, and touches nothing.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) segment: Segment,
    pub(crate) side: Side,
    pub(crate) duplex: bool,
    pub(crate) wire: Arc<Wire>,
    /// Hangs up when every copy of the end is gone.
    pub(crate) lease: Link,
    /// The generation of the end in which this stand-by was made.
    pub(crate) number: u64,
    words: Place<PipeWords>,
}

impl Waiting {
    /// A stand-by for this end: at most one.
    pub(crate) fn of(end: &mut End) -> Result<Self, StandbyError> {
        end.claim()?;
        if end.is_half() {
            return Err(StandbyError::Half);
        }
        if end.shared.has_stand_by() {
            return Err(StandbyError::Taken);
        }
        let (ours, theirs) = Link::pair().map_err(PipeError::from)?;
        let Some(shared) = Arc::get_mut(&mut end.shared) else { return Err(StandbyError::Half) };
        shared.admit_stand_by(ours);
        let Shared { segment, side, duplex, wire, words, .. } = &*shared;
        Ok(Self {
            segment: segment.clone(),
            side: *side,
            duplex: *duplex,
            wire: wire.clone(),
            lease: theirs,
            number: shared.generation(),
            words: words.clone(),
        })
    }

    pub(crate) fn build(
        segment: Segment,
        (side, duplex): (Side, bool),
        wire: Wire,
        lease: Link,
        number: u64,
    ) -> Result<Self, PipeError> {
        let words = words(&segment)?;
        Ok(Self { segment, side, duplex, wire: Arc::new(wire), lease, number, words })
    }

    /// Whether its end sends, and whether it receives.
    pub(crate) fn ways(&self) -> (bool, bool) {
        (self.duplex || self.side == Side::First, self.duplex || self.side == Side::Second)
    }

    /// Becomes the end once its user is gone. Afterwards the stand-by is of no use.
    pub(crate) fn take_over(&self, deadline: Deadline) -> Result<End, StandbyError> {
        loop {
            if let Some(end) = self.try_take_over()? {
                return Ok(end);
            }
            if deadline.is_over() {
                return Err(StandbyError::InUse);
            }
            // The lease does not hang up while forked copies of a dead user live. The next look finds that death.
            let _ = self.lease.wait_readable(deadline.within(SLICE));
        }
    }

    fn try_take_over(&self) -> Result<Option<End>, StandbyError> {
        let words = self.words.side(self.side);
        // Looked at first: when the last copy of the lease goes, so does the last process that could use the end.
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
            // A forked copy of the dead user went on with the end.
            give_back();
            return Ok(None);
        }
        words.generation.store(generation, Ordering::Release);
        match End::build(self.segment.clone(), (self.side, self.duplex), self.wire.clone(), generation, None) {
            Ok(end) => {
                end.shared.set_ours();
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
