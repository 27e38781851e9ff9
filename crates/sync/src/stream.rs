//! The record ring for one writer and one reader, with waiting and an end.

use crate::error::{ChannelError, StreamRecvError, StreamSendError};
use crate::event::{BusyEvent, Event, Pace};
use crate::wait::{Look, Wait};
use multiproc_prim::{AtomicU32, Bytes, Deadline, Ordering, Padded, Place, Region, shared_struct};
use multiproc_ring::spsc::{ReadError, Reader, Record, Writer, longest_record, records_len};

shared_struct! {
    /// What a stream adds to its ring.
    pub(crate) struct Control {
        writer_closed: Padded<AtomicU32>,
        reader_closed: Padded<AtomicU32>,
        items: Padded<BusyEvent>,
        space: Padded<BusyEvent>,
    }
}

/// Bytes of a region that a stream with `capacity` bytes of room needs.
///
/// # Errors
///
/// The capacity is no power of two, or too small.
pub fn stream_len(capacity: usize) -> Result<usize, ChannelError> {
    Ok(size_of::<Control>() + records_len(capacity)?)
}

/// A wait that ends when the other end is gone.
struct ForPeer<W> {
    wait: W,
    is_gone: bool,
}

impl<W: Wait> Wait for ForPeer<W> {
    fn deadline(&self) -> Deadline {
        self.wait.deadline()
    }

    fn look_around(&mut self) -> Look {
        let look = self.wait.look_around();
        self.is_gone = look == Look::Leave;
        look
    }
}

/// The event of a stream that tells of room.
#[derive(Clone, Debug)]
pub struct StreamEvent(Place<Control>);

impl StreamEvent {
    /// The event itself.
    pub fn get(&self) -> Event<'_> {
        Event::Busy(&self.0.space)
    }
}

/// The end that sends. One per stream.
#[derive(Debug)]
pub struct StreamSender {
    writer: Writer,
    control: Place<Control>,
    pace: Pace,
    capacity: usize,
}

/// The end that receives. One per stream.
///
/// ```
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_sync::{Deadline, Heap, Region, StreamReceiver, StreamRecvError, StreamSender, stream_len};
///
/// let region = Region::new(Heap::new(stream_len(4096)?));
/// let mut sender = StreamSender::create(&region, 0, 4096)?;
/// let mut receiver = StreamReceiver::attach(&region, 0, 4096)?;
/// sender.send(1, b"hello", Deadline::NEVER)?;
/// sender.close();
///
/// let record = receiver.recv(Deadline::NEVER)?;
/// assert_eq!((record.tag, record.payload().len()), (1, 5));
/// record.release();
/// assert_eq!(receiver.recv(Deadline::NEVER).unwrap_err(), StreamRecvError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// ```
#[derive(Debug)]
pub struct StreamReceiver {
    reader: Reader,
    control: Place<Control>,
    pace: Pace,
}

fn control(region: &Region, at: usize) -> Result<Place<Control>, ChannelError> {
    let control = region.place(at)?;
    region.commit(at..at + size_of::<Control>())?;
    Ok(control)
}

impl StreamSender {
    /// Makes a stream in zeroed memory, `at` bytes (a multiple of 128) into the region, and is its sending end.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two or too small, or the stream does not fit.
    pub fn create(region: &Region, at: usize, capacity: usize) -> Result<Self, ChannelError> {
        let control = control(region, at)?;
        control.make_fresh();
        let writer = Writer::create(region, at + size_of::<Control>(), capacity)?;
        Ok(Self { writer, control, pace: Pace::default(), capacity })
    }

    /// The sending end of a stream that exists.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create), or the memory holds a stream of another capacity, or none.
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, ChannelError> {
        let writer = Writer::attach(region, at + size_of::<Control>(), capacity)?;
        Ok(Self { writer, control: control(region, at)?, pace: Pace::default(), capacity })
    }

    /// Longest record in bytes.
    pub fn longest(&self) -> usize {
        longest_record(self.capacity)
    }

    /// Sends one record; waits for room until the deadline, or until a look around [leaves](Look::Leave) since nobody reads any more.
    ///
    /// A [light fence](multiproc_prim::light_fence) lies between the record and what the caller does next.
    ///
    /// # Errors
    ///
    /// There was no room in time, nobody reads any more, or the record is too long. Nothing was sent then.
    #[inline]
    pub fn send(&mut self, tag: u32, payload: &[u8], wait: impl Wait) -> Result<(), StreamSendError> {
        // The common case first, without the machinery of waiting around it.
        if self.send_at_once(tag, payload) { Ok(()) } else { self.send_later(tag, payload, wait) }
    }

    /// Sends one record if there is room for it and the receiver was not closed. Returns whether it did; [`send`](Self::send) says why not.
    ///
    /// A light fence lies between the record and what the caller does next, as in `send`.
    #[inline]
    pub fn send_at_once(&mut self, tag: u32, payload: &[u8]) -> bool {
        // Relaxed: it carries nothing but itself.
        let sent = self.control.reader_closed.load(Ordering::Relaxed) == 0 && self.writer.write(tag, payload).is_ok();
        if sent {
            self.control.items.wake(1);
        }
        sent
    }

    #[cold]
    fn send_later(&mut self, tag: u32, payload: &[u8], wait: impl Wait) -> Result<(), StreamSendError> {
        self.room(payload.len(), wait)?;
        // Nobody else writes, so the room is still there.
        self.writer.write(tag, payload).map_err(|_| StreamSendError::Full)?;
        self.control.items.wake(1);
        Ok(())
    }

    /// Waits for room for a record of `len` bytes, which the next [`send`](Self::send) then finds; until when, see there.
    ///
    /// # Errors
    ///
    /// There was no room in time, nobody reads any more, or the record is too long.
    pub fn room(&mut self, len: usize, wait: impl Wait) -> Result<(), StreamSendError> {
        let max = self.longest();
        if len > max {
            return Err(StreamSendError::TooLong { len, max });
        }
        let late = if wait.deadline() == Deadline::NOW { StreamSendError::Full } else { StreamSendError::Timeout };
        let Self { writer, control, pace, .. } = self;
        let attempt = |peer: &mut ForPeer<_>| match peer.is_gone || control.reader_closed.load(Ordering::Relaxed) != 0 {
            true => Some(Err(StreamSendError::Closed)),
            false => writer.has_room(len).then_some(Ok(())),
        };
        control.space.wait_with(ForPeer { wait, is_gone: false }, pace, attempt).unwrap_or(Err(late))
    }

    /// What tells of room: for a [`Condition`](crate::Condition) about this stream, which it outlives.
    pub fn room_event(&self) -> StreamEvent {
        StreamEvent(self.control.clone())
    }

    /// Says that nothing more comes.
    pub fn close(&self) {
        // Release, beyond the models, which can't tell it from the fence of the last wake-up: what was sent comes before the end
        // (pairs with: end).
        self.control.writer_closed.store(1, Ordering::Release);
        self.control.items.wake(u32::MAX);
    }
}

impl StreamReceiver {
    /// The receiving end of a stream that exists.
    ///
    /// # Errors
    ///
    /// The capacity is no power of two or too small, or the stream does not fit.
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, ChannelError> {
        let reader = Reader::attach(region, at + size_of::<Control>(), capacity)?;
        Ok(Self { reader, control: control(region, at)?, pace: Pace::default() })
    }

    /// The oldest record, which stays in the stream until it is released; waits for one until the deadline, or until a look around
    /// [leaves](Look::Leave) since nobody writes any more.
    ///
    /// # Errors
    ///
    /// None came in time, nobody writes any more and everything was read, or the memory is rubbish.
    #[inline]
    pub fn recv(&mut self, wait: impl Wait) -> Result<StreamRecord<'_>, StreamRecvError> {
        self.wait(wait)?;
        self.peek().ok_or(StreamRecvError::Corrupt)
    }

    /// Waits for a record as [`recv`](Self::recv) does, without looking at it.
    ///
    /// # Errors
    ///
    /// None came in time, nobody writes any more and everything was read, or the memory is rubbish.
    #[inline]
    pub fn wait(&mut self, wait: impl Wait) -> Result<(), StreamRecvError> {
        let late = if wait.deadline() == Deadline::NOW { StreamRecvError::Empty } else { StreamRecvError::Timeout };
        let Self { reader, control, pace } = self;
        let attempt = |peer: &mut ForPeer<_>| look(reader, control, peer.is_gone);
        control.items.wait_with(ForPeer { wait, is_gone: false }, pace, attempt).unwrap_or(Err(late))
    }

    /// Spins for a record for a while, and never sleeps: for callers that sleep elsewhere.
    ///
    /// # Errors
    ///
    /// [`StreamRecvError::Empty`], or nobody writes any more and everything was read, or the memory is rubbish.
    #[inline]
    pub fn spin(&mut self) -> Result<(), StreamRecvError> {
        let Self { reader, control, pace } = self;
        let now = look(reader, control, false);
        now.or_else(|| pace.spin(Deadline::NEVER, || look(reader, control, false))).unwrap_or(Err(StreamRecvError::Empty))
    }

    /// The record that [`spin`](Self::spin) or [`wait`](Self::wait) found, not taken yet; `None` if it found none.
    #[inline]
    pub fn peek(&mut self) -> Option<StreamRecord<'_>> {
        let Self { reader, control, .. } = self;
        let record = reader.peek().ok()?;
        Some(StreamRecord { tag: record.tag, record, space: &control.space })
    }

    /// Says that nothing more will be read.
    pub fn close(&self) {
        // Relaxed: it carries nothing but itself.
        self.control.reader_closed.store(1, Ordering::Relaxed);
        self.control.space.wake(u32::MAX);
    }
}

/// A record of a stream in place: copy it out, then [release](Self::release) its room. Dropped, it stays in the stream.
#[derive(Debug)]
#[must_use = "a record that is not released is received again"]
pub struct StreamRecord<'a> {
    /// What the sender said of it.
    pub tag: u32,
    record: Record<'a>,
    space: &'a BusyEvent,
}

impl StreamRecord<'_> {
    /// The payload.
    #[inline(always)]
    pub fn payload(&self) -> Bytes<'_> {
        self.record.payload()
    }

    /// Frees the record's room, and wakes a sender that waits for it.
    #[inline(always)]
    pub fn release(self) {
        self.record.release();
        self.space.wake(1);
    }
}

/// Whether there is a record, or the end; `None` if neither.
#[inline]
fn look(reader: &mut Reader, control: &Control, is_gone: bool) -> Option<Result<(), StreamRecvError>> {
    // Looked at first: a receiver that sees the end sees everything sent before (pairs with: end).
    let ended = is_gone || control.writer_closed.load(Ordering::Acquire) != 0;
    match reader.peek() {
        Ok(_) => Some(Ok(())),
        Err(ReadError::Empty) => ended.then_some(Err(StreamRecvError::Closed)),
        Err(_) => Some(Err(StreamRecvError::Corrupt)),
    }
}
