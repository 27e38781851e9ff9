//! A look at a queue of any kind and any type of message: for programs that watch queues, as the command `multiproc` does.

use crate::attachment::Attachment;
use crate::delivery::DEAD_LANES;
use crate::error::{GetError, OpenError};
use crate::holders::Holder;
use crate::layout::Flavor;
use crate::registry::Share;
use multiproc_ring::mpmc::{Lane, MessageId, Seen, Unfinished};
use multiproc_shm::{Segment, SegmentName};
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;

/// The names of this user's queues, in order. Python has no counterpart.
///
/// What has such a name may be another program's file: [`Overview::open`] tells.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::{Queue, queue_names, remove_queue};
///
/// let queue: Queue<u32> = Queue::builder().named("of-the-names-example").open_or_create()?;
/// assert!(queue_names()?.contains(&"of-the-names-example".to_string()));
/// # remove_queue("of-the-names-example")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The directory of named queues belongs to another user or lets others in, or the system refuses.
pub fn queue_names() -> Result<Vec<String>, OpenError> {
    Ok(Segment::names()?.iter().map(SegmentName::to_string).collect())
}

/// A queue with a name, of any kind and any type of message, opened to look at it. Python has no counterpart.
///
/// It takes one of the queue's places for processes, as a handle does. Looking takes nothing out, and disturbs nobody.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::{JoinableQueue, Overview, remove_queue};
///
/// # let name = &format!("of-the-overview-example-{}", std::process::id());
/// let jobs: JoinableQueue<String> = JoinableQueue::builder().named(name).build()?;
/// jobs.put("first".into())?;
/// jobs.put("second".into())?;
/// let job = jobs.get_delivery()?;
///
/// let overview = Overview::open(name)?;
/// assert_eq!((overview.message_type().as_str(), overview.len(), overview.unfinished()), ("String", 1, 2));
/// let in_hand: Vec<_> = overview.in_hand().collect();
/// let waiting: Vec<_> = overview.waiting().collect::<Result<_, _>>()?;
/// assert_eq!((in_hand[0].id, in_hand[0].bytes.as_slice()), (job.id(), b"first".as_slice()));
/// assert_eq!(waiting[0].bytes, b"second");
/// # job.done();
/// # remove_queue(name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Overview {
    share: Share,
}

/// What kind of queue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueKind {
    /// A [`Queue`](crate::Queue).
    Queue,
    /// A [`JoinableQueue`](crate::JoinableQueue).
    JoinableQueue,
    /// A [`SimpleQueue`](crate::SimpleQueue).
    SimpleQueue,
}

/// A process that has a queue open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// The process, as its own pid namespace numbers it.
    pub pid: u32,
    /// Whether it lives. The place of a dead process comes free, within 100 ms as a rule.
    pub is_alive: bool,
}

/// A message, as it was when an [`Overview`] passed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Glimpse {
    /// Its id, as a [`Delivery`](crate::Delivery::id) has it.
    pub id: MessageId,
    /// Where it is.
    pub place: Place,
    /// How often it was delivered; a delivery that it is in now counts.
    pub deliveries: u16,
    /// How the last delivery ended that has; `None` if none has, or while it is in hand.
    pub ended: Option<Unfinished>,
    /// The message as it is encoded: the content itself, if its type is `String` or `Vec<u8>`.
    pub bytes: Vec<u8>,
}

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In the hands of a process.
    InHand {
        /// The process, as its own pid namespace numbers it.
        pid: u32,
        /// How long it has had the message.
        held_for: Duration,
    },
    /// In the queue.
    Waiting,
    /// Among the dead letters.
    Dead,
}

impl Overview {
    /// Opens the queue of this name.
    ///
    /// # Errors
    ///
    /// There is none, or what has the name is no queue of this user and this version of the library.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let name = SegmentName::new(name).map_err(|error| OpenError::Attach(error.into()))?;
        Ok(Self { share: Attachment::open_any(&name)? })
    }

    fn here(&self) -> &Attachment {
        // A forked copy that can't attach itself sees what its parent's attachment sees.
        self.share.here().unwrap_or(&self.share)
    }

    /// Returns the kind of the queue.
    pub fn kind(&self) -> QueueKind {
        match self.here().shape.flavor {
            Flavor::Queue => QueueKind::Queue,
            Flavor::Joinable => QueueKind::JoinableQueue,
            Flavor::Simple => QueueKind::SimpleQueue,
        }
    }

    /// Returns the name of the type of its messages, without modules; of a long name the first 128 bytes.
    pub fn message_type(&self) -> String {
        self.here().shape.label.to_string()
    }

    /// Returns whether it opens as a queue of `T`, if the [kind](Self::kind) is right, too.
    pub fn holds<T: DeserializeOwned>(&self) -> bool {
        self.here().holds(pass::identity::<T>())
    }

    /// Counts the values that wait, at some moment of the call.
    pub fn len(&self) -> usize {
        self.here().look_to_count().len()
    }

    /// Returns whether no value waits.
    pub fn is_empty(&self) -> bool {
        self.here().look_to_count().is_empty()
    }

    /// Returns how many values can wait at once; `None` for a queue that grows.
    pub fn capacity(&self) -> Option<usize> {
        self.here().capacity()
    }

    /// Counts the values of a `JoinableQueue` that were put and are not done; 0 for other kinds.
    pub fn unfinished(&self) -> usize {
        let here = self.here();
        if here.shape.flavor == Flavor::Joinable { here.look_to_count().unfinished() as usize } else { 0 }
    }

    /// Counts the dead letters; 0 for kinds that have none.
    pub fn dead_len(&self) -> usize {
        self.here().look_to_count().dead_len()
    }

    /// Counts the values that died with a consumer, as [`Queue::lost`](crate::Queue::lost) does; 0 for a `JoinableQueue`, which loses
    /// none.
    pub fn lost(&self) -> u64 {
        let here = self.here();
        if here.shape.flavor == Flavor::Joinable { 0 } else { here.look_to_count().lost() }
    }

    /// Returns the number of deliveries after which a value is put aside; `None`: never.
    pub fn max_deliveries(&self) -> Option<u16> {
        self.here().shape.max_deliveries()
    }

    /// Counts the puts since the queue was made. The difference between two moments is the rate.
    pub fn puts(&self) -> u64 {
        self.here().channel.ring().pushed(Lane::Main)
    }

    /// Counts the values that were taken out since the queue was made, each value once.
    pub fn gets(&self) -> u64 {
        let ring = self.here().channel.ring();
        // The number of puts comes first: what is put in between can make this too small, and never too large.
        let puts = ring.pushed(Lane::Main);
        puts.saturating_sub(ring.len() as u64)
    }

    /// Returns whether nobody can put any more.
    pub fn is_shut_down(&self) -> bool {
        self.here().channel.is_shut_down()
    }

    /// Ends puts through all handles, as [`Queue::shutdown`](crate::Queue::shutdown) does.
    pub fn shutdown(&self) {
        self.here().channel.shut_down();
    }

    /// Lists who has what in hand of a `JoinableQueue`, as [`JoinableQueue::holders`](crate::JoinableQueue::holders) does. No other kind
    /// knows.
    pub fn holders(&self) -> Vec<Holder> {
        self.here().look_to_count().holders()
    }

    /// Lists the processes that have the queue open, this one included.
    pub fn participants(&self) -> Vec<ParticipantInfo> {
        let membership = &self.here().membership;
        let everyone = membership.others().chain([membership.participant()]);
        let info = |who| Some(ParticipantInfo { pid: membership.process_of(who)?.pid, is_alive: !membership.is_dead(who) });
        everyone.filter_map(info).collect()
    }

    /// Returns how many processes can have the queue open at once.
    pub fn max_participants(&self) -> u32 {
        self.here().shape.participants
    }

    /// Returns how much memory the queue has now, in bytes; 0 if the system does not say.
    pub fn memory(&self) -> u64 {
        self.here().segment.resident().unwrap_or(0)
    }

    /// Returns how much memory its messages may use, in bytes.
    pub fn memory_limit(&self) -> u64 {
        self.here().shape.memory
    }

    /// Returns the length in bytes that a message may have at least, as the builder set it.
    pub fn max_message(&self) -> u64 {
        self.here().shape.max_message
    }

    /// Copies the messages in hand, one at a time, with who has them. Nothing is taken. A message that changes its place meanwhile may
    /// be left out here and in the other two lists, or be in two of them.
    pub fn in_hand(&self) -> impl Iterator<Item = Glimpse> {
        let here = self.here().look_to_count();
        here.in_hand().filter_map(|(holder, in_hand)| {
            let bytes = here.channel.ring().bytes_in_hand(&in_hand)?;
            let place = Place::InHand { pid: holder.pid, held_for: holder.held_for };
            Some(Glimpse { id: holder.id, place, deliveries: holder.deliveries, ended: None, bytes })
        })
    }

    /// Copies the messages that wait, one at a time, in the order in which they will be delivered. Nothing is taken.
    ///
    /// # Errors
    ///
    /// An item is [`GetError::Corrupt`] or [`GetError::NoMemory`] where a message can't be read. Messages behind it may be left out.
    pub fn waiting(&self) -> impl Iterator<Item = Result<Glimpse, GetError>> {
        let here = self.here().look_to_count();
        self.in_lanes(here.lanes(), Place::Waiting)
    }

    /// Copies the dead letters, one at a time, in the order in which [`try_get_dead`](crate::JoinableQueue::try_get_dead) takes them.
    /// None is taken.
    ///
    /// # Errors
    ///
    /// As [`waiting`](Self::waiting).
    pub fn dead(&self) -> impl Iterator<Item = Result<Glimpse, GetError>> {
        self.in_lanes(&DEAD_LANES, Place::Dead)
    }

    fn in_lanes(&self, lanes: &'static [Lane], place: Place) -> impl Iterator<Item = Result<Glimpse, GetError>> {
        let here = self.here();
        lanes.iter().flat_map(|&lane| here.channel.ring().waiting(lane)).map(move |seen| {
            let Seen { id, deliveries, ended, bytes } = seen.map_err(|error| here.get_error(error.into()))?;
            Ok(Glimpse { id, place, deliveries, ended, bytes })
        })
    }
}

impl fmt::Debug for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.here();
        f.debug_struct("Overview").field("name", &here.name()).field("kind", &self.kind()).finish_non_exhaustive()
    }
}

impl fmt::Display for QueueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Queue => "Queue",
            Self::JoinableQueue => "JoinableQueue",
            Self::SimpleQueue => "SimpleQueue",
        })
    }
}
