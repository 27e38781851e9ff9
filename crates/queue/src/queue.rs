//! `Queue`: typed values between processes, first in, first out.

use crate::attachment::Attachment;
use crate::builder::Builder;
use crate::done::{Underway, Unread};
use crate::error::{GetError, GetManyError, JoinThreadError, OpenError, PutError, PutManyError, put_error};
use crate::layout::Flavor;
use multiproc_prim::{Deadline, Hint};
use multiproc_ring::mpmc::Held;
use multiproc_sync as sync;
use multiproc_sync::ChannelBlock;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A first-in, first-out queue of `T` between any number of processes and threads (Python: `multiprocessing.Queue`).
///
/// A handle is cheap to clone, and travels to another process as an argument of a new process or through a connection. However
/// often a process receives or opens a queue, it takes one of the queue's places for processes. The queue
/// survives the death of any process at any instruction: at most the values in the hands of the dead are gone.
///
/// ```
/// use multiproc_queue::Queue;
///
/// let queue = Queue::bounded(3)?;
/// for value in ["1", "2", "3"] {
///     queue.put(value.to_string())?;
/// }
/// assert!(queue.try_put("4".to_string()).is_err());
/// assert_eq!(queue.get()?, "1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Differences from Python: a value that was put is visible to every process at once, order holds for the whole queue,
/// [`shutdown`](Self::shutdown) exists on every version, and what a queue's handle is told with
/// [`close`](Self::close) concerns that handle alone.
pub struct Queue<T> {
    attachment: Arc<Attachment>,
    closed: Hint,
    carries: PhantomData<fn(T) -> T>,
}

/// The tag of a block that was written in place; encoded values have none.
pub(crate) const IN_PLACE: u8 = 1;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer larger than this is given back to the system after use.
const KEEP_SCRATCH: usize = 1 << 20;

/// Runs `work` with an empty buffer that is used again and again. An inner call, and one in the destructor of a thread-local that
/// comes after this one's, get a new one.
#[inline]
fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = SCRATCH.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = work(&mut buffer);
    if buffer.capacity() <= KEEP_SCRATCH {
        let _ = SCRATCH.try_with(|scratch| scratch.set(buffer));
    }
    result
}

impl<T> Queue<T> {
    /// A queue for at most `capacity` values, exactly: 1 to 4,194,304 (Python: `Queue(maxsize)`).
    ///
    /// # Errors
    ///
    /// The capacity is out of bounds, or the system has no memory or descriptors left.
    pub fn bounded(capacity: u32) -> Result<Self, OpenError> {
        Self::builder().bounded(capacity).build()
    }

    /// A queue whose puts never wait while memory lasts (Python: `Queue()`).
    ///
    /// # Errors
    ///
    /// The system has no memory or descriptors left.
    pub fn unbounded() -> Result<Self, OpenError> {
        Self::builder().build()
    }

    /// Everything else that can be chosen: memory, longest message, a name.
    pub fn builder() -> Builder<Self> {
        Builder::new(Flavor::Queue, Self::from_core)
    }

    /// The queue of this name, made by another program of this user with [`Builder::named`]. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// There is none, or it is refused, as one of another type of message is: the error says why.
    pub fn open(name: &str) -> Result<Self, OpenError>
    where
        T: DeserializeOwned,
    {
        Ok(Self::from_core(Attachment::open::<T>(name, Flavor::Queue)?))
    }

    /// Takes a queue's name away. Processes that have the queue open keep it.
    ///
    /// # Errors
    ///
    /// There is no such name.
    pub fn remove(name: &str) -> Result<(), OpenError> {
        let name = multiproc_shm::SegmentName::new(name).map_err(|error| OpenError::Attach(error.into()))?;
        Ok(multiproc_shm::Segment::remove(&name)?)
    }

    pub(crate) fn from_core(attachment: Arc<Attachment>) -> Self {
        Self { attachment, closed: Hint::new(0), carries: PhantomData }
    }

    pub(crate) fn attachment(&self) -> &Arc<Attachment> {
        &self.attachment
    }

    #[inline]
    pub(crate) fn here(&self) -> Result<&Arc<Attachment>, GetError> {
        self.attachment()
            .here()
            .map_err(|source| GetError::Forked { queue: self.attachment().name().into(), source: source.into() })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get() != 0
    }

    // Whatever only reads asks the attachment that a forked copy inherited, which needs no place of its own for that.

    /// Values waiting, at some moment during the call (Python: `qsize`, which some systems lack).
    pub fn len(&self) -> usize {
        self.attachment().len()
    }

    /// Whether no value waits (Python: `empty`, which can still be true after a `put`; this one is not).
    pub fn is_empty(&self) -> bool {
        self.attachment().is_empty()
    }

    /// Whether a put would have to wait for a slot (Python: `full`). Never for an unbounded queue, whose puts wait for memory alone.
    pub fn is_full(&self) -> bool {
        self.attachment().shape.bounded && !self.attachment().channel.ring().has_room()
    }

    /// Values that can wait at once, `None` for an unbounded queue.
    pub fn capacity(&self) -> Option<usize> {
        self.attachment().shape.bounded.then(|| self.attachment().channel.ring().capacity())
    }

    /// Values that were in the hands of a process when it died, and are gone: 0 for a `JoinableQueue`, which delivers them again.
    /// Values whose `Deserialize` panicked in a get count too, with those that the same [`get_many`](Self::get_many) had got before.
    /// Counted as soon as someone has looked for the dead; a value of up to 8 encoded bytes is its taker's own once it is taken, and is
    /// not counted; exact up to 8,388,607 found by one process. Python has no counterpart.
    pub fn lost(&self) -> u64 {
        self.attachment().lost()
    }

    /// No more puts through this handle (Python: `close`). Consumers are not told: a blocked `get` stays blocked. Other handles,
    /// clones of this one too, are not concerned.
    pub fn close(&self) {
        self.closed.set(1);
    }

    /// Returns at once, since every value is in the queue when its put returns (Python: `join_thread`, which waits for the
    /// background thread that writes what was put).
    ///
    /// # Errors
    ///
    /// The handle is not closed (Python: `AssertionError`).
    pub fn join_thread(&self) -> Result<(), JoinThreadError> {
        if self.is_closed() { Ok(()) } else { Err(JoinThreadError::NotClosed) }
    }

    /// Changes nothing, since the end of a process waits for no buffer (Python: `cancel_join_thread`, which lets a process end
    /// without writing what it has put).
    pub fn cancel_join_thread(&self) {}

    /// No more puts by anyone: gets drain what is left, then return [`GetError::ShutDown`], blocked ones too (Python 3.13:
    /// `queue.Queue.shutdown`, not in `multiprocessing`). A get of a [`JoinableQueue`](crate::JoinableQueue) ends when every value is done:
    /// until then a consumer may die, and its values come back. Values in the caller's own hands don't count.
    pub fn shutdown(&self) {
        self.attachment().channel.shut_down();
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a value; waits while a bounded queue is full, and while the queue's memory is used up (Python: `put`).
    ///
    /// # Errors
    ///
    /// The value can't be put ever, or nothing that could come free would make room for it; the error gives it back.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::NEVER)
    }

    /// Puts a value if there is room now (Python: `put_nowait`).
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], [`PutError::NoMemory`] if there is none now, or it can't be put ever; the error gives the value back.
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::NOW)
    }

    /// Puts a value; waits at most `timeout` while a bounded queue is full (Python: `put(timeout=…)`).
    ///
    /// # Errors
    ///
    /// [`PutError::Timeout`], [`PutError::NoMemory`] if there was none until then, or it can't be put ever; the error gives the value
    /// back.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::after(timeout)).map_err(|error| match error {
            PutError::Full(value) => PutError::Timeout(value),
            other => other,
        })
    }

    /// Puts all values in order; waits as [`put`](Self::put). Python has no counterpart.
    ///
    /// ```
    /// # let queue = multiproc_queue::Queue::bounded(3)?;
    /// queue.shutdown();
    /// // The error gives the iterator back, even one without end.
    /// let mut error = queue.put_many(0..).unwrap_err();
    /// assert_eq!((error.put, error.error.into_inner(), error.rest.next()), (0, 0, Some(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// One could not be put: the error says how many were, and gives back that value and the iterator with the others.
    pub fn put_many<I: IntoIterator<Item = T>>(&self, values: I) -> Result<usize, PutManyError<I::IntoIter>> {
        let mut rest = values.into_iter();
        let mut put = 0;
        while let Some(value) = rest.next() {
            if let Err(error) = self.put(value) {
                return Err(PutManyError { put, error, rest });
            }
            put += 1;
        }
        Ok(put)
    }

    #[inline]
    fn put_by(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        if self.is_closed() {
            return Err(PutError::Closed(value));
        }
        let attachment = match self.attachment().here() {
            Ok(attachment) => attachment,
            Err(source) => {
                return Err(PutError::Forked { value, queue: self.attachment().name().into(), source: source.into() });
            }
        };
        let mut refused = None;
        // What went wrong is not handed on from call to call: moving large results costs as much as the whole rest.
        with_scratch(|bytes| {
            if let Err(source) = pass::encode_plain(&value, bytes) {
                refused = Some(Err(source));
                return;
            }
            attachment.glance();
            refused = attachment.channel.push(bytes, attachment.until(deadline)).err().map(Ok);
        });
        match refused {
            None => Ok(()),
            Some(Ok(error)) => Err(put_error(attachment.name(), error, value)),
            Some(Err(source)) => Err(PutError::Encode { value, source }),
        }
    }

    /// Gets the oldest value; waits while there is none (Python: `get`).
    ///
    /// In a [`JoinableQueue`](crate::JoinableQueue) it is in hand of this thread from then on.
    ///
    /// # Errors
    ///
    /// There never will be one, or a message makes no `T`: it is out of the queue then, and a `JoinableQueue` puts it aside with the
    /// [dead letters](crate::JoinableQueue::try_get_dead).
    ///
    /// # Panics
    ///
    /// Only if `T`'s own `Deserialize` does. The message is lost and [counted](Self::lost) then; a `JoinableQueue` delivers it again.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_by(Deadline::NEVER)
    }

    /// Gets the oldest value if there is one now (Python: `get_nowait`).
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], or as [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_by(Deadline::NOW)
    }

    /// Gets the oldest value; waits at most `timeout` while there is none (Python: `get(timeout=…)`).
    ///
    /// # Errors
    ///
    /// [`GetError::Timeout`], or as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_by(Deadline::after(timeout)).map_err(timed_out)
    }

    /// Gets up to `max` values: waits for the first as [`get`](Self::get), then takes what is there. Python has no
    /// counterpart.
    ///
    /// # Errors
    ///
    /// As `get`. The error has the values that were got before. That no more are there now is no error once there is a value.
    ///
    /// # Panics
    ///
    /// As `get`, and what is said there of one message holds for all that were got.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetManyError<T>> {
        let mut values = Vec::new();
        let attachment = match self.here() {
            Ok(attachment) => attachment,
            Err(error) => return Err(GetManyError { values, error }),
        };
        let mut underway = Underway::new(attachment, 0);
        while values.len() < max {
            let deadline = if values.is_empty() { Deadline::NEVER } else { Deadline::NOW };
            match self.get_by(deadline) {
                Ok(value) => {
                    underway.add();
                    values.push(value);
                }
                Err(GetError::Empty | GetError::ShutDown) if !values.is_empty() => break,
                Err(error) => {
                    underway.arrived();
                    return Err(GetManyError { values, error });
                }
            }
        }
        underway.arrived();
        Ok(values)
    }

    #[inline]
    fn get_by(&self, deadline: Deadline) -> Result<T, GetError> {
        let attachment = self.here()?;
        attachment.glance();
        // The common case first, so that the block need not be handed on.
        match attachment.channel.try_pop_block(attachment.lanes()) {
            Ok(block) => Self::read(attachment, block),
            Err(_) => Self::get_later(attachment, deadline),
        }
    }

    #[cold]
    fn get_later(attachment: &Arc<Attachment>, deadline: Deadline) -> Result<T, GetError> {
        let block = attachment.channel.pop_block(attachment.lanes(), attachment.until(deadline));
        Self::read(attachment, block.map_err(|error| attachment.get_error(error))?)
    }

    /// The value in a block, which is free then; in a `JoinableQueue` it is in hand.
    #[inline(always)]
    fn read(attachment: &Arc<Attachment>, block: ChannelBlock<'_>) -> Result<T, GetError> {
        if attachment.shape.flavor == Flavor::Joinable {
            let (held, value) = Self::read_held(attachment, block);
            match (&value, held) {
                (Ok(_), Some(held)) => attachment.keep(held),
                (Err(_), Some(held)) => attachment.put_aside(held),
                (_, None) => {}
            }
            return value;
        }
        let (form, len) = (block.tag(), block.len());
        let decode = |bytes: &[u8]| {
            let underway = Underway::new(attachment, 1);
            let value = Self::decode(form, bytes);
            underway.arrived();
            value
        };
        let block = match block.into_small() {
            Ok(bytes) => return decode(bytes.get(..len).unwrap_or(&bytes)),
            Err(block) => block,
        };
        with_scratch(|bytes| {
            block.payload().append_to(bytes);
            drop(block);
            decode(bytes)
        })
    }

    /// The value in a block that stays in hand. If reading it panics, it is given back.
    #[inline(always)]
    pub(crate) fn read_held(attachment: &Attachment, block: ChannelBlock<'_>) -> (Option<Held>, Result<T, GetError>) {
        with_scratch(|bytes| {
            let form = block.tag();
            block.payload().append_to(bytes);
            let unread = Unread::new(attachment, block);
            let value = Self::decode(form, bytes);
            (unread.into_held(), value)
        })
    }

    #[inline]
    fn decode(form: u8, bytes: &[u8]) -> Result<T, GetError> {
        if form == IN_PLACE {
            return Err(GetError::Form { written: "was written in place (loan)", asked: "as a value (get)" });
        }
        pass::decode_plain(bytes).map_err(GetError::from)
    }
}

pub(crate) fn timed_out(error: GetError) -> GetError {
    match error {
        GetError::Empty => GetError::Timeout,
        other => other,
    }
}

impl Attachment {
    pub(crate) fn get_error(&self, error: sync::ChannelPopError) -> GetError {
        match error {
            sync::ChannelPopError::Empty => GetError::Empty,
            sync::ChannelPopError::Timeout => GetError::Timeout,
            sync::ChannelPopError::ShutDown => GetError::ShutDown,
            sync::ChannelPopError::NoMemory => GetError::NoMemory,
            _ => GetError::Corrupt { queue: self.name().into() },
        }
    }

    /// What happens to a block when its message has been read in place: freed, or kept until it is done.
    pub(crate) fn put_in_hand(&self, block: ChannelBlock<'_>) {
        if self.shape.flavor == Flavor::Joinable
            && let Ok(held) = block.hold()
        {
            self.keep(held);
        }
    }
}

impl<T> Clone for Queue<T> {
    /// Another handle, open even if this one is closed.
    fn clone(&self) -> Self {
        Self { attachment: Arc::clone(&self.attachment), closed: Hint::new(0), carries: PhantomData }
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let capacity = self.capacity();
        f.debug_struct("Queue")
            .field("name", &self.attachment().name())
            .field("len", &self.len())
            .field("capacity", &capacity)
            .finish()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.attachment().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_core(Attachment::deserialize(deserializer, Flavor::Queue)?))
    }
}

impl Attachment {
    pub(crate) fn serialize<S: Serializer>(self: &Arc<Self>, serializer: S) -> Result<S::Ok, S::Error> {
        if pass::leaves_in_trial() {
            return pass::serialize_stand_in(|| Ok(Arc::clone(self)), serializer);
        }
        pass::serialize_descriptor(std::os::fd::AsFd::as_fd(&self.segment), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D, flavor: Flavor) -> Result<Arc<Self>, D::Error> {
        if pass::arrives_in_trial() {
            return pass::deserialize_stand_in(|attachment: &Arc<Self>| attachment.is_of(flavor), false, deserializer);
        }
        let descriptor = pass::Descriptor::deserialize(deserializer)?;
        Self::attach(descriptor.into(), flavor).map_err(pass::refuse)
    }
}
