//! One process's attachment to one queue: what all its handles share.

use crate::done::InHand;
use crate::error::OpenError;
use crate::layout::{Flavor, QueueWords, Shape, Tally, tally_of};
use crate::watch;
use multiproc_prim::{Array, AtomicU64, Deadline, Ordering, Place};
use multiproc_ring::mpmc::{Block, Lane, Orphans, Owner, Swept, TakeError};
use multiproc_shm::{Flaw, Janitor, JoinError, Look, Membership, Participant, Segment, SegmentName};
use multiproc_sync::{Channel, ChannelError, GetError, Pace, PutError, SLICE};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub(crate) struct Core {
    pub(crate) segment: Segment,
    pub(crate) shape: Shape,
    pub(crate) channel: Channel,
    pub(crate) membership: Membership,
    pub(crate) words: Place<QueueWords>,
    pub(crate) tallies: Array<Tally>,
    pub(crate) in_hand: InHand,
    pub(crate) join_pace: Pace,
    /// The attachment of a forked copy of this process, once it has used the queue.
    forked: OnceLock<Arc<Core>>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("queue", &self.segment.name()).finish_non_exhaustive()
    }
}

pub(crate) fn owner(who: Participant) -> Owner {
    Owner::new(who.row, who.epoch)
}

impl Core {
    pub(crate) fn create(shape: &Shape, name: Option<&SegmentName>) -> Result<Arc<Self>, OpenError> {
        let spec = shape.spec()?;
        let Some(name) = name else { return Self::build(Segment::create(&spec)?, *shape, true) };
        let core = Self::build(Segment::create_to_be_named(name, &spec)?, *shape, true)?;
        // Whoever finds it by its name finds it whole.
        core.segment.give_name(name)?;
        Ok(core)
    }

    pub(crate) fn open(name: &str, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        let name = SegmentName::new(name).map_err(|error| OpenError::Attach(error.into()))?;
        Self::attach_segment(Segment::open(&name, flavor.kind())?, flavor)
    }

    pub(crate) fn attach(file: OwnedFd, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        Self::attach_segment(Segment::attach(file, flavor.kind())?, flavor)
    }

    fn attach_segment(segment: Segment, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        let shape = Shape::of(&segment, flavor).map_err(|why| segment.refuse(Flaw::Geometry(why)))?;
        Self::build(segment, shape, false)
    }

    fn build(segment: Segment, shape: Shape, create: bool) -> Result<Arc<Self>, OpenError> {
        let region = segment.region().clone();
        let at = segment.content_at();
        region.commit(at..at + shape.channel_at()).map_err(ChannelError::from)?;
        let (words, tallies) = shape.words(&region, at).map_err(ChannelError::from)?;
        if create {
            words.make_fresh();
            tallies.make_fresh();
        }
        let channel_at = at + shape.channel_at();
        let membership = join(&segment, |janitor| {
            let as_janitor = owner(Janitor::PARTICIPANT);
            let Ok(channel) = Channel::attach(&region, channel_at, &shape.ring(), as_janitor) else { return };
            let nothing = InHand::default();
            let account = |who| {
                let still = || who == Janitor::PARTICIPANT || janitor.is_there(who);
                account_for(who, Janitor::PARTICIPANT, &shape, &channel, &tallies, &nothing, still)
            };
            // What an earlier janitor held when it died, then the dead.
            let mut swept = account(Janitor::PARTICIPANT).unwrap_or_default();
            for who in janitor.dead() {
                if let Some(more) = account(who) {
                    swept += more;
                    janitor.bury(who);
                }
            }
            channel.wake_after_sweep(&swept);
        })?;
        let owner = owner(membership.participant());
        // Before anything is counted in our row.
        words.rows.fetch_max(u64::from(membership.participant().row) + 1, Ordering::AcqRel);
        let channel = match create {
            true => Channel::create(&region, channel_at, &shape.ring(), owner),
            false => Channel::attach(&region, channel_at, &shape.ring(), owner),
        };
        let channel = channel.inspect_err(|_| membership.leave())?;
        let core = Arc::new(Self {
            segment,
            shape,
            channel,
            membership,
            words,
            tallies,
            in_hand: InHand::default(),
            join_pace: Pace::default(),
            forked: OnceLock::new(),
        });
        // Whoever comes tidies up: where many come and die, nobody may ever be idle long enough to.
        core.look_around();
        core.awake();
        Ok(core)
    }

    /// This process's attachment: this one, or another one if we are a forked copy of whoever made it.
    #[inline]
    pub(crate) fn here(&self) -> Result<&Self, OpenError> {
        if self.membership.is_inherited() { self.rejoin() } else { Ok(self) }
    }

    /// A block that this process has in hand; `None`, and the block untouched, in a forked copy of the one that has it.
    pub(crate) fn ours<'q>(&self, block: Block<'q>) -> Option<Block<'q>> {
        if self.membership.is_inherited() {
            std::mem::forget(block);
            return None;
        }
        Some(block)
    }

    #[cold]
    fn rejoin(&self) -> Result<&Self, OpenError> {
        let core = match self.forked.get() {
            Some(core) => core,
            None => {
                let core = Self::build(self.segment.clone(), self.shape, false)?;
                self.forked.get_or_init(|| core)
            }
        };
        core.here()
    }

    /// What participants have written, from the first to the last that ever was.
    pub(crate) fn tallies_in_use(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.iter().take((read(&self.words.rows) as usize).saturating_add(1))
    }

    pub(crate) fn name(&self) -> &str {
        self.segment.name()
    }

    #[inline]
    pub(crate) fn tally(&self) -> Option<&Tally> {
        tally_of(&self.tallies, self.membership.participant())
    }

    /// The lanes that a get looks into, first things first.
    #[inline]
    pub(crate) fn lanes(&self) -> &'static [Lane] {
        match self.shape.flavor {
            Flavor::Joinable => &[Lane::Returned, Lane::Main],
            _ => &[Lane::Main],
        }
    }

    #[inline(always)]
    pub(crate) fn push(&self, message: &[u8], deadline: Deadline) -> Result<(), PutError> {
        let done = self.channel.push(message, deadline, || self.look_around());
        self.awake();
        done
    }

    #[inline(always)]
    pub(crate) fn take(&self, deadline: Deadline) -> Result<Block<'_>, GetError> {
        match self.channel.take_first(self.lanes()) {
            Ok(block) => {
                self.awake();
                Ok(block)
            }
            Err(end) => self.take_later(end, deadline),
        }
    }

    /// As [`take`](Self::take), after a look that ended so.
    pub(crate) fn take_later(&self, end: TakeError, deadline: Deadline) -> Result<Block<'_>, GetError> {
        let taken = self.channel.take_later(end, self.lanes(), deadline, || self.look_around());
        self.awake();
        taken
    }

    /// Values waiting, those that came back included.
    pub(crate) fn len(&self) -> usize {
        let ring = self.channel.ring();
        ring.len() + ring.len_of(Lane::Returned)
    }

    pub(crate) fn is_empty(&self) -> bool {
        let ring = self.channel.ring();
        !self.lanes().iter().any(|&lane| ring.has_message(lane))
    }

    /// Looks for dead participants and accounts for what they held, unless someone did so a moment ago. Returns how long the
    /// caller may sleep until its next look.
    pub(crate) fn look_around(&self) -> Duration {
        let due = watch::due(&self.words.looked);
        if let Some(how) = due {
            self.sweep_the_dead(how);
            self.channel.nudge(self.lanes());
        }
        let Some(tally) = self.tally() else { return SLICE };
        tally.asleep.store(1, Ordering::Relaxed);
        watch::next_slice(self.tallies_in_use(), tally, due.is_some())
    }

    /// Says that this process sleeps no more, if it did.
    #[inline]
    pub(crate) fn awake(&self) {
        if let Some(tally) = self.tally()
            && tally.asleep.load(Ordering::Relaxed) != 0
        {
            tally.asleep.store(0, Ordering::Relaxed);
        }
    }

    /// Looks for dead participants and accounts for what they held. Idempotent; anyone may do it, several at once.
    fn sweep_the_dead(&self, how: Look) {
        for who in self.membership.others() {
            if self.membership.is_dead(who, how)
                && let Some(swept) = self.account_for(who)
            {
                self.membership.bury(who);
                self.wake_after_sweep(&swept);
            }
        }
    }

    /// Wakes those for whom a sweep has something.
    fn wake_after_sweep(&self, swept: &Swept) {
        self.channel.wake_after_sweep(swept);
        self.words.all_done.wake_all_if(|| self.unfinished() == 0);
    }

    /// Frees, returns or counts everything that a dead participant, or one that leaves, has in its hands. `None`: not all of it.
    fn account_for(&self, who: Participant) -> Option<Swept> {
        let me = self.membership.participant();
        let still = || who == me || self.membership.is_there(who);
        account_for(who, me, &self.shape, &self.channel, &self.tallies, &self.in_hand, still)
    }
}

/// The caller, who writes to the tally of `me`, holds its `in_hand`.
fn account_for(
    who: Participant,
    me: Participant,
    shape: &Shape,
    channel: &Channel,
    tallies: &Array<Tally>,
    in_hand: &InHand,
    is_still_there: impl Fn() -> bool,
) -> Option<Swept> {
    let (theirs, ours) = (tally_of(tallies, who)?, tally_of(tallies, me)?);
    let orphans = match shape.flavor {
        Flavor::Joinable => Orphans::Redeliver { max_deliveries: shape.max_deliveries() },
        _ => Orphans::Drop,
    };
    let _finishing = in_hand.lock();
    let done = theirs.finished();
    let swept = channel.ring().sweep(owner(who), done, orphans, is_still_there, |lost| ours.complete(lost)).ok()?;
    // Only a hint for the order in which sleepers wake up.
    theirs.asleep.store(0, Ordering::Relaxed);
    Some(swept)
}

/// Takes a place in the table. If there is none, clears away the dead first: there may be no member left to do it.
fn join(segment: &Segment, clear: impl FnOnce(&Janitor)) -> Result<Membership, OpenError> {
    let table = segment.participants().ok_or_else(|| segment.refuse(Flaw::Geometry("no participants".into())))?;
    let joined = match table.join() {
        Err(JoinError::Full(_)) => {
            if let Some(janitor) = table.janitor() {
                clear(&janitor);
            }
            table.join()
        }
        other => other,
    };
    joined.map_err(|source| OpenError::Join { queue: segment.name().to_owned(), source })
}

impl Drop for Core {
    fn drop(&mut self) {
        if !self.membership.is_inherited() {
            // What is still in hand goes the way of the dead's: a joinable queue delivers it to someone else.
            if let Some(swept) = self.account_for(self.membership.participant()) {
                self.membership.leave();
                self.wake_after_sweep(&swept);
            }
        }
    }
}

/// For counters that only grow.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
