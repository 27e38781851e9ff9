//! Whose an end is. One process uses an end at a time; words in the segment say which one.

use crate::error::{ClaimError, PipeError};
use crate::layout::{Owner, PipeWords, Side, SideWords};
use multiproc_prim::{Flag, Known, Ordering, Place, stamp};
use multiproc_shm::Segment;
use multiproc_sync::ChannelError;
use multiproc_travel::{Link, Wire};
use std::sync::Arc;

/// Attempts to claim an end that other copies claim meanwhile.
const MOST_CLAIMS: u32 = 64;

/// What both directions of an end have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) segment: Segment,
    pub(crate) side: Side,
    pub(crate) duplex: bool,
    pub(crate) words: Place<PipeWords>,
    pub(crate) wire: Arc<Wire>,
    /// The end's generation when this handle got it. A handle of another generation than the segment's is a copy that was left behind.
    generation: u64,
    /// The stamp of the process that uses this handle; 0 before the first use. A forked copy has another stamp.
    held_by: Known,
    /// Whether the two directions are in different hands.
    is_split: Flag,
    /// Hangs up when the stand-by is gone. The stand-by's end of it hangs up when every copy of this end is gone.
    lease: Option<Link>,
}

impl Shared {
    pub(crate) fn new(
        segment: Segment,
        (side, duplex): (Side, bool),
        wire: Arc<Wire>,
        generation: u64,
        lease: Option<Link>,
    ) -> Result<Self, PipeError> {
        let words = words(&segment)?;
        Ok(Self { segment, side, duplex, words, wire, generation, held_by: Known::new(0), is_split: Flag::new(), lease })
    }

    pub(crate) fn words(&self) -> &SideWords {
        self.words.side(self.side)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn lease(&self) -> Option<&Link> {
        self.lease.as_ref()
    }

    /// Makes sure that this process alone uses this end, or says which process does.
    #[cold]
    pub(crate) fn claim(&self) -> Result<(), ClaimError> {
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
            // After a user that has died, the next process that uses its copy of the end gets it.
            if found.pid != 0 && !is_ours && !found.has_died() {
                return Err(ClaimError::InUse(found.pid));
            }
            if words.owner.compare_exchange(found.word(), us.word(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                self.set_ours();
                return Ok(());
            }
        }
        Err(ClaimError::InUse(last))
    }

    /// Whether this very process uses this handle: it is no forked copy, and the end is not on its way to another process.
    pub(crate) fn is_ours(&self) -> bool {
        self.held_by.get() == stamp()
    }

    pub(crate) fn set_ours(&self) {
        self.held_by.set(stamp());
    }

    pub(crate) fn set_split(&self) {
        self.is_split.set();
    }

    pub(crate) fn has_stand_by(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| !lease.is_hung_up())
    }

    /// Gives the end up for another process: copies that stay behind are of an old generation.
    pub(crate) fn depart(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.hand_over(Owner::nobody(self.generation), self.generation);
        self.held_by.set(0);
    }

    /// Records a stand-by, which `lease` connects to this end, and starts a generation.
    pub(crate) fn admit_stand_by(&mut self, lease: Link) {
        // Older forked copies lack our end of the lease, so the stand-by could not notice them: the new generation leaves them behind.
        self.generation = self.generation.wrapping_add(1);
        self.lease = Some(lease);
        self.words().stand_by.store(self.generation, Ordering::Release);
        self.hand_over(Owner::us(self.generation), self.generation);
    }

    /// Records who uses the end from now on.
    fn hand_over(&self, to: Owner, generation: u64) {
        // Release: what we did to the end's positions comes before what the next user does (pairs with: hand over). A process that sees
        // only one of the two words finds no generation that fits, and leaves the end alone.
        self.words().owner.store(to.word(), Ordering::Release);
        self.words().generation.store(generation, Ordering::Release);
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

/// The words of both ends, with memory behind them.
pub(crate) fn words(segment: &Segment) -> Result<Place<PipeWords>, PipeError> {
    let at = segment.content_at();
    segment.region().commit(at..at + size_of::<PipeWords>())?;
    Ok(segment.region().place(at).map_err(ChannelError::from)?)
}
