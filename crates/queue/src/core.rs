//! One process's attachment to one queue: what all its handles share.

use crate::done::{InHand, complete};
use crate::error::OpenError;
use crate::layout::{Buffered, Flavor, QueueWords, Shape, Tally, tally_of};
use crate::overflow::Overflow;
use crate::watch;
use multiproc_prim::{Array, AtomicU64, Deadline, Hint, Ordering, Place};
use multiproc_ring::mpmc::{Block, Completion, Lane, Orphans, Owner, Swept, TakeError};
use multiproc_shm::{Finish, Flaw, JoinError, Membership, Notice, Participant, Segment, SegmentName, Watched, finish_at_exit};
use multiproc_sync::{Channel, ChannelError, GetError, Pace, PutError};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

pub(crate) struct Core {
    pub(crate) segment: Segment,
    pub(crate) shape: Shape,
    pub(crate) channel: Channel,
    pub(crate) membership: Membership,
    pub(crate) words: Place<QueueWords>,
    pub(crate) tallies: Array<Tally>,
    pub(crate) in_hand: InHand,
    pub(crate) overflow: Overflow,
    pub(crate) join_pace: Pace,
    /// Operations of this process, about.
    operations: Hint,
    /// Whether this process made the queue.
    pub(crate) creator: bool,
    /// The attachment of a forked copy of this process, once it has used the queue.
    forked: OnceLock<Arc<Core>>,
    /// For the background thread, which must not keep the handles' share alive.
    itself: Weak<Core>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("queue", &self.segment.name()).finish_non_exhaustive()
    }
}

pub(crate) fn owner(who: Participant) -> Owner {
    Owner::new(who.row, who.epoch as u32)
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
        region.owner().commit(at..at + shape.channel_at()).map_err(ChannelError::from)?;
        let (words, tallies) = shape.words(&region, at).map_err(ChannelError::from)?;
        if create {
            words.make_fresh();
            tallies.make_fresh();
        }
        let channel_at = at + shape.channel_at();
        let membership = join(&segment, |janitor| {
            let Ok(channel) = Channel::attach(&region, channel_at, &shape.ring(), owner(janitor.participant())) else { return };
            let nothing = InHand::default();
            for who in janitor.others().filter(|who| janitor.is_dead(*who)) {
                let swept = account_for(who, janitor.participant(), &shape, &channel, &tallies, &nothing);
                if swept.is_some_and(|swept| {
                    channel.wake_after_sweep(&swept);
                    janitor.bury(who)
                }) {
                    words.all_done.wake_all();
                }
            }
        })?;
        let owner = owner(membership.participant());
        // Before anything is counted in our row.
        words.rows.fetch_max(u64::from(membership.participant().row) + 1, Ordering::AcqRel);
        let channel = match create {
            true => Channel::create(&region, channel_at, &shape.ring(), owner),
            false => Channel::attach(&region, channel_at, &shape.ring(), owner),
        };
        let channel = channel.inspect_err(|_| membership.leave())?;
        let core = Arc::new_cyclic(|itself: &Weak<Self>| Self {
            segment,
            shape,
            channel,
            membership,
            words,
            tallies,
            in_hand: InHand::default(),
            overflow: Overflow::default(),
            join_pace: Pace::default(),
            operations: Hint::new(0),
            creator: create,
            forked: OnceLock::new(),
            itself: itself.clone(),
        });
        let weak: Weak<Self> = Arc::downgrade(&core);
        finish_at_exit(weak);
        // Who comes tidies up: where many come and die, nobody may ever be idle long enough to.
        core.sweep_the_dead();
        if !core.membership.is_announced() {
            // Nobody would be told of our death: who sleeps has to look for itself from now on.
            core.wake_everyone();
        }
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
        self.tallies.iter().take(read(&self.words.rows) as usize)
    }

    pub(crate) fn share(&self) -> Option<Arc<Self>> {
        self.itself.upgrade()
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
        self.glance();
        self.channel.push(message, deadline, || self.look_around())
    }

    #[inline(always)]
    pub(crate) fn take(&self, deadline: Deadline) -> Result<Block<'_>, GetError> {
        self.glance();
        match self.channel.take_first(self.lanes()) {
            Ok(block) => Ok(block),
            Err(end) => self.take_later(end, deadline),
        }
    }

    /// As [`take`](Self::take), after a look that ended so.
    pub(crate) fn take_later(&self, end: TakeError, deadline: Deadline) -> Result<Block<'_>, GetError> {
        self.channel.take_later(end, self.lanes(), deadline, || self.look_around())
    }

    /// Values waiting, those that came back and those in this process's buffer included.
    pub(crate) fn len(&self) -> usize {
        let ring = self.channel.ring();
        ring.len() + ring.len_of(Lane::Returned) + self.overflow.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        let ring = self.channel.ring();
        self.overflow.len() == 0 && !self.lanes().iter().any(|&lane| ring.has_message(lane))
    }

    /// Before an operation: looks for the dead, if it is time. What they had in hand comes before new values.
    #[inline(always)]
    pub(crate) fn glance(&self) {
        /// Operations between two looks at the clock, where no value can come back.
        const SELDOM: u64 = 64;
        let joinable = self.shape.flavor == Flavor::Joinable;
        if !joinable {
            let count = self.operations.get().wrapping_add(1);
            self.operations.set(count);
            if !count.is_multiple_of(SELDOM) {
                return;
            }
        }
        if watch::is_due(&self.words.looked) {
            self.sweep_the_dead();
        }
    }

    /// Between two sleeps: looks for the dead, if it is time. Returns how long the next sleep may take.
    pub(crate) fn look_around(&self) -> Duration {
        if watch::is_due(&self.words.looked) {
            self.sweep_the_dead();
            self.channel.nudge(self.lanes());
        }
        match self.membership.keep_watch(&self.itself) {
            Notice::Nobody => watch::ALONE,
            Notice::Lookout => watch::REST,
            Notice::Us => {
                self.sweep_the_dead();
                watch::REST
            }
        }
    }

    /// Looks for dead participants and accounts for what they held. Idempotent; anyone may do it, several at once.
    #[cold]
    fn sweep_the_dead(&self) {
        let mut buried = false;
        for who in self.membership.others().filter(|who| self.membership.is_dead(*who)) {
            if let Some(swept) = self.account_for(who) {
                self.membership.bury(who);
                self.channel.wake_after_sweep(&swept);
                buried = true;
            }
        }
        if buried {
            // A wake-up may have gone to a process that died before it acted.
            self.channel.nudge(self.lanes());
            self.words.all_done.wake_all_if(|| self.unfinished() == 0);
        }
    }

    /// Frees, returns or counts everything that a dead participant, or one that leaves, has in its hands. `None`: not all of it.
    fn account_for(&self, who: Participant) -> Option<Swept> {
        let me = self.membership.participant();
        account_for(who, me, &self.shape, &self.channel, &self.tallies, &self.in_hand)
    }
}

impl Watched for Core {
    fn look(&self) {
        if !self.membership.is_inherited() {
            self.sweep_the_dead();
        }
    }

    fn wake_everyone(&self) {
        self.channel.wake_everyone();
        self.words.all_done.wake_all();
    }
}

/// Writes to the tally of `me` while it holds its `in_hand`.
fn account_for(
    who: Participant,
    me: Participant,
    shape: &Shape,
    channel: &Channel,
    tallies: &Array<Tally>,
    in_hand: &InHand,
) -> Option<Swept> {
    let (theirs, ours) = (tally_of(tallies, who)?, tally_of(tallies, me)?);
    let orphans = match shape.flavor {
        Flavor::Joinable => Orphans::Redeliver { max_deliveries: shape.max_deliveries() },
        _ => Orphans::Drop,
    };
    let _finishing = in_hand.lock();
    let done = Completion(read(&theirs.done));
    let swept = channel.ring().sweep(owner(who), done, orphans, |lost| complete(ours, lost)).ok()?;
    // What was only in its buffer went with it. If the row is another's by now, this is no longer its count, and stays.
    let buffered = Buffered(theirs.buffered.load(Ordering::Relaxed));
    if buffered.is_of(who) {
        let _ = theirs.buffered.compare_exchange(buffered.0, 0, Ordering::Release, Ordering::Relaxed);
    }
    Some(swept)
}

/// Takes a place in the table. If there is none, clears away the dead first: there may be no member left to do it.
fn join(segment: &Segment, clear: impl FnOnce(&Membership)) -> Result<Membership, OpenError> {
    let table = segment.participants().ok_or_else(|| segment.refuse(Flaw::Geometry("no participants".into())))?;
    let joined = match table.join() {
        Err(JoinError::Full(_)) => {
            if let Ok(janitor) = table.join_as_janitor() {
                clear(&janitor);
                janitor.leave();
            }
            table.join()
        }
        other => other,
    };
    joined.map_err(|source| OpenError::Join { queue: segment.name().to_owned(), source })
}

impl Finish for Core {
    /// Waits until the buffer is written out, unless this process made the queue or was told not to.
    fn finish(&self) {
        // A forked copy has the buffer of its parent, but not the thread that writes it out.
        if !self.creator && !self.membership.is_inherited() {
            let _ = self.overflow.wait_until_written(Deadline::NEVER, false);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.membership.is_inherited() {
            return;
        }
        // What is still in hand goes the way of the dead's: a joinable queue delivers it to someone else.
        let swept = self.account_for(self.membership.participant());
        let was_lookout = self.membership.stop_watching();
        if let Some(swept) = swept {
            self.membership.leave();
            self.channel.wake_after_sweep(&swept);
            self.words.all_done.wake_all_if(|| self.unfinished() == 0);
        }
        if was_lookout {
            self.wake_everyone();
        }
    }
}

/// For counters that only grow.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
