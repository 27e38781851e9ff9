//! `Queue`: typed values between processes, first in, first out.

use crate::builder::Builder;
use crate::core::Core;
use crate::error::{GetError, JoinThreadError, OpenError, PutError, PutManyError, put_error};
use crate::layout::Flavor;
use multiproc_prim::{Deadline, Hint};
use multiproc_ring::mpmc::{Block, TakeError};
use multiproc_shm::pass;
use multiproc_sync as sync;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A first-in, first-out queue of `T` between any number of processes and threads (Python: `multiprocessing.Queue`).
///
/// A handle is cheap to clone, and travels to another process as an argument of a new process or through a connection. It
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
    shared: Arc<Shared>,
    closed: Hint,
    carries: PhantomData<fn(T) -> T>,
}

/// What the handles of one process share; gone with the last of them.
#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
}

/// The tag of a block that was written in place; encoded values have none.
pub(crate) const IN_PLACE: u8 = 1;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer larger than this is given back to the system after use.
const KEEP_SCRATCH: usize = 1 << 20;

/// Runs `work` with an empty buffer that is used again and again. Re-entrant: an inner call gets a new one.
#[inline]
fn with_scratch<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut buffer) => {
            buffer.clear();
            let result = work(&mut buffer);
            if buffer.capacity() > KEEP_SCRATCH {
                *buffer = Vec::new();
            }
            result
        }
        Err(_) => work(&mut Vec::new()),
    })
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
    /// There is none, or it is refused: the error says why.
    pub fn open(name: &str) -> Result<Self, OpenError> {
        Ok(Self::from_core(Core::open(name, Flavor::Queue)?))
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

    pub(crate) fn from_core(core: Arc<Core>) -> Self {
        Self { shared: Arc::new(Shared { core }), closed: Hint::new(0), carries: PhantomData }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.shared.core
    }

    #[inline]
    pub(crate) fn here(&self) -> Result<&Core, GetError> {
        self.core().here().map_err(|source| GetError::Forked { queue: self.core().name().into(), source: source.into() })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get() != 0
    }

    /// Values waiting, at some moment during the call (Python: `qsize`, which some systems lack).
    pub fn len(&self) -> usize {
        self.core().here().map_or(0, Core::len)
    }

    /// Whether no value waits (Python: `empty`, which can still be true after a `put`; this one is not).
    pub fn is_empty(&self) -> bool {
        self.core().here().map_or(true, Core::is_empty)
    }

    /// Whether a put would have to wait (Python: `full`). Never for an unbounded queue.
    pub fn is_full(&self) -> bool {
        self.core().shape.bounded && self.core().here().is_ok_and(|core| !core.channel.ring().has_room())
    }

    /// Values that can wait at once, `None` for an unbounded queue.
    pub fn capacity(&self) -> Option<usize> {
        self.core().shape.bounded.then(|| self.core().channel.ring().capacity())
    }

    /// Values that were in the hands of a process when it died, and are gone: 0 for a `JoinableQueue`, which delivers them again.
    /// Counted as soon as someone has looked for the dead; a value of up to 8 encoded bytes is its taker's own once it is taken, and is
    /// not counted; exact up to 8,388,607 found by one process. Python has no counterpart.
    pub fn lost(&self) -> u64 {
        self.core().lost()
    }

    /// No more puts through this handle; what is buffered still goes out (Python: `close`). Consumers are not told: a blocked
    /// `get` stays blocked. Other handles, clones of this one too, are not concerned.
    pub fn close(&self) {
        self.closed.set(1);
    }

    /// Waits until everything this process put is in the queue itself and no longer in its own buffer (Python: `join_thread`).
    ///
    /// It happens by itself when the last handle of a process that did not make the queue goes, or such a process ends
    /// normally, unless [`cancel_join_thread`](Self::cancel_join_thread) was called.
    ///
    /// # Errors
    ///
    /// The handle is not closed, or buffered values can't be written any more.
    pub fn join_thread(&self) -> Result<(), JoinThreadError> {
        if !self.is_closed() {
            return Err(JoinThreadError::NotClosed);
        }
        Ok(())
    }

    /// Lets the process end without waiting for its buffer, whose values are lost then (Python: `cancel_join_thread`).
    pub fn cancel_join_thread(&self) {}

    /// No more puts by anyone: gets drain what is left, then return [`GetError::Closed`], blocked ones too (Python 3.13:
    /// `queue.Queue.shutdown`, not in `multiprocessing`).
    pub fn shutdown(&self) {
        self.core().channel.shut_down();
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts a value; waits while a bounded queue is full (Python: `put`).
    ///
    /// # Errors
    ///
    /// The value can't be put ever; the error gives it back.
    pub fn put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::NEVER)
    }

    /// Puts a value if there is room now (Python: `put_nowait`).
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], or it can't be put ever; the error gives the value back.
    pub fn try_put(&self, value: T) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::NOW)
    }

    /// Puts a value; waits at most `timeout` while a bounded queue is full (Python: `put(timeout=…)`).
    ///
    /// # Errors
    ///
    /// [`PutError::Timeout`], or it can't be put ever; the error gives the value back.
    pub fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_by(value, Deadline::after(timeout)).map_err(|error| match error {
            PutError::Full(value) => PutError::Timeout(value),
            other => other,
        })
    }

    /// Puts all values in order; waits as [`put`](Self::put). Python has no counterpart.
    ///
    /// # Errors
    ///
    /// One could not be put: the error says how many were, and gives the others back.
    pub fn put_many(&self, values: impl IntoIterator<Item = T>) -> Result<usize, PutManyError<T>> {
        let mut values = values.into_iter();
        let mut put = 0;
        while let Some(value) = values.next() {
            self.put(value).map_err(|error| PutManyError { put, error, rest: values.by_ref().collect() })?;
            put += 1;
        }
        Ok(put)
    }

    #[inline]
    fn put_by(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        if self.is_closed() {
            return Err(PutError::Closed(value));
        }
        let core = match self.core().here() {
            Ok(core) => core,
            Err(source) => {
                return Err(PutError::Forked { value, queue: self.core().name().into(), source: source.into() });
            }
        };
        let mut refused = None;
        // What went wrong is not handed on from call to call: moving large results costs as much as the whole rest.
        with_scratch(|bytes| {
            if let Err(source) = pass::encode_plain(&value, bytes) {
                refused = Some(Err(source));
            } else if let Err(error) = core.push(bytes, deadline) {
                refused = Some(Ok(error));
            }
        });
        match refused {
            None => Ok(()),
            Some(Ok(error)) => Err(put_error(core.name(), error, value)),
            Some(Err(source)) => Err(PutError::Encode { value, source }),
        }
    }

    /// Gets the oldest value; waits while there is none (Python: `get`).
    ///
    /// # Errors
    ///
    /// There never will be one, or a message makes no `T`.
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
    /// As `get`, for the first value. A later one that can't be got ends the list; one that makes no `T` is dropped with its
    /// error if it is not the first.
    pub fn get_many(&self, max: usize) -> Result<Vec<T>, GetError> {
        let mut values = Vec::new();
        if max > 0 {
            values.push(self.get()?);
        }
        while values.len() < max {
            match self.try_get() {
                Ok(value) => values.push(value),
                Err(_) => break,
            }
        }
        Ok(values)
    }

    #[inline]
    fn get_by(&self, deadline: Deadline) -> Result<T, GetError> {
        let core = self.here()?;
        // The common case first, so that the block need not be handed on.
        match core.channel.take_first(core.lanes()) {
            Ok(block) => {
                core.awake();
                Self::read(block, |block| core.put_in_hand(block)).1
            }
            Err(end) => Self::get_later(core, end, deadline),
        }
    }

    #[cold]
    fn get_later(core: &Core, end: TakeError, deadline: Deadline) -> Result<T, GetError> {
        let block = core.take_later(end, deadline).map_err(|error| core.get_error(error))?;
        Self::read(block, |block| core.put_in_hand(block)).1
    }

    /// The value in a block, which goes where `keep` puts it.
    #[inline(always)]
    pub(crate) fn read<'q, K>(block: Block<'q>, keep: impl FnOnce(Block<'q>) -> K) -> (K, Result<T, GetError>) {
        let (form, len) = (block.tag(), block.len());
        if let Some(bytes) = block.small() {
            return (keep(block), Self::decode(form, bytes.get(..len).unwrap_or(&bytes)));
        }
        with_scratch(|bytes| {
            block.payload().append_to(bytes);
            (keep(block), Self::decode(form, bytes))
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

impl Core {
    pub(crate) fn get_error(&self, error: sync::GetError) -> GetError {
        match error {
            sync::GetError::Empty => GetError::Empty,
            sync::GetError::Closed => GetError::Closed,
            sync::GetError::NoMemory => GetError::NoMemory,
            _ => GetError::Corrupt { queue: self.name().into() },
        }
    }

    /// What happens to a block when its message has been read: freed, or kept until it is done.
    #[inline(always)]
    pub(crate) fn put_in_hand(&self, block: Block<'_>) {
        if self.shape.flavor != Flavor::Joinable {
            return self.channel.release(block);
        }
        match block.hold() {
            Ok(held) => self.in_hand.add(held),
            Err(block) => self.channel.release(block),
        }
    }
}

impl<T> Clone for Queue<T> {
    /// Another handle, open even if this one is closed.
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), closed: Hint::new(0), carries: PhantomData }
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let capacity = self.capacity();
        f.debug_struct("Queue").field("name", &self.core().name()).field("len", &self.len()).field("capacity", &capacity).finish()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.core().serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from_core(Core::deserialize(deserializer, Flavor::Queue)?))
    }
}

impl Core {
    pub(crate) fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        pass::serialize_descriptor(std::os::fd::AsFd::as_fd(&self.segment), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D, flavor: Flavor) -> Result<Arc<Self>, D::Error> {
        let descriptor = pass::Descriptor::deserialize(deserializer)?;
        Self::attach(descriptor.into(), flavor).map_err(pass::refuse)
    }
}
