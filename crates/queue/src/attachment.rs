//! The attachment of this process to one queue, which all its handles there share: what it is made of, how it begins and ends,
//! and the way of a message through it.
//!
//! What it does besides lies in a file for each matter: values in hand in `done`, the end after a shutdown in `ending`, the looks
//! for the dead in `watch`, what the dead held in `sweep`.

use crate::done::InHand;
use crate::ending::{self, Waiters};
use crate::error::OpenError;
use crate::layout::{Flavor, QueueWords, Shape, Tally, tally_of};
use crate::registry::{self, Share};
use crate::sweep::{Sweeper, owner};
use crate::waiting::WaitLists;
use multiproc_prim::{Array, AtomicU64, Deadline, Hint, Ordering, Place, monotonic_millis};
use multiproc_ring::mpmc::Lane;
use multiproc_shm::{AttachError, FileId, Flaw, Membership, ParticipantError, Segment, SegmentName, Watched, file_id};
use multiproc_sync::{Channel, ChannelBlock, ChannelError, ChannelPopError, Look, Pace, Wait};
use multiproc_travel::pass;
use serde::{Deserialize, Deserializer, Serializer};
use std::cell::OnceCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};

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
    pub(crate) wait_lists: WaitLists,
    /// Operations of this process, roughly.
    pub(crate) operations: Hint,
    /// The registry's key for it.
    pub(crate) file: FileId,
    /// Whether it was made for messages of the type `String`. Then none of its messages is anything else.
    pub(crate) texts_only: bool,
    /// For the watcher of the dead and the threads' lists, which must not keep the attachment alive.
    pub(crate) itself: Weak<Attachment>,
}

/// What stands for `String` and for `Vec<u8>`, whose messages are their bytes.
fn texts_and_bytes() -> [u64; 2] {
    static BOTH: OnceLock<[u64; 2]> = OnceLock::new();
    *BOTH.get_or_init(|| [pass::identity::<String>(), pass::identity::<Vec<u8>>()])
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("queue", &self.segment.name()).finish_non_exhaustive()
    }
}

impl Attachment {
    /// An attachment to a new queue.
    pub(crate) fn create(shape: &Shape, name: Option<&SegmentName>) -> Result<Share, OpenError> {
        let spec = shape.spec()?;
        let fill = |segment: Segment| {
            let file = file_id(segment.as_fd())?;
            registry::attached(file, || Self::build(segment, file, *shape, true))
        };
        match name {
            Some(name) => Segment::create_named(name, &spec, fill),
            None => fill(Segment::create(&spec)?),
        }
    }

    /// The attachment to the queue of a name, if its messages are of the type that `identity` stands for.
    pub(crate) fn open(name: &SegmentName, flavor: Flavor, identity: u64, message_type: &str) -> Result<Share, OpenError> {
        let segment = Segment::open(name, flavor.kind()).map_err(in_words)?;
        let file = file_id(segment.as_fd())?;
        let attachment = registry::attached(file, || Self::attach_segment(segment, file, flavor))?;
        attachment.check(flavor)?;
        if !attachment.holds(identity) {
            let (found, expected) = (attachment.shape.label.to_string(), message_type.to_owned());
            return Err(attachment.segment.refuse(Flaw::MessageType { found, expected }).into());
        }
        Ok(attachment)
    }

    /// The attachment to the queue of a name, whatever its kind and its messages.
    pub(crate) fn open_any(name: &SegmentName) -> Result<Share, OpenError> {
        let segment = Segment::open_any(name)?;
        let refused = |found: &str| Flaw::Kind { found: found.into(), expected: "queue".into() };
        let Some(flavor) = Flavor::of(segment.kind()) else {
            return Err(segment.refuse(refused(&format!("{:?}", segment.kind()))).into());
        };
        let file = file_id(segment.as_fd())?;
        registry::attached(file, || Self::attach_segment(segment, file, flavor))
    }

    /// Whether its messages are of the type that `identity` stands for. Texts and bytes are of one type here.
    pub(crate) fn holds(&self, identity: u64) -> bool {
        let recorded = self.shape.identity;
        recorded == identity || [recorded, identity].iter().all(|identity| texts_and_bytes().contains(identity))
    }

    /// The attachment to the queue behind a descriptor, which is closed if this process has an attachment already.
    pub(crate) fn attach(descriptor: OwnedFd, flavor: Flavor) -> Result<Share, OpenError> {
        let file = file_id(descriptor.as_fd())?;
        let attach = || Self::attach_segment(Segment::attach(descriptor, flavor.kind()).map_err(in_words)?, file, flavor);
        let attachment = registry::attached(file, attach)?;
        attachment.check(flavor)?;
        Ok(attachment)
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
            let in_hand = InHand::default();
            let sweeper = Sweeper { membership: janitor, shape: &shape, channel: &channel, tallies: &tallies, in_hand: &in_hand };
            if sweeper.sweep_the_dead() {
                words.all_done.wake_all();
                if channel.is_shut_down() {
                    channel.wake_everyone();
                }
            }
            in_hand.lock().is_empty()
        })?;
        let owner = owner(membership.participant());
        // Before anything is counted in our row.
        words.rows.fetch_max(u64::from(membership.participant().row) + 1, Ordering::AcqRel);
        let channel = match create {
            true => Channel::create(&region, channel_at, &shape.ring(), owner),
            false => Channel::attach(&region, channel_at, &shape.ring(), owner),
        };
        let channel = channel?;
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
            wait_lists: WaitLists::default(),
            operations: Hint::new(0),
            file,
            // Without a name nothing is recorded, and nothing has to be worked out.
            texts_only: shape.identity != 0 && shape.identity == texts_and_bytes()[0],
            itself: itself.clone(),
        });
        // A new participant tidies up: where many processes come and die, none may ever be idle long enough to do it.
        attachment.sweep_the_dead();
        if !attachment.membership.is_announced() {
            // The kernel would tell nobody of our death: from now on each sleeper has to look for itself.
            attachment.wake_everyone();
        }
        Ok(attachment)
    }

    /// Refuses a queue of another flavour. The registry gives out an attachment without the checks of its segment, and this check
    /// depends on who asks.
    fn check(&self, flavor: Flavor) -> Result<(), OpenError> {
        if self.shape.flavor != flavor {
            let (found, expected) = (self.shape.flavor.kind(), flavor.kind());
            let flaw = Flaw::Kind { found: format!("{found:?}"), expected: format!("{expected:?}") };
            return Err(in_words(self.segment.refuse(flaw)).into());
        }
        Ok(())
    }

    /// An attachment of a forked copy of this process to the same queue.
    pub(crate) fn attach_again(&self) -> Result<Arc<Self>, OpenError> {
        Self::build(self.segment.clone(), self.file, self.shape, false)
    }

    pub(crate) fn name(&self) -> &str {
        self.segment.name()
    }

    /// Values that can wait at once; `None`: unbounded.
    pub(crate) fn capacity(&self) -> Option<usize> {
        self.shape.bounded.then(|| self.channel.ring().capacity())
    }

    /// What this process has written of its own.
    #[inline]
    pub(crate) fn tally(&self) -> Option<&Tally> {
        tally_of(&self.tallies, self.membership.participant())
    }

    /// What participants have written, from the first to the last that ever was.
    pub(crate) fn tallies_in_use(&self) -> impl Iterator<Item = &Tally> {
        self.tallies.iter().take(read(&self.words.rows) as usize)
    }

    /// The lanes that a get looks into, first things first.
    #[inline]
    pub(crate) fn lanes(&self) -> &'static [Lane] {
        match self.shape.flavor {
            Flavor::Joinable => &[Lane::Returned, Lane::Main],
            _ => &[Lane::Main],
        }
    }

    /// Those of them in which something may wait now.
    #[inline(always)]
    pub(crate) fn lanes_now(&self) -> &'static [Lane] {
        match self.shape.flavor {
            Flavor::Joinable if !self.channel.ring().is_plainly_empty(Lane::Returned) => self.lanes(),
            _ => &[Lane::Main],
        }
    }

    /// A message, taken now.
    #[inline(always)]
    pub(crate) fn pop(&self, deadline: Deadline) -> Result<ChannelBlock<'_>, ChannelPopError> {
        let now = self.glance();
        let taken = match self.channel.try_pop_block(self.lanes_now()) {
            Ok(block) => Ok((block, now)),
            Err(_) => self.channel.pop_block(self.lanes(), self.until(deadline)).map(|block| (block, monotonic_millis())),
        };
        self.got();
        let (block, now) = taken?;
        block.note_taken(now);
        Ok(block)
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
}

impl Share {
    /// Writes the queue into a message to another process.
    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if pass::leaves_in_trial() {
            return pass::serialize_stand_in(|| Ok(self.clone()), serializer);
        }
        pass::serialize_descriptor(self.segment.as_fd(), serializer)
    }

    /// A share in the queue that came in a message.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D, flavor: Flavor) -> Result<Self, D::Error> {
        if pass::arrives_in_trial() {
            let is_ours = |share: &Self| share.shape.flavor == flavor;
            return pass::deserialize_stand_in(is_ours, false, deserializer);
        }
        let descriptor = pass::Descriptor::deserialize(deserializer)?;
        Attachment::attach(descriptor.into(), flavor).map_err(pass::refuse)
    }
}

/// The same refusal, with the kinds of queue as users call them.
fn in_words(error: AttachError) -> AttachError {
    match error {
        AttachError::Refused { segment, flaw: Flaw::Kind { found, expected } } => {
            let [found, expected] = [found, expected].map(|kind| Flavor::in_words(&kind).to_owned());
            AttachError::Refused { segment, flaw: Flaw::Kind { found, expected } }
        }
        other => other,
    }
}

/// A wait of one call: until a deadline, with looks for the dead between two sleeps.
pub(crate) struct Until<'a> {
    attachment: &'a Attachment,
    deadline: Deadline,
    /// Tells the other processes that this one waits, and with what in hand: from the first look after a shutdown on.
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

/// Takes a place in the table. If there is none, buries the dead first: there may be no member left to do it. `clear` says
/// whether the janitor has nothing in hand. If it has, it stays as the dead do, and another process sweeps it.
fn join(segment: &Segment, clear: impl FnOnce(&Membership) -> bool) -> Result<Membership, OpenError> {
    let table = segment.participants().ok_or_else(|| segment.refuse(Flaw::Geometry("no participants".into())))?;
    let joined = match table.join() {
        Err(ParticipantError::Full(_)) => {
            if let Ok(mut janitor) = table.join_as_janitor() {
                let has_nothing = clear(&janitor);
                if !has_nothing {
                    janitor.abandon();
                }
            }
            table.join()
        }
        other => other,
    };
    joined.map_err(|why| OpenError::Join { queue: segment.name().to_owned(), why })
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.membership.is_inherited() {
            return;
        }
        self.wait_lists.close();
        // What is still in hand goes the way of what the dead held: a joinable queue delivers it to another consumer.
        self.in_hand.lock().clear();
        let swept = self.sweeper().account_for(self.membership.participant());
        let was_lookout = self.membership.stop_watching();
        if let Some(swept) = swept.filter(|_| self.in_hand.lock().is_empty()) {
            self.membership.leave();
            self.channel.wake_after_sweep(&swept);
            self.wake_if_all_done();
        } else {
            self.membership.abandon();
        }
        if was_lookout {
            self.wake_everyone();
        }
        // Last: a thread that waits to attach anew takes the place that is free now.
        registry::forget(self.file);
    }
}

/// For counters that only grow.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Acquire)
}
