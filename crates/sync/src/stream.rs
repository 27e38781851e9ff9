//! The record ring for one writer and one reader, with waiting and an end.

use crate::error::{ChannelError, RecvError, SendError};
use crate::event::{BusyEvent, Pace, SLICE};
use multiproc_prim::{AtomicU32, Deadline, Ordering, Padded, Place, Region, shared_struct};
use multiproc_ring::spsc::{Reader, Record, Writer, longest_record, records_len};

shared_struct! {
    /// What a stream adds to its ring.
    struct Control {
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

/// Whether to go on waiting, asked after every [`SLICE`] of sleep.
pub(crate) type StillThere<'a> = &'a mut dyn FnMut() -> bool;

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
/// use multiproc_prim::{Deadline, Heap, Region};
/// use multiproc_sync::{RecvError, StreamReceiver, StreamSender, stream_len};
///
/// let region = Region::new(Heap::new(stream_len(4096)?));
/// let mut sender = StreamSender::create(&region, 0, 4096)?;
/// let mut receiver = StreamReceiver::attach(&region, 0, 4096)?;
/// sender.send(1, b"hello", Deadline::NEVER, &mut || true)?;
/// sender.close();
///
/// let record = receiver.recv(Deadline::NEVER, &mut || true)?;
/// assert_eq!((record.tag, record.payload().len()), (1, 5));
/// record.release();
/// receiver.released();
/// assert_eq!(receiver.recv(Deadline::NEVER, &mut || true).unwrap_err(), RecvError::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
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
    /// As [`create`](Self::create).
    pub fn attach(region: &Region, at: usize, capacity: usize) -> Result<Self, ChannelError> {
        let writer = Writer::attach(region, at + size_of::<Control>(), capacity)?;
        Ok(Self { writer, control: control(region, at)?, pace: Pace::default(), capacity })
    }

    /// Longest record in bytes.
    pub fn longest(&self) -> usize {
        longest_record(self.capacity)
    }

    /// Sends one record; waits for room until the deadline, or until `still_there` says that nobody reads any more.
    ///
    /// # Errors
    ///
    /// There was no room in time, nobody reads any more, or the record is too long. Nothing was sent then.
    ///
    /// A [light fence](multiproc_prim::light_fence) lies between the record and whatever the caller does next.
    #[inline]
    pub fn send(&mut self, tag: u32, payload: &[u8], deadline: Deadline, still_there: StillThere<'_>) -> Result<(), SendError> {
        // The common case first, without the machinery of waiting around it.
        if self.control.reader_closed.load(Ordering::Relaxed) == 0 && self.writer.write(tag, payload).is_ok() {
            self.control.items.wake(1);
            return Ok(());
        }
        self.send_later(tag, payload, deadline, still_there)
    }

    #[cold]
    fn send_later(&mut self, tag: u32, payload: &[u8], deadline: Deadline, still_there: StillThere<'_>) -> Result<(), SendError> {
        self.room(payload.len(), deadline, still_there)?;
        // Nobody else writes, so the room is still there.
        self.writer.write(tag, payload).map_err(|_| SendError::Full)?;
        self.control.items.wake(1);
        Ok(())
    }

    /// Waits for room for a record of `len` bytes, which the next [`send`](Self::send) then finds: until the deadline, or until
    /// `still_there` says that nobody reads any more.
    ///
    /// # Errors
    ///
    /// As `send`.
    pub fn room(&mut self, len: usize, deadline: Deadline, still_there: StillThere<'_>) -> Result<(), SendError> {
        let max = self.longest();
        if len > max {
            return Err(SendError::TooLong { len, max });
        }
        let Self { writer, control, pace, .. } = self;
        let gone = std::cell::Cell::new(false);
        let look_around = || {
            gone.set(!still_there());
            SLICE
        };
        let attempt = || match gone.get() || control.reader_closed.load(Ordering::Relaxed) != 0 {
            true => Some(Err(SendError::Closed)),
            false => writer.has_room(len).then_some(Ok(())),
        };
        control.space.wait_until(deadline, pace, look_around, attempt).unwrap_or(Err(SendError::Full))
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

    /// The oldest record, not taken yet; waits for one until the deadline, or until `still_there` says that nobody writes any
    /// more. Call [`released`](Self::released) when it was released.
    ///
    /// # Errors
    ///
    /// None came in time, nobody writes any more and everything was read, or the memory is rubbish.
    #[inline]
    pub fn recv(&mut self, deadline: Deadline, still_there: StillThere<'_>) -> Result<Record<'_>, RecvError> {
        self.wait(deadline, still_there)?;
        match self.reader.peek() {
            Ok(Some(record)) => Ok(record),
            Ok(None) => Err(RecvError::Empty),
            Err(_) => Err(RecvError::Corrupt),
        }
    }

    /// As [`recv`](Self::recv), without looking at the record.
    ///
    /// # Errors
    ///
    /// As `recv`.
    #[inline]
    pub fn wait(&mut self, deadline: Deadline, still_there: StillThere<'_>) -> Result<(), RecvError> {
        let Self { reader, control, pace } = self;
        let gone = std::cell::Cell::new(false);
        let look_around = || {
            gone.set(!still_there());
            SLICE
        };
        let done = control.items.wait_until(deadline, pace, look_around, || look(reader, control, gone.get()));
        done.unwrap_or(Err(RecvError::Empty))
    }

    /// As [`wait`](Self::wait), but only spins and never sleeps: for those who sleep elsewhere.
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or as `recv`.
    #[inline]
    pub fn spin(&mut self) -> Result<(), RecvError> {
        let Self { reader, control, pace } = self;
        let now = look(reader, control, false);
        now.or_else(|| pace.spin(Deadline::NEVER, || look(reader, control, false))).unwrap_or(Err(RecvError::Empty))
    }

    /// The record that [`spin`](Self::spin) or [`wait`](Self::wait) found, not taken yet; `None` if it found none.
    #[inline]
    pub fn peek(&mut self) -> Option<Record<'_>> {
        self.reader.peek().ok()?
    }

    /// Lets a sender that waits for room know that there is some.
    #[inline]
    pub fn released(&self) {
        self.control.space.wake(1);
    }

    /// Says that nothing more will be read.
    pub fn close(&self) {
        // Relaxed: it carries nothing but itself.
        self.control.reader_closed.store(1, Ordering::Relaxed);
        self.control.space.wake(u32::MAX);
    }
}

/// Whether there is a record, or the end; `None` if neither.
#[inline]
fn look(reader: &mut Reader, control: &Control, gone: bool) -> Option<Result<(), RecvError>> {
    // The end is looked at first: whoever sees it sees everything sent before (pairs with: end).
    let ended = gone || control.writer_closed.load(Ordering::Acquire) != 0;
    match reader.peek() {
        Ok(Some(_)) => Some(Ok(())),
        Ok(None) if ended => Some(Err(RecvError::Closed)),
        Ok(None) => None,
        Err(_) => Some(Err(RecvError::Corrupt)),
    }
}
