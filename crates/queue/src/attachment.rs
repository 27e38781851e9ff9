//! One process's attachment to one queue: what all its handles share.

use crate::done::InHand;
use crate::ending::{self, Waiters};
use crate::error::OpenError;
use crate::layout::{Flavor, QueueWords, Shape, Tally, tally_of};
use crate::registry;
use crate::watch;
use multiproc_prim::stamp;
use multiproc_prim::{Array, AtomicU64, Deadline, Hint, Ordering, Place, Renewed};
use multiproc_ring::mpmc::{Lane, Orphan, Orphans, Owner, Swept};
use multiproc_shm::{
    AttachError, CreateError, FileId, Flaw, JoinError, Membership, Notice, Participant, Segment, SegmentName, Watched, file_id,
};
use multiproc_sync::{Channel, ChannelBlock, ChannelError, ChannelPopError, Look, Pace, Wait};
use serde::de::DeserializeOwned;
use std::cell::OnceCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

pub(crate) struct Attachment {
    pub(crate) segment: Segment,
    pub(crate) shape: Shape,
    pub(crate) channel: Channel,
    pub(crate) membership: Membership,
    pub(crate) words: Place<QueueWords>,
    pub(crate) tallies: Array<Tally>,
    pub(crate) in_hand: InHand,
    pub(crate) waiters: Waiters,
    pub(crate) join_pace: Pace,
    /// Operations of this process, about.
    operations: Hint,
    /// What the registry knows it by.
    file: FileId,
    /// The attachment of a forked copy of this process, once it has used the queue. Each copy has a cell of its own: it may have
    /// been forked while another thread filled this process's.
    forked: Renewed<OnceLock<Arc<Attachment>>>,
    /// For the watcher of the dead and the threads' lists, which must not keep the attachment alive.
    pub(crate) itself: Weak<Attachment>,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("queue", &self.segment.name()).finish_non_exhaustive()
    }
}

pub(crate) fn owner(who: Participant) -> Owner {
    Owner::new(who.row, who.epoch)
}

impl Attachment {
    pub(crate) fn create(shape: &Shape, name: Option<&SegmentName>) -> Result<Arc<Self>, OpenError> {
        let spec = shape.spec()?;
        let segment = match name {
            Some(name) => Segment::create_to_be_named(name, &spec)?,
            None => Segment::create(&spec)?,
        };
        let what = "look at the queue's memory";
        let file = file_id(segment.as_fd()).map_err(|source| CreateError::System { what, source })?;
        let attachment = registry::attached(file, || Self::build(segment, file, *shape, true))?;
        if let Some(name) = name {
            // Only now, so that nobody finds it half made.
            attachment.segment.give_name(name)?;
        }
        Ok(attachment)
    }

    pub(crate) fn open<T: DeserializeOwned>(name: &str, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        let name = SegmentName::new(name).map_err(|error| OpenError::Attach(error.into()))?;
        let segment = Segment::open(&name, flavor.kind())?;
        let file = file_of(&segment)?;
        let attachment = registry::attached(file, || Self::attach_segment(segment, file, flavor))?.checked(flavor)?;
        if attachment.shape.identity != multiproc_travel::pass::identity::<T>() {
            let expected = multiproc_travel::pass::type_name::<T>();
            return Err(attachment.segment.refuse(Flaw::MessageType { expected }).into());
        }
        Ok(attachment)
    }

    /// The attachment to the queue behind a descriptor, which is closed if this process has one already.
    pub(crate) fn attach(descriptor: OwnedFd, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        let file = file_of(&descriptor)?;
        let attach = || Self::attach_segment(Segment::attach(descriptor, flavor.kind())?, file, flavor);
        registry::attached(file, attach)?.checked(flavor)
    }

    pub(crate) fn is_of(&self, flavor: Flavor) -> bool {
        self.shape.flavor == flavor
    }

    /// An attachment that was found in the registry skipped the checks of its segment, and this one depends on who asks.
    fn checked(self: Arc<Self>, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        if !self.is_of(flavor) {
            let (found, expected) = (self.shape.flavor.kind(), flavor.kind());
            let flaw = Flaw::Kind { found: format!("{found:?}"), expected: format!("{expected:?}") };
            return Err(self.segment.refuse(flaw).into());
        }
        Ok(self)
    }

    fn attach_segment(segment: Segment, file: FileId, flavor: Flavor) -> Result<Arc<Self>, OpenError> {
        let shape = Shape::of(&segment, flavor).map_err(|why| segment.refuse(Flaw::Geometry(why)))?;
        Self::build(segment, file, shape, false)
    }

    fn build(segment: Segment, file: FileId, shape: Shape, create: bool) -> Result<Arc<Self>, OpenError> {
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
            let Ok(channel) = Channel::attach(&region, channel_at, &shape.ring(), owner(janitor.participant())) else {
                return true;
            };
            let nothing = InHand::default();
            for who in janitor.others().filter(|who| janitor.is_dead(*who)) {
                let still = || janitor.is_there(who);
                if let Some(swept) = account_for(who, janitor.participant(), &shape, &channel, &tallies, &nothing, still) {
                    janitor.bury(who);
                    channel.wake_after_sweep(&swept);
                    words.all_done.wake_all();
                    if channel.is_shut_down() {
                        channel.wake_everyone();
                    }
                }
            }
            nothing.lock().is_empty()
        })?;
        let owner = owner(membership.participant());
        // Before anything is counted in our row.
        words.rows.fetch_max(u64::from(membership.participant().row) + 1, Ordering::AcqRel);
        let channel = match create {
            true => Channel::create(&region, channel_at, &shape.ring(), owner),
            false => Channel::attach(&region, channel_at, &shape.ring(), owner),
        };
        let channel = channel.inspect_err(|_| membership.leave())?;
        if let Some(tally) = tally_of(&tallies, membership.participant()) {
            tally.begin(membership.participant());
        }
        let attachment = Arc::new_cyclic(|itself: &Weak<Self>| Self {
            segment,
            shape,
            channel,
            membership,
            words,
            tallies,
            in_hand: InHand::default(),
            waiters: Waiters::default(),
            join_pace: Pace::default(),
            operations: Hint::new(0),
            file,
            forked: Renewed::new(),
            itself: itself.clone(),
        });
        // A process that comes tidies up: where many come and die, nobody may ever be idle long enough to.
        attachment.sweep_the_dead();
        if !attachment.membership.is_announced() {
            // Nobody would be told of our death: from now on each sleeper has to look for itself.
            attachment.wake_everyone();
        }
        Ok(attachment)
    }

    /// This process's attachment: this one, or another one if we are a forked copy of the process that made it.
    #[inline]
    pub(crate) fn here(self: &Arc<Self>) -> Result<&Arc<Self>, OpenError> {
        if self.membership.is_inherited() { self.rejoin() } else { Ok(self) }
    }

    /// A block that this process has in hand; `None`, and the block untouched, in a forked copy of the process that has it.
    pub(crate) fn ours<'q>(&self, block: ChannelBlock<'q>) -> Option<ChannelBlock<'q>> {
        if self.membership.is_inherited() {
            std::mem::forget(block);
            return None;
        }
        Some(block)
    }

    #[cold]
    fn rejoin(self: &Arc<Self>) -> Result<&Arc<Self>, OpenError> {
        let forked = self.forked.get(stamp(), OnceLock::new);
        if let Some(attachment) = forked.get() {
            return Ok(attachment);
        }
        let attachment = registry::attached(self.file, || Self::build(self.segment.clone(), self.file, self.shape, false))?;
        Ok(forked.get_or_init(|| attachment))
    }

    /// What participants have written, from the first to the last that ever was.
    pub(crate) fn tallies_in_use(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.iter().take(read(&self.words.rows) as usize)
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
    pub(crate) fn pop(&self, deadline: Deadline) -> Result<ChannelBlock<'_>, ChannelPopError> {
        self.glance();
        self.channel.pop_block(self.lanes(), self.until(deadline))
    }

    /// How a call on this queue waits.
    #[inline(always)]
    pub(crate) fn until(&self, deadline: Deadline) -> Until<'_> {
        Until { attachment: self, deadline, after_shutdown: OnceCell::new() }
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
            self.give_back_again();
            self.sweep_the_dead();
        }
    }

    /// Between two sleeps: looks for the dead, if it is time. Returns how long the next sleep may take.
    pub(crate) fn look_around(&self) -> Duration {
        self.give_back_again();
        if watch::is_due(&self.words.looked) {
            self.sweep_the_dead();
            self.channel.nudge(self.lanes());
        }
        let notice = self.membership.keep_watch(&self.itself);
        if notice == Notice::Us {
            self.sweep_the_dead();
        }
        let rest = match notice {
            Notice::Nobody => watch::ALONE,
            Notice::Lookout | Notice::Us => watch::rest(self.membership.others().count()),
        };
        if self.channel.is_shut_down() { rest.min(watch::LAST) } else { rest }
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
            self.wake_if_all_done();
        }
    }

    /// Frees, returns or counts everything that a dead participant, or one that leaves, has in its hands. `None`: not all of it.
    fn account_for(&self, who: Participant) -> Option<Swept> {
        let me = self.membership.participant();
        let still = || who == me || self.membership.is_there(who);
        account_for(who, me, &self.shape, &self.channel, &self.tallies, &self.in_hand, still)
    }
}

/// A wait of one call: until a deadline, with looks for the dead between two sleeps.
pub(crate) struct Until<'a> {
    attachment: &'a Attachment,
    deadline: Deadline,
    /// Tells others that we wait, and with what in hand: from the first look after a shutdown on.
    after_shutdown: OnceCell<Option<ending::Wait<'a>>>,
}

impl Wait for Until<'_> {
    #[inline(always)]
    fn deadline(&self) -> Deadline {
        self.deadline
    }

    fn look_around(&mut self) -> Look {
        self.attachment.look_around().into()
    }

    fn is_over(&mut self) -> bool {
        let wait = self.after_shutdown.get_or_init(|| self.attachment.wait_after_shutdown());
        self.attachment.is_over(wait.as_ref())
    }
}

impl Watched for Attachment {
    fn look(&self) {
        if !self.membership.is_inherited() {
            self.give_back_again();
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
    is_still_there: impl Fn() -> bool + Copy,
) -> Option<Swept> {
    let (theirs, ours) = (tally_of(tallies, who)?, tally_of(tallies, me)?);
    let orphans = match shape.flavor {
        Flavor::Joinable => Orphans::Redeliver { max_deliveries: shape.max_deliveries() },
        _ => Orphans::Drop,
    };
    let mut waiting = in_hand.lock();
    let tell = |orphan: Orphan<'_>| match orphan {
        Orphan::Lost(held) => ours.complete(held),
        Orphan::Unsent(held) => waiting.push((held, shape.max_deliveries())),
    };
    channel.ring().sweep(owner(who), theirs.finished(), orphans, is_still_there, tell).ok()
}

/// Takes a place in the table. If there is none, clears away the dead first: there may be no member left to do it. `clear` says whether the
/// janitor has nothing in hand; else it goes as the dead do, and is swept in turn.
fn join(segment: &Segment, clear: impl FnOnce(&Membership) -> bool) -> Result<Membership, OpenError> {
    let table = segment.participants().ok_or_else(|| segment.refuse(Flaw::Geometry("no participants".into())))?;
    let joined = match table.join() {
        Err(JoinError::Full(_)) => {
            if let Ok(janitor) = table.join_as_janitor()
                && clear(&janitor)
            {
                janitor.leave();
            }
            table.join()
        }
        other => other,
    };
    joined.map_err(|source| OpenError::Join { queue: segment.name().to_owned(), source })
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.membership.is_inherited() {
            return;
        }
        // What is still in hand goes the way of the dead's: a joinable queue delivers it to someone else.
        self.in_hand.lock().clear();
        let swept = self.account_for(self.membership.participant());
        let was_lookout = self.membership.stop_watching();
        if let Some(swept) = swept.filter(|_| self.in_hand.lock().is_empty()) {
            self.membership.leave();
            self.channel.wake_after_sweep(&swept);
            self.wake_if_all_done();
        }
        if was_lookout {
            self.wake_everyone();
        }
        // Last: a thread that waits to attach anew takes the place that is free now.
        registry::forget(self.file);
    }
}

fn file_of(file: impl AsFd) -> Result<FileId, OpenError> {
    let what = "look at the queue's memory";
    Ok(file_id(file.as_fd()).map_err(|source| AttachError::System { what, source })?)
}

/// For counters that only grow.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
