//! Everything that can be chosen about a queue, and its name.

use crate::attachment::Attachment;
use crate::error::{OpenError, RemoveError};
use crate::joinable::JoinableQueue;
use crate::layout::{Flavor, Shape};
use crate::registry::Share;
use multiproc_shm::{AttachError, CreateError, Label, MAX_PARTICIPANTS, Segment, SegmentName};
use multiproc_travel::pass;
use serde::de::DeserializeOwned;

/// Slots that an unbounded queue starts with. It grows fourfold each time they are used up.
const UNBOUNDED_SLOTS: u32 = 1 << 10;
/// More than any system has. Nothing of it is reserved.
const MEMORY: u64 = 1 << 42;
const MAX_MESSAGE: u64 = 256 << 20;
const PARTICIPANTS: u32 = MAX_PARTICIPANTS;

/// A queue whose type of message can be recorded beside its name.
pub trait Typed {
    /// The type of its messages.
    type Message: DeserializeOwned;
}

/// Takes a queue's name away, whatever its kind and its messages. Processes that have the queue open keep it.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::{Queue, remove_queue};
///
/// let queue: Queue<u32> = Queue::builder().named("of-the-remove-example").open_or_create()?;
/// remove_queue("of-the-remove-example")?;
/// queue.put(1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// There is no such name ([`RemoveError::NotFound`]), it can't be one, or the system refuses.
pub fn remove_queue(name: &str) -> Result<(), RemoveError> {
    let name = SegmentName::new(name).map_err(|error| RemoveError::Refused(error.into()))?;
    Segment::remove(&name).map_err(|error| match error {
        AttachError::NotFound(name) => RemoveError::NotFound(name),
        other => RemoveError::Refused(other),
    })
}

/// Builds a [`Queue`](crate::Queue), [`JoinableQueue`] or [`SimpleQueue`](crate::SimpleQueue) with more than the usual choices.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::Queue;
///
/// let queue: Queue<String> = Queue::builder().bounded(3).max_message(1 << 20).build()?;
/// assert_eq!(queue.capacity(), Some(3));
/// # Ok::<(), multiproc::OpenError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing before build()"]
pub struct Builder<Q> {
    shape: Shape,
    max_message: Option<u64>,
    name: Option<String>,
    /// What an error calls the type of its messages, once it has a name.
    message_type: String,
    make: fn(Share) -> Q,
}

impl<Q> Builder<Q> {
    pub(crate) fn new(flavor: Flavor, make: fn(Share) -> Q) -> Self {
        let shape = Shape {
            flavor,
            slots: UNBOUNDED_SLOTS,
            bounded: false,
            memory: MEMORY,
            max_message: MAX_MESSAGE,
            max_deliveries: 0,
            participants: PARTICIPANTS,
            identity: 0,
            label: Label::NONE,
        };
        Self { shape, max_message: None, name: None, message_type: String::new(), make }
    }

    /// Lets this many values wait at once, exactly: 1 to 4,194,304. Puts wait while the queue is full.
    pub fn bounded(mut self, capacity: u32) -> Self {
        self.shape.slots = capacity;
        self.shape.bounded = true;
        self
    }

    /// Sets the most bytes of memory for messages, in equal parts for the sizes of blocks that hold them, up to sixteen. A message takes the
    /// smallest block that it fits, or a larger one where those are in use. So messages of one size get the parts of their size and of the
    /// larger ones: of 1 MiB, 150 messages of 1,000 bytes. Blocks of a `JoinableQueue` are 32 bytes fuller: messages of 977 to 1,008 bytes
    /// need the next size there, and of those of 1,000 bytes 37 have room. Values of up to 8 bytes in a `Queue` need slots only, and an
    /// unbounded queue has at least 1,024 of these. Default: as much as the system has. Nothing is reserved: the queue grows as messages come.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.shape.memory = bytes;
        self
    }

    /// Sets the length in bytes, as encoded, that a message may have at least. Blocks of memory are made for it, and a message that just fits
    /// the largest block passes, too. Default: 256 MiB, or a sixteenth of the memory where that is less.
    pub fn max_message(mut self, bytes: u64) -> Self {
        self.max_message = Some(bytes);
        self
    }

    /// Sets how many processes can have the queue open at once: 1 to 1016, the default. 0 counts as 1.
    pub fn participants(mut self, processes: u32) -> Self {
        self.shape.participants = processes;
        self
    }

    /// Gives the queue a name, under which other programs of the same user can open it until the name is [removed](remove_queue). The
    /// type of its messages is recorded: it can't be opened as a queue of another type.
    ///
    /// `String` and `Vec<u8>` are the exception: a queue of the one opens as a queue of the other, since both are their bytes. Puts of
    /// bytes into a queue that was made for `String` check that they are UTF-8. A get of a `String` from a queue that was made for
    /// bytes may find a message that is none: [`GetError::Decode`](crate::GetError::Decode).
    pub fn named(mut self, name: impl Into<String>) -> Self
    where
        Q: Typed,
    {
        self.shape.identity = pass::identity::<Q::Message>();
        self.message_type = pass::type_name::<Q::Message>();
        self.shape.label = Label::new(&self.message_type);
        self.name = Some(name.into());
        self
    }

    /// Makes the queue.
    ///
    /// # Errors
    ///
    /// The numbers make no queue, the name is taken, or the system has no memory or descriptors left.
    pub fn build(self) -> Result<Q, OpenError> {
        let name = self.name.as_deref().map(SegmentName::new).transpose();
        let name = name.map_err(|error| OpenError::Create(error.into()))?;
        Ok((self.make)(self.create(name.as_ref())?))
    }

    /// Opens the queue of this name if there is one, else makes it. Of several processes that do so at once, one makes the queue,
    /// and the others open it.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::{Queue, remove_queue};
    ///
    /// // Each process of a program begins so, whichever comes first.
    /// let jobs: Queue<String> = Queue::builder().named("example-jobs").bounded(100).open_or_create()?;
    /// jobs.put("a job".into())?;
    /// # remove_queue("example-jobs")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A queue that was [shut down](crate::Queue::shutdown) stays so under its name until the name is [removed](remove_queue).
    ///
    /// A queue that is there keeps its memory, its longest message, its places for processes and its limit of deliveries. They
    /// may differ from this builder's.
    ///
    /// # Errors
    ///
    /// The queue that is there has another kind or type of message ([`OpenError::Attach`]) or another capacity
    /// ([`OpenError::Capacity`]); [`named`](Self::named) was not called ([`OpenError::NoName`]), or with a name that can't be one;
    /// or as [`build`](Self::build).
    pub fn open_or_create(self) -> Result<Q, OpenError> {
        let name = self.segment_name()?;
        let open = || match self.attach(&name) {
            Err(OpenError::Attach(AttachError::NotFound(_))) => Ok(None),
            found => self.checked(found?).map(Some),
        };
        let create = || match self.create(Some(&name)) {
            Err(OpenError::Create(CreateError::Exists(_))) => Ok(None),
            made => Ok(Some((self.make)(made?))),
        };
        Segment::find_or_make(&name, open, create)
    }

    pub(crate) fn open(self) -> Result<Q, OpenError> {
        let name = self.segment_name()?;
        Ok((self.make)(self.attach(&name)?))
    }

    fn segment_name(&self) -> Result<SegmentName, OpenError> {
        let name = self.name.as_deref().ok_or(OpenError::NoName)?;
        SegmentName::new(name).map_err(|error| OpenError::Attach(error.into()))
    }

    fn attach(&self, name: &SegmentName) -> Result<Share, OpenError> {
        Attachment::open(name, self.shape.flavor, self.shape.identity, &self.message_type)
    }

    fn create(&self, name: Option<&SegmentName>) -> Result<Share, OpenError> {
        let max_message = self.max_message.unwrap_or_else(|| MAX_MESSAGE.min(self.shape.memory / 16).max(1));
        let shape = Shape { max_message, participants: self.shape.participants.max(1), ..self.shape };
        Attachment::create(&shape, name)
    }

    fn checked(&self, found: Share) -> Result<Q, OpenError> {
        let capacity = |shape: &Shape| shape.bounded.then_some(shape.slots);
        if capacity(&found.shape) != capacity(&self.shape) {
            let (queue, expected) = (found.name().to_owned(), capacity(&self.shape));
            return Err(OpenError::Capacity { queue, found: capacity(&found.shape), expected });
        }
        Ok((self.make)(found))
    }
}

impl<T> Builder<JoinableQueue<T>> {
    /// Sets the number of deliveries after which a value that was never done is put aside, to be read with
    /// [`try_get_dead`](JoinableQueue::try_get_dead). A limit above 32,767 counts as that. Default, or 0: no limit.
    pub fn max_deliveries(mut self, deliveries: u16) -> Self {
        self.shape.max_deliveries = deliveries.min(i16::MAX as u16);
        self
    }
}
