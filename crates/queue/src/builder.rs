//! Everything that can be chosen about a queue.

use crate::attachment::Attachment;
use crate::error::OpenError;
use crate::joinable::JoinableQueue;
use crate::layout::{Flavor, Shape};
use crate::queue::Queue;
use multiproc_shm::{MAX_PARTICIPANTS, SegmentName};
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Slots that an unbounded queue starts with. It grows fourfold each time they are used up.
const UNBOUNDED_SLOTS: u32 = 1 << 10;
/// More than any system has. Nothing of it is reserved.
const MEMORY: u64 = 1 << 42;
const MAX_MESSAGE: u64 = 256 << 20;
const PARTICIPANTS: u32 = MAX_PARTICIPANTS;

/// Queues whose type of message can be recorded beside their name.
pub trait Typed {
    /// A number for the type of message: the same in every program, and another one for types that are encoded in another way.
    fn identity() -> u64;
}

impl<T: DeserializeOwned> Typed for Queue<T> {
    fn identity() -> u64 {
        pass::identity::<T>()
    }
}

impl<T: DeserializeOwned> Typed for JoinableQueue<T> {
    fn identity() -> u64 {
        pass::identity::<T>()
    }
}

/// Builds a [`Queue`](crate::Queue) or [`JoinableQueue`](crate::JoinableQueue) of other than the usual make.
///
/// ```
/// use multiproc_queue::Queue;
///
/// let queue: Queue<String> = Queue::builder().bounded(3).max_message(1 << 20).build()?;
/// assert_eq!(queue.capacity(), Some(3));
/// # Ok::<(), multiproc_queue::OpenError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing before build()"]
pub struct Builder<Q> {
    shape: Shape,
    max_message: Option<u64>,
    name: Option<String>,
    make: fn(Arc<Attachment>) -> Q,
}

impl<Q> Builder<Q> {
    pub(crate) fn new(flavor: Flavor, make: fn(Arc<Attachment>) -> Q) -> Self {
        let shape = Shape {
            flavor,
            slots: UNBOUNDED_SLOTS,
            bounded: false,
            memory: MEMORY,
            max_message: MAX_MESSAGE,
            max_deliveries: 0,
            participants: PARTICIPANTS,
            identity: 0,
        };
        Self { shape, max_message: None, name: None, make }
    }

    /// At most this many values wait at once, exactly: 1 to 4,194,304. Puts wait when it is full.
    pub fn bounded(mut self, capacity: u32) -> Self {
        self.shape.slots = capacity;
        self.shape.bounded = true;
        self
    }

    /// Most bytes of memory for messages, in equal parts for the eight to twelve sizes of blocks that hold them. Default: as much as
    /// the system has. Nothing is reserved: the queue grows as messages come.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.shape.memory = bytes;
        self
    }

    /// Longest message in bytes, as encoded. Default: 256 MiB, or a sixteenth of the memory where that is less.
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.max_message = Some(bytes);
        self
    }

    /// Processes that can have the queue open at once: 1 to 1016, the default.
    pub fn participants(mut self, processes: u32) -> Self {
        self.shape.participants = processes;
        self
    }

    /// Deliveries after which a value that was never done is put aside, to be read with
    /// [`try_get_dead`](crate::JoinableQueue::try_get_dead). At most 32,767. Default, or 0: no limit. For a `JoinableQueue`.
    pub fn max_deliveries(mut self, deliveries: u16) -> Self {
        self.shape.max_deliveries = deliveries.min(i16::MAX as u16);
        self
    }

    /// Gives the queue a name under which other programs of the same user can open it, until the name is removed. What type its
    /// messages have is recorded: opening it as another one is refused.
    pub fn named(mut self, name: impl Into<String>) -> Self
    where
        Q: Typed,
    {
        self.shape.identity = Q::identity();
        self.name = Some(name.into());
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// The numbers make no queue, the name is taken, or the system has no memory or descriptors left.
    pub fn build(mut self) -> Result<Q, OpenError> {
        self.shape.max_message = self.max_message.unwrap_or_else(|| MAX_MESSAGE.min(self.shape.memory / 16).max(1));
        self.shape.participants = self.shape.participants.max(1);
        let name = self.name.as_deref().map(SegmentName::new).transpose();
        let name = name.map_err(|error| OpenError::Create(error.into()))?;
        Ok((self.make)(Attachment::create(&self.shape, name.as_ref())?))
    }
}
