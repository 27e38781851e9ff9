//! The direction that sends.

use crate::error::{ClaimError, PipeError, SendError};
use crate::layout::{APART, CAPACITY, CONTINUES, DESCRIPTORS_SHIFT, MAX_DESCRIPTORS, MAX_MESSAGE, MORE, NEXT, NUMBER, stream_at};
use crate::ownership::Shared;
use multiproc_prim::{Deadline, Ordering, monotonic_millis, stamp};
use multiproc_sync as sync;
use multiproc_sync::StreamSender;
use multiproc_travel::write_own_file;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A quarter of the room at a time, so that both sides work at once on a message that does not fit.
const PART: usize = CAPACITY / 4;

#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) stream: StreamSender,
    /// The stamp of the process that has claimed this direction and knows its positions.
    since: u64,
    /// Where futures wait for room, and the stamp of their process.
    #[cfg(feature = "async")]
    pub(crate) room: Option<(u64, std::sync::Arc<multiproc_sync::WaitList>)>,
    /// When this end last asked the kernel whether the other end is there, in milliseconds.
    looked: u64,
}

impl Outgoing {
    pub(crate) fn new(shared: &Shared) -> Result<Self, PipeError> {
        Ok(Self {
            stream: attach(shared)?,
            since: 0,
            #[cfg(feature = "async")]
            room: None,
            looked: 0,
        })
    }

    #[inline]
    pub(crate) fn claim(&mut self, shared: &Shared) -> Result<(), ClaimError> {
        if self.since == stamp() { Ok(()) } else { self.claim_anew(shared) }
    }

    #[cold]
    fn claim_anew(&mut self, shared: &Shared) -> Result<(), ClaimError> {
        shared.claim()?;
        // Another process may have moved the positions since we read them. If this fails, the next use tries again.
        self.stream = attach(shared).map_err(ClaimError::Unusable)?;
        self.since = stamp();
        Ok(())
    }

    pub(crate) fn depart(&mut self) {
        self.since = 0;
    }

    pub(crate) fn close(&self) {
        self.stream.close();
    }

    /// Lets the next send ask the kernel whether the other end is there.
    pub(crate) fn look_again(&mut self) {
        self.looked = 0;
    }

    /// Sends a message if that is quickly done; otherwise nothing is sent, and [`send`](Self::send) says why.
    ///
    /// It makes no error, and moves none through memory on the way to the caller: that would wait for all that was written before, so
    /// for the ring's cache lines, which the other processor has.
    #[inline]
    pub(crate) fn send_at_once(&mut self, shared: &Shared, bytes: &[u8]) -> bool {
        let is_plain = self.since == stamp() && bytes.len() <= PART && self.looked == monotonic_millis();
        let sent = is_plain && self.stream.send_at_once(0, bytes);
        if sent {
            tell(shared);
        }
        sent
    }

    /// Sends a message, whole or not at all.
    pub(crate) fn send(&mut self, shared: &Shared, bytes: &[u8], fds: &[OwnedFd], deadline: Deadline) -> Result<(), SendError> {
        self.claim(shared)?;
        if bytes.len() > MAX_MESSAGE {
            return Err(SendError::TooLong { len: bytes.len(), max: MAX_MESSAGE });
        }
        // The kernel knows whether the other end is there, but asking costs more than a message: once per tick of the clock.
        let now = monotonic_millis();
        if self.looked != now {
            if shared.wire.is_hung_up() {
                return Err(SendError::Disconnected);
            }
            self.looked = now;
        }
        if fds.is_empty() && bytes.len() <= PART {
            return self.send_record(shared, 0, bytes, deadline);
        }
        self.send_long(shared, bytes, fds, deadline)
    }

    /// Sends a message in as many records as it takes.
    #[cold]
    fn send_long(&mut self, shared: &Shared, bytes: &[u8], fds: &[OwnedFd], deadline: Deadline) -> Result<(), SendError> {
        if fds.len() >= MAX_DESCRIPTORS {
            return Err(SendError::TooManyDescriptors { count: fds.len(), max: MAX_DESCRIPTORS - 1 });
        }
        let mut fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        if deadline == Deadline::NOW && bytes.len() + NUMBER > self.stream.longest() {
            // The message does not fit and the call must not wait for the receiver: the bytes go beside the stream. Their file is written
            // only if there is room for the record that announces it.
            self.stream.room(size_of::<u64>() + NUMBER, Deadline::NOW).map_err(|error| send_error(error, deadline))?;
            let file = write_own_file(bytes).map_err(SendError::Descriptors)?;
            fds.push(file.as_fd());
            return self.send_last(shared, APART, &(bytes.len() as u64).to_le_bytes(), &fds, deadline);
        }
        let longest = if deadline == Deadline::NOW { self.stream.longest() } else { PART.min(self.stream.longest()) };
        let trailer = if fds.is_empty() { 0 } else { NUMBER };
        let (mut rest, mut continues, mut late) = (bytes, 0, 0);
        while rest.len() + trailer > longest {
            let (now, later) = rest.split_at(longest.min(rest.len()));
            // If the deadline passes on the way, the receiver drops the part that came when the next message begins.
            self.send_record(shared, MORE | continues, now, deadline)?;
            (rest, continues) = (later, CONTINUES);
            // After the deadline the rest may use the room that is there now. A receiver that makes room all the time must not keep us.
            late += if deadline.is_over() { now.len() } else { 0 };
            if late > CAPACITY {
                return Err(send_error(sync::StreamSendError::Full, deadline));
            }
        }
        self.send_last(shared, continues, rest, &fds, deadline)
    }

    /// Sends the descriptors of a message, then its last record: a receiver that reads the record finds them in the socket.
    fn send_last(
        &mut self,
        shared: &Shared,
        tag: u32,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        if fds.is_empty() {
            return self.send_record(shared, tag, bytes, deadline);
        }
        let record_len = bytes.len() + NUMBER;
        let room = self.stream.room(record_len, (deadline, || !shared.wire.is_hung_up()));
        room.map_err(|error| send_error(error, deadline))?;
        // Larger than any number before it, other processes' included. Relaxed: this process alone uses the end, and claiming it orders
        // what earlier users did.
        let parcels = &shared.words().parcels;
        let number = parcels.load(Ordering::Relaxed).wrapping_add(1);
        parcels.store(number, Ordering::Relaxed);
        // A split end keeps its socket open after its receiving half was dropped, and then nobody empties it.
        let stream = &mut self.stream;
        let mut still_there = || !matches!(stream.room(record_len, Deadline::NOW), Err(sync::StreamSendError::Closed));
        shared.wire.send(number, fds, deadline, &mut still_there).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SendError::Disconnected,
            io::ErrorKind::TimedOut => send_error(sync::StreamSendError::Full, deadline),
            _ => SendError::Descriptors(error),
        })?;
        let tag = tag | (fds.len() as u32) << DESCRIPTORS_SHIFT;
        // The room is still there: nobody else sends.
        self.send_record(shared, tag, &[bytes, &number.to_le_bytes()].concat(), deadline)
    }

    fn send_record(&mut self, shared: &Shared, tag: u32, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        let sent = self.stream.send(tag, bytes, (deadline, || !shared.wire.is_hung_up()));
        sent.map_err(|error| send_error(error, deadline))?;
        tell(shared);
        Ok(())
    }
}

/// Rings for a receiver that asked for it, after a record was sent.
#[inline]
fn tell(shared: &Shared) {
    // The light fence in the stream's `send` and `send_at_once` puts the record before our look at the flag (pairs with: watch).
    let watched = shared.words.watched(shared.side.other());
    match watched.load(Ordering::Relaxed) {
        0 => {}
        // The receiver sleeps and one ring is enough: the first record that sees the wish takes it away.
        NEXT if watched.compare_exchange(NEXT, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() => {}
        _ => shared.wire.ring(),
    }
}

fn attach(shared: &Shared) -> Result<StreamSender, PipeError> {
    let at = shared.segment.content_at() + stream_at(shared.side.other())?;
    Ok(StreamSender::attach(shared.segment.region(), at, CAPACITY)?)
}

fn send_error(error: sync::StreamSendError, deadline: Deadline) -> SendError {
    match error {
        sync::StreamSendError::Full if deadline == Deadline::NOW => SendError::Full,
        sync::StreamSendError::Full | sync::StreamSendError::Timeout => SendError::Timeout,
        // A record always fits the stream, so the other end is gone.
        _ => SendError::Disconnected,
    }
}
