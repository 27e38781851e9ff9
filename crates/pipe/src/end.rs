//! One end of a pipe: its streams, its socket, and who uses it. The types that users see are thin shells around it.

mod incoming;
mod outgoing;
mod travel;
mod waiting;

use crate::error::{ClaimError, PipeError, StandbyError};
use crate::layout::{Owner, PipeWords, Side, SideWords, spec, stream_at};
use incoming::Incoming;
use multiproc_prim::stamp;
use multiproc_prim::{Flag, Known, Ordering, Place};
use multiproc_shm::Segment;
use multiproc_sync as sync;
use multiproc_sync::StreamSender;
use multiproc_travel::{Link, Wire};
use outgoing::Outgoing;
use std::sync::Arc;
pub(crate) use waiting::Waiting;

/// In the tag of a record: more of the same message follows.
const MORE: u32 = 1;
/// In the tag of a record: it goes on with a message. Where one process follows on another that died in the middle of a message, or a
/// sender gave up in the middle of one, the two parts must not become one.
const CONTINUES: u32 = 2;
/// In the tag of a record: its eight bytes are the length of the message, which is in a file, the last of its descriptors.
const APART: u32 = 4;
/// In the tag of a message's last record: so many descriptors came through the socket, shifted by this. Its last eight bytes are then
/// the number that they came under.
const DESCRIPTORS_SHIFT: u32 = 3;
/// Bytes of the number under which descriptors come.
const NUMBER: usize = 8;
/// Descriptors that one message can carry.
const MAX_DESCRIPTORS: usize = 1 << 16;
/// Times that others may snatch an end away before we give up.
const MOST_CLAIMS: u32 = 64;

/// An end, or one direction of it.
#[derive(Debug)]
pub(crate) struct End {
    shared: Arc<Shared>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

/// What both directions of an end have in common.
#[derive(Debug)]
struct Shared {
    segment: Segment,
    side: Side,
    duplex: bool,
    words: Place<PipeWords>,
    wire: Arc<Wire>,
    /// Of this handle: in another generation it is a copy that was left behind.
    generation: u64,
    /// The stamp of the process that uses this handle, 0 before the first use. A forked copy has another stamp.
    held_by: Known,
    /// Whether the two directions are in different hands.
    is_split: Flag,
    /// Hangs up when the stand-by is gone, as the stand-by's end of it does when we are.
    lease: Option<Link>,
}

impl End {
    /// Both ends of a new pipe.
    pub(crate) fn pair(duplex: bool) -> Result<(Self, Self), PipeError> {
        let segment = Segment::create(&spec(duplex)?)?;
        let words: Place<PipeWords> = segment.region().place(segment.content_at()).map_err(sync::ChannelError::from)?;
        let region = segment.region();
        region.commit(segment.content_at()..segment.content_at() + size_of::<PipeWords>())?;
        words.make_fresh();
        for side in if duplex { &[Side::Second, Side::First][..] } else { &[Side::Second] } {
            StreamSender::create(region, segment.content_at() + stream_at(*side)?, crate::CAPACITY)?;
        }
        let (first, second) = Wire::pair()?;
        Ok((
            Self::build(segment.clone(), Side::First, duplex, Arc::new(first), 0, None)?,
            Self::build(segment, Side::Second, duplex, Arc::new(second), 0, None)?,
        ))
    }

    fn build(
        segment: Segment,
        side: Side,
        duplex: bool,
        wire: Arc<Wire>,
        generation: u64,
        lease: Option<Link>,
    ) -> Result<Self, PipeError> {
        let at = segment.content_at();
        segment.region().commit(at..at + size_of::<PipeWords>())?;
        let words = segment.region().place(at).map_err(sync::ChannelError::from)?;
        let shared =
            Shared { segment, side, duplex, words, wire, generation, held_by: Known::new(0), is_split: Flag::new(), lease };
        let outgoing = if duplex || side == Side::First { Some(Outgoing::new(&shared)?) } else { None };
        let incoming = if duplex || side == Side::Second { Some(Incoming::new(&shared)?) } else { None };
        Ok(Self { shared: Arc::new(shared), outgoing, incoming })
    }

    pub(crate) fn sends(&self) -> bool {
        self.outgoing.is_some()
    }

    pub(crate) fn receives(&self) -> bool {
        self.incoming.is_some()
    }

    /// The two directions, each an end of its own, for two threads.
    pub(crate) fn split(mut self) -> (Self, Self) {
        // Closing one of them is to close its direction, though it was never used. An end that can't be claimed says so when it is used.
        let _ = self.shared.claim();
        self.shared.is_split.set();
        let half = |outgoing, incoming| Self { shared: self.shared.clone(), outgoing, incoming };
        (half(self.outgoing.take(), None), half(None, self.incoming.take()))
    }

    /// Whether it is one direction of an end that goes both ways.
    fn is_half(&self) -> bool {
        self.shared.duplex && !(self.sends() && self.receives())
    }

    /// Makes the end ready to go to another process: from now on nobody uses it, and copies that stay behind are of an old generation.
    fn depart(&mut self) -> Result<(), ClaimError> {
        self.claim()?;
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(ClaimError::Moved) };
        shared.generation = shared.generation.wrapping_add(1);
        shared.hand_over(Owner::nobody(shared.generation), shared.generation);
        shared.held_by.set(0);
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.depart();
        }
        if let Some(incoming) = &mut self.incoming {
            incoming.depart(&self.shared);
        }
        Ok(())
    }

    /// Makes sure that this process alone uses this end, and that both directions go on where they stopped.
    fn claim(&mut self) -> Result<(), ClaimError> {
        self.outgoing.as_mut().map_or(Ok(()), |outgoing| outgoing.claim(&self.shared))?;
        self.incoming.as_mut().map_or(Ok(()), |incoming| incoming.claim(&self.shared))
    }

    /// A stand-by for this end: at most one.
    pub(crate) fn stand_by(&mut self) -> Result<Waiting, StandbyError> {
        self.claim()?;
        if self.is_half() {
            return Err(StandbyError::Half);
        }
        if self.shared.has_stand_by() {
            return Err(StandbyError::Taken);
        }
        let (ours, theirs) = Link::pair().map_err(PipeError::from)?;
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(StandbyError::Half) };
        // Forked copies that are older don't have our end of the lease, and would not be seen: a new generation leaves them behind.
        shared.generation = shared.generation.wrapping_add(1);
        shared.lease = Some(ours);
        shared.words.side(shared.side).stand_by.store(shared.generation, Ordering::Release);
        shared.hand_over(Owner::us(shared.generation), shared.generation);
        Ok(Waiting::new(shared, theirs))
    }
}

impl Shared {
    fn words(&self) -> &SideWords {
        self.words.side(self.side)
    }

    /// Makes sure that this process alone uses this end, or says who does.
    #[cold]
    fn claim(&self) -> Result<(), ClaimError> {
        if self.is_ours() {
            return Ok(());
        }
        let (words, us) = (self.words(), Owner::us(self.generation));
        let mut last = 0;
        for _ in 0..MOST_CLAIMS {
            // Acquire: what the last user did to the end's positions comes before what we do (pairs with: hand over).
            let found = words.user(Ordering::Acquire);
            last = found.pid;
            // Relaxed: the word above holds its low bits; this tells generations apart whose low bits are the same.
            if found.generation != us.generation || words.generation.load(Ordering::Relaxed) != self.generation {
                return Err(ClaimError::Moved);
            }
            // The other half of this end, in another thread, was faster.
            let is_ours = found == us && us.namespace != 0 && self.is_split.is_set();
            // A user that has died is followed by the next process that uses its copy of the end.
            if found.pid != 0 && !is_ours && !found.has_died() {
                return Err(ClaimError::InUse(found.pid));
            }
            if words.owner.compare_exchange(found.word(), us.word(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                self.held_by.set(stamp());
                return Ok(());
            }
        }
        Err(ClaimError::InUse(last))
    }

    /// Whether this handle is in use by this very process: not a forked copy, and not on its way.
    fn is_ours(&self) -> bool {
        self.held_by.get() == stamp()
    }

    fn has_stand_by(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| !lease.is_hung_up())
    }

    /// Says who uses the end from now on.
    fn hand_over(&self, to: Owner, generation: u64) {
        // Release: what we did to the end's positions comes before what the next user does (pairs with: hand over). Whoever sees one of
        // the two words only is of no generation, and leaves the end alone.
        self.words().owner.store(to.word(), Ordering::Release);
        self.words().generation.store(generation, Ordering::Release);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // A copy that never used the end leaves it to the process that does. Where all copies are gone, the socket tells.
        if self.shared.is_ours() && !self.shared.has_stand_by() {
            if let Some(outgoing) = &self.outgoing {
                outgoing.close();
                self.shared.wire.ring();
            }
            if let Some(incoming) = &self.incoming {
                incoming.close();
                // Nobody receives what is in the socket. A sender that waits for room there goes on, and finds the end.
                self.shared.wire.finish(u64::MAX);
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_ours() {
            let generation = self.generation.wrapping_add(1);
            let namespace = if self.has_stand_by() { Owner::LEFT } else { 0 };
            self.hand_over(Owner { namespace, ..Owner::nobody(generation) }, generation);
        }
    }
}
