//! `Queue`: typed values between processes, first in, first out.

use crate::attachment::Attachment;
use crate::done::{Batch, Underway, Unread};
use crate::error::{GetError, GetManyError, PutError, PutManyError, put_error};
use crate::layout::Flavor;
use crate::methods::{methods_of_all, methods_of_both};
use crate::registry::Share;
use multiproc_prim::{Deadline, Flag, monotonic_millis};
use multiproc_ring::mpmc::{Held, PopError, Taken, Unfinished};
use multiproc_sync as sync;
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

/// A first-in, first-out queue of `T` between any number of processes and threads (Python: `multiprocessing.Queue`).
///
/// A handle is cheap to clone, and travels to another process as an argument of a new process or through a connection. However
/// often a process receives or opens a queue, it takes one of the queue's places for processes. The queue survives the death of
/// any process at any instruction: at most the values in the hands of the dead are gone.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::Queue;
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
/// Differences from Python: a value that was put is visible to every process at once; order holds for the whole queue;
/// [`shutdown`](Self::shutdown) exists; [`close`](Self::close) concerns one handle alone.
pub struct Queue<T> {
    share: Share,
    closed: Flag,
    carries: PhantomData<fn(T) -> T>,
}

methods_of_all!(
    Queue,
    Flavor::Queue,
    "A value that is got is gone if this process dies. A value whose `Deserialize` panics is lost and [counted](Self::lost)."
);
methods_of_both!(Queue, "Queue", "");

/// The tag of an encoded value. A `Vec<u8>` is its own encoding.
pub(crate) const ENCODED: u8 = 0;
/// The tag of a block of plain data that was written in place.
pub(crate) const IN_PLACE: u8 = 1;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A larger buffer goes back to the system after use, in bytes.
const KEEP_SCRATCH: usize = 1 << 20;

/// A message of up to so many bytes is copied to the stack to be decoded: the buffer that is kept costs as much as a short message.
const SHORT: usize = 64;

/// Values of a batch between two looks for the dead.
const BATCH: usize = 64;

/// Runs `work` with a private copy of a message.
#[inline(always)]
fn with_copy<R>(taken: Taken<'_>, work: impl FnOnce(&[u8], Taken<'_>) -> R) -> R {
    let mut short = [0; SHORT];
    if let (Some(bytes), Some(copy)) = (taken.shared_payload(), short.get_mut(..taken.len())) {
        if bytes.read(copy) {
            return work(copy, taken);
        }
    }
    with_scratch(|bytes| {
        taken.append_to(bytes);
        work(bytes, taken)
    })
}

/// Runs `work` with an empty buffer that is used again and again. A new buffer is made for an inner call, and for one in the
/// destructor of a thread-local that runs after this one's.
#[inline(always)]
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
    pub(crate) fn from_share(share: Share) -> Self {
        Self { share, closed: Flag::new(), carries: PhantomData }
    }

    pub(crate) fn share(&self) -> &Share {
        &self.share
    }

    #[inline]
    pub(crate) fn here(&self) -> Result<&Share, GetError> {
        self.share().here().map_err(|error| GetError::Forked { queue: self.share().name().into(), why: error.into() })
    }

    pub(crate) fn queue(&self) -> &Self {
        self
    }

    pub(crate) fn was_closed(&self) -> bool {
        self.closed.is_set()
    }

    pub(crate) fn set_closed(&self) {
        self.closed.set();
    }

    /// What `Debug` shows of every kind of queue.
    pub(crate) fn fields<'f, 'a>(&self, f: &'f mut std::fmt::Formatter<'a>, kind: &str) -> std::fmt::DebugStruct<'f, 'a> {
        let mut fields = f.debug_struct(kind);
        let (attachment, capacity) = (self.share(), self.capacity());
        fields.field("name", &attachment.name()).field("len", &self.len()).field("capacity", &capacity);
        fields
    }

    /// Counts the values that died with a consumer on their way out of the queue: while a get was copying them out, or in a
    /// [`borrow`](Self::borrow). Python has no counterpart.
    ///
    /// A value that a get has returned is its caller's own and does not count. Nor does a value of up to 8 encoded bytes, which is the
    /// consumer's own at once. Values whose `Deserialize` panicked in a get count, with those that the same
    /// [`get_many`](Self::get_many) had got before. The number is exact up to 8,388,607 found by one process.
    pub fn lost(&self) -> u64 {
        self.share().look_to_answer();
        self.share().lost()
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    pub(crate) fn put_many_by<I>(&self, mut rest: I, deadline: Deadline) -> Result<usize, PutManyError<I>>
    where
        I: Iterator<Item = T>,
    {
        let mut put = 0;
        while let Some(value) = rest.next() {
            // There may be room all the time.
            let late = put > 0 && deadline != Deadline::NOW && deadline.is_over();
            let done = if late { Err(PutError::Timeout(value)) } else { self.put_by(value, deadline) };
            if let Err(error) = done {
                return Err(PutManyError { put, error, rest });
            }
            put += 1;
        }
        Ok(put)
    }

    /// Gets up to `max` values: the first by the deadline, then what is there.
    pub(crate) fn get_many_by(&self, max: usize, deadline: Deadline) -> Result<Vec<T>, GetManyError<T>> {
        let mut values = Vec::new();
        let attachment = match self.here() {
            Ok(attachment) => attachment,
            Err(error) => return Err(GetManyError { values, error }),
        };
        let mut batch = Batch::new(attachment);
        let (mut most, mut now) = (max, 0);
        while values.len() < most {
            let hold = |_: &Attachment, held| batch.hold(held);
            let got = if values.is_empty() { Some(self.get_for(deadline, hold)) } else { Self::get_next(attachment, now, hold) };
            match got {
                Some(Ok(value)) => {
                    batch.add();
                    values.push(value);
                    if values.len() == 1 || values.len() % BATCH == 0 {
                        now = attachment.glance();
                    }
                    if values.len() == BATCH {
                        // What is there now: producers may be so fast that it never ends.
                        most = max.min(BATCH + attachment.len());
                    }
                }
                None => break,
                Some(Err(error)) => {
                    batch.arrived();
                    attachment.got();
                    return Err(GetManyError { values, error });
                }
            }
        }
        batch.arrived();
        attachment.got();
        Ok(values)
    }

    /// Gets one more value of a batch; `None` if none is there, whatever a shutdown means for the next get.
    #[inline]
    fn get_next(attachment: &Attachment, now: u64, keep: impl FnOnce(&Attachment, Held)) -> Option<Result<T, GetError>> {
        match attachment.channel.try_take(attachment.lanes_now()) {
            Ok(taken) => Some(Self::read(attachment, taken, now, keep)),
            Err(PopError::Empty | PopError::Closed) => None,
            Err(error) => Some(Err(attachment.get_error(error.into()))),
        }
    }

    #[inline]
    pub(crate) fn put_by(&self, value: T, deadline: Deadline) -> Result<(), PutError<T>> {
        if self.is_closed() {
            return Err(PutError::Closed(value));
        }
        let attachment = match self.share().here() {
            Ok(attachment) => attachment,
            Err(error) => {
                return Err(PutError::Forked { value, queue: self.share().name().into(), why: error.into() });
            }
        };
        let mut refused = None;
        let push = |bytes: &[u8]| {
            attachment.glance_seldom();
            attachment.channel.push(bytes, attachment.until(deadline)).err().map(Ok)
        };
        // What went wrong is not handed on from call to call: moving large results costs as much as the whole rest.
        match pass::bare_bytes(&value) {
            // The first question is the compiler's: other types pay nothing for it.
            Some(bytes) if pass::is_bytes::<T>() && attachment.texts_only => match pass::check_text::<T>(bytes) {
                Ok(()) => refused = push(bytes),
                Err(why) => refused = Some(Err(why)),
            },
            Some(bytes) => refused = push(bytes),
            None => with_scratch(|bytes| match pass::encode_plain(&value, bytes) {
                Ok(()) => refused = push(bytes),
                Err(why) => refused = Some(Err(why)),
            }),
        }
        match refused {
            None => Ok(()),
            Some(Ok(error)) => Err(put_error(attachment, error, value)),
            Some(Err(why)) => Err(PutError::Encode { value, why }),
        }
    }

    #[inline]
    pub(crate) fn get_by(&self, deadline: Deadline) -> Result<T, GetError> {
        self.get_for(deadline, Attachment::keep)
    }

    /// Gets a value, and lets `keep` have it in hand if the queue is joinable.
    #[inline]
    fn get_for(&self, deadline: Deadline, keep: impl FnOnce(&Attachment, Held)) -> Result<T, GetError> {
        let attachment = self.here()?;
        let now = attachment.glance();
        // The common case first, so that the block need not be handed on.
        let got = match attachment.channel.try_take(attachment.lanes_now()) {
            Ok(taken) => Self::read(attachment, taken, now, keep),
            Err(_) => Self::get_later(attachment, deadline, keep),
        };
        attachment.got();
        got
    }

    #[cold]
    fn get_later(attachment: &Attachment, deadline: Deadline, keep: impl FnOnce(&Attachment, Held)) -> Result<T, GetError> {
        let block = attachment.channel.pop_block(attachment.lanes(), attachment.until(deadline));
        let taken = block.map_err(|error| attachment.get_error(error))?.into_taken();
        Self::read(attachment, taken, monotonic_millis(), keep)
    }

    /// Reads a value that was taken at the time `now`. Its block is free then, or in a `JoinableQueue` in hand: `keep` takes it.
    #[inline(always)]
    fn read(attachment: &Attachment, taken: Taken<'_>, now: u64, keep: impl FnOnce(&Attachment, Held)) -> Result<T, GetError> {
        if attachment.shape.flavor == Flavor::Joinable {
            taken.note_taken(now);
            return Self::read_held(attachment, taken, |held, value| {
                match (&value, held) {
                    (Ok(_), Some(held)) => keep(attachment, held),
                    (Err(_), Some(held)) => attachment.put_aside(held, Unfinished::Unreadable),
                    (_, None) => {}
                }
                value
            });
        }
        let (form, len) = (taken.tag(), taken.len());
        let decode = |bytes: &[u8]| {
            let underway = Underway::new(attachment);
            let value = Self::decode(form, bytes);
            underway.arrived();
            value
        };
        if let Some(bytes) = taken.small() {
            return decode(bytes.get(..len).unwrap_or(&bytes));
        }
        if let Some(value) = Self::copied(&taken) {
            attachment.channel.free(taken);
            return value;
        }
        with_copy(taken, |bytes, taken| {
            attachment.channel.free(taken);
            decode(bytes)
        })
    }

    /// Reads a value that was taken and stays in hand, for `then`. If reading it panics, it is given back.
    #[inline(always)]
    pub(crate) fn read_held<R>(
        attachment: &Attachment,
        taken: Taken<'_>,
        then: impl FnOnce(Option<Held>, Result<T, GetError>) -> R,
    ) -> R {
        let form = taken.tag();
        if let Some(value) = Self::copied(&taken) {
            return then(taken.hold(), value);
        }
        with_copy(taken, |bytes, taken| {
            let unread = Unread::new(attachment, taken);
            let value = Self::decode(form, bytes);
            then(unread.into_held(), value)
        })
    }

    /// A value that one copy makes; `None` if it has to be decoded.
    #[inline(always)]
    fn copied(taken: &Taken<'_>) -> Option<Result<T, GetError>> {
        if taken.tag() == IN_PLACE { None } else { Some(pass::decode_shared(taken.shared_payload()?)?.map_err(GetError::from)) }
    }

    #[inline]
    fn decode(form: u8, bytes: &[u8]) -> Result<T, GetError> {
        if form == IN_PLACE {
            return Err(GetError::Form { written: "was written in place (loan)", asked: "as a value (get)" });
        }
        pass::decode_plain(bytes).map_err(GetError::from)
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
}

impl<T> Clone for Queue<T> {
    /// Makes another handle, open even if this one is closed.
    fn clone(&self) -> Self {
        Self { share: self.share.clone(), closed: Flag::new(), carries: PhantomData }
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.fields(f, "Queue").finish()
    }
}
