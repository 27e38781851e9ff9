//! The direction that receives.

use crate::error::{ClaimError, PipeError, RecvError};
use crate::layout::{APART, CAPACITY, CONTINUES, DESCRIPTORS_SHIFT, EVERY, MORE, NEXT, NUMBER, stream_at};
use crate::ownership::Shared;
use multiproc_prim::{Bytes, Deadline, Ordering, Renewed, heavy_fence, stamp};
use multiproc_sync as sync;
use multiproc_sync::StreamReceiver;
use multiproc_travel::{Readiness, read_own_file, write_own_file};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Bytes of a record in the stream beside its payload.
const RECORD_HEADER: usize = 8;

#[derive(Debug)]
pub(crate) struct Incoming {
    stream: StreamReceiver,
    /// The stamp of the process that has claimed this direction and knows its positions.
    since: u64,
    /// The stamp of the process whose message `partial` is.
    home: u64,
    pub(crate) partial: Partial,
    /// Descriptors that came already of a message whose other descriptors found no room in this process, and their number.
    pub(crate) arriving: (u64, Vec<OwnedFd>),
    /// Whether no message was received whole since this process took the end over. The first one may lack what died with the last user.
    is_fresh: bool,
    /// Whether the socket holds descriptors whose message has not come, so that it would not let us sleep.
    is_blocked: bool,
    /// The descriptor that users wait for, whether it is readable, and whether it must stay so.
    readiness: Option<Arc<Readiness>>,
    is_lit: bool,
    is_pinned: bool,
}

/// The part that has come of a message that is not whole yet.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) enum Partial {
    #[default]
    Nothing,
    Bytes(Vec<u8>),
    /// More than the caller allows: the rest is dropped.
    TooLong,
    /// The start went to a process that had this end before: the rest is dropped without an error.
    Headless,
}

/// What a user gets to wait for where [`Readiness`] can't be: `poll` finds it readable at once, and `epoll` refuses it. The first end of a
/// process that receives makes it, since later the process may have no descriptors left.
///
/// No lock guards it: a forked copy would wait for ever for a thread that it does not have.
static UNREADY: Renewed<OwnedFd> = Renewed::new();

/// The descriptor that stands for no readiness.
pub(crate) fn unready() -> io::Result<BorrowedFd<'static>> {
    /// A forked copy has the same one.
    const ONLY: u64 = 0;
    if let Some(known) = UNREADY.peek(ONLY) {
        return Ok(known.as_fd());
    }
    // An ordinary file.
    let new = write_own_file(&[])?;
    Ok(UNREADY.get(ONLY, || new).as_fd())
}

/// A message's bytes and descriptors.
pub(crate) type Message = (Vec<u8>, Vec<OwnedFd>);

/// What a message's last record says of its descriptors.
#[derive(Clone, Copy)]
struct Trailer {
    count: usize,
    number: u64,
}

impl Incoming {
    pub(crate) fn new(shared: &Shared) -> Result<Self, PipeError> {
        unready()?;
        Ok(Self {
            stream: attach(shared)?,
            since: 0,
            home: stamp(),
            partial: Partial::Nothing,
            arriving: (0, Vec::new()),
            is_fresh: true,
            is_blocked: false,
            readiness: None,
            is_lit: false,
            is_pinned: false,
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
        if self.home != stamp() {
            // This is a forked copy: the process that had the end may have gone on with that message.
            (self.partial, self.arriving) = (Partial::Nothing, (0, Vec::new()));
        }
        (self.since, self.home, self.is_fresh) = (stamp(), stamp(), true);
        self.watch_again(shared);
        Ok(())
    }

    pub(crate) fn depart(&mut self, shared: &Shared) {
        self.since = 0;
        if let Some(readiness) = &self.readiness {
            // From now on receiving is an error, and does not wait.
            readiness.forget(&shared.wire);
            readiness.set(true);
        }
    }

    pub(crate) fn close(&self) {
        self.stream.close();
    }

    /// Receives the next message of at most `max` bytes; with its descriptors, or without.
    pub(crate) fn recv(
        &mut self,
        shared: &Shared,
        max: usize,
        wants_fds: bool,
        deadline: Deadline,
    ) -> Result<Message, RecvError> {
        self.claim(shared)?;
        let result = self.recv_whole(shared, max, wants_fds, deadline);
        self.refresh(shared);
        result
    }

    /// Copies the next message straight into `buffer`: the fast way. `None`, and nothing is taken, unless the message comes soon, is whole
    /// in one record, fits and brings no descriptors.
    #[inline]
    pub(crate) fn recv_into(&mut self, shared: &Shared, buffer: &mut [u8], deadline: Deadline) -> Option<usize> {
        self.claim(shared).ok()?;
        if self.readiness.is_some() || !matches!(self.partial, Partial::Nothing) {
            return None;
        }
        if deadline == Deadline::NOW { self.stream.wait(deadline) } else { self.stream.spin() }.ok()?;
        let record = self.stream.peek().filter(|record| record.tag == 0)?;
        let payload = record.payload();
        let len = payload.len();
        let fits = payload.read(buffer.get_mut(..len)?);
        debug_assert!(fits);
        record.release();
        self.is_fresh = false;
        Some(len)
    }

    /// Whether a message, or the end, is there or comes before the deadline.
    pub(crate) fn poll(&mut self, shared: &Shared, deadline: Deadline) -> Result<bool, RecvError> {
        self.claim(shared)?;
        let seen = self.wait(shared, deadline);
        self.refresh(shared);
        match seen {
            Ok(()) | Err(sync::StreamRecvError::Closed) => Ok(true),
            Err(sync::StreamRecvError::Empty) => Ok(false),
            Err(_) => Err(RecvError::Corrupt),
        }
    }

    /// A descriptor that is readable while a message, or the end, is there.
    pub(crate) fn readiness(&mut self, shared: &Shared) -> io::Result<Arc<Readiness>> {
        if let Some(known) = &self.readiness {
            return Ok(known.clone());
        }
        let new = Arc::new(Readiness::new()?);
        self.readiness = Some(new.clone());
        // If another process uses the end, its messages are none of ours: receiving is an error here, and does not wait.
        match self.claim(shared) {
            Ok(()) => self.watch_again(shared),
            Err(_) => new.set(true),
        }
        Ok(new)
    }

    fn recv_whole(&mut self, shared: &Shared, max: usize, wants_fds: bool, deadline: Deadline) -> Result<Message, RecvError> {
        let mut late = 0;
        loop {
            self.wait(shared, deadline).map_err(recv_error)?;
            let taken = match self.take_record(shared, max, wants_fds)? {
                ControlFlow::Break(message) => return Ok(message),
                ControlFlow::Continue(taken) => taken,
            };
            // The part of the message that has come stays. A sender that goes on all the time must not keep us: after the deadline we take
            // what the stream held then, and no more.
            late += if deadline.is_over() { taken } else { 0 };
            if late >= CAPACITY {
                return Err(RecvError::Empty);
            }
        }
    }

    /// Takes the record that is there. Returns the message if this was its last record, or else the bytes that the record took up.
    fn take_record(&mut self, shared: &Shared, max: usize, wants_fds: bool) -> Result<ControlFlow<Message, usize>, RecvError> {
        let record = self.stream.peek().ok_or(RecvError::Corrupt)?;
        let taken = RECORD_HEADER + record.payload().len();
        let (tag, payload) = (record.tag, record.payload());
        let trailer = Trailer::of(tag, &payload);
        let text = payload.part(0, payload.len() - trailer.map_or(0, |_| NUMBER)).ok_or(RecvError::Corrupt)?;
        let apart = length_apart(tag, &text);
        let mut so_far = match std::mem::take(&mut self.partial) {
            // A part that came before is of a sender that died or gave up in the middle of a message.
            _ if tag & CONTINUES == 0 => Partial::Bytes(Vec::new()),
            Partial::Nothing => Partial::Headless,
            before => before,
        };
        if matches!(&so_far, Partial::Bytes(bytes) if bytes.len().saturating_add(apart.unwrap_or(text.len())) > max) {
            so_far = Partial::TooLong;
        }
        // Before anything is taken: descriptors that this process has no room for stay in the socket, and their message in the stream.
        let mut descriptors = Some(Vec::new());
        if let (Some(trailer), Partial::Bytes(_), true) = (trailer, &so_far, wants_fds || apart.is_some()) {
            descriptors = match trailer.fetch(shared, &mut self.arriving) {
                Ok(found) => Some(found),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => {
                    self.partial = so_far;
                    return Err(RecvError::Descriptors(error));
                }
            };
        }
        if let (Partial::Bytes(bytes), Some(found)) = (&mut so_far, &mut descriptors) {
            match apart {
                None => text.append_to(bytes),
                Some(len) => match found.pop().and_then(|file| read_own_file(&file, len).ok()) {
                    Some(read) if read.len() == len => *bytes = read,
                    _ => descriptors = None,
                },
            }
        }
        record.release();
        if let Some(trailer) = trailer {
            shared.wire.finish(trailer.number);
            self.is_blocked = false;
        }
        if tag & MORE != 0 {
            self.partial = so_far;
            return Ok(ControlFlow::Continue(taken));
        }
        let is_fresh = std::mem::take(&mut self.is_fresh);
        match (so_far, descriptors) {
            (Partial::Bytes(bytes), Some(descriptors)) => Ok(ControlFlow::Break((bytes, descriptors))),
            // The descriptors were sent before the record. Either an earlier user of this end took them and died, or the record lies.
            (Partial::Bytes(_), None) if !is_fresh => Err(RecvError::Corrupt),
            (Partial::TooLong, _) => Err(RecvError::TooLong { max }),
            _ => Ok(ControlFlow::Continue(taken)),
        }
    }

    /// Waits for a record or the end: spins, then sleeps on the socket. There the sender rings, and its hang-up tells of a death at once,
    /// so a sleeper need not look around.
    fn wait(&mut self, shared: &Shared, deadline: Deadline) -> Result<(), sync::StreamRecvError> {
        loop {
            let over = deadline.is_over();
            match if over { self.stream.wait(Deadline::NOW) } else { self.stream.spin() } {
                Err(sync::StreamRecvError::Empty) if over => return self.last_look(shared),
                Err(sync::StreamRecvError::Empty) => {}
                other => return other,
            }
            let watched = shared.words.watched(shared.side);
            let every = if self.readiness.is_some() { EVERY } else { 0 };
            watched.store(every | NEXT, Ordering::Relaxed);
            // Either the sender sees the wish and rings, or we see its record below (pairs with: watch).
            heavy_fence();
            let mut seen = self.last_look(shared);
            if seen == Err(sync::StreamRecvError::Empty) {
                if self.is_blocked {
                    // The sender of these descriptors was stopped or died before it sent their message: we sleep on the stream.
                    seen = self.stream.wait((deadline, || !shared.wire.is_hung_up()));
                } else {
                    shared.wire.wait(deadline.remaining());
                }
                self.is_blocked = shared.wire.hush();
            }
            watched.store(every, Ordering::Relaxed);
            if !matches!(seen, Err(sync::StreamRecvError::Empty | sync::StreamRecvError::Timeout)) {
                return seen;
            }
        }
    }

    /// What is there now: a record, nothing, or the end.
    fn last_look(&mut self, shared: &Shared) -> Result<(), sync::StreamRecvError> {
        let gone = shared.wire.is_hung_up();
        match self.stream.wait(Deadline::NOW) {
            // The stream was looked at after the hang-up, so everything that was sent before the end was seen.
            Err(sync::StreamRecvError::Empty) if gone => {
                // A sender may have died between the descriptors of a message and the message. Nobody sends it any more, and what the
                // descriptors stand for must not wait for this end to be dropped.
                shared.wire.finish(u64::MAX);
                self.arriving = (0, Vec::new());
                Err(sync::StreamRecvError::Closed)
            }
            other => other,
        }
    }

    /// Lets the sender ring for each message from here on, if a user waits for the descriptor.
    fn watch_again(&mut self, shared: &Shared) {
        let every = if self.readiness.is_some() { EVERY } else { 0 };
        shared.words.watched(shared.side).store(every, Ordering::Relaxed);
        if let Some(readiness) = &self.readiness {
            readiness.forget(&shared.wire);
            // If the system has no memory to watch, the descriptor stays readable: too often is better than never.
            self.is_pinned = readiness.watch(&shared.wire).is_err();
            readiness.set(true);
            self.is_lit = true;
            // Either a sender sees the flag and rings, or we see its record below (pairs with: watch).
            heavy_fence();
            self.refresh(shared);
        }
    }

    /// Lets the descriptor be readable exactly while something is there.
    fn refresh(&mut self, shared: &Shared) {
        let Some(readiness) = self.readiness.clone().filter(|_| !self.is_pinned) else { return };
        if shared.wire.hush() {
            readiness.clear();
        }
        // The sender rings for every message: if one comes after the rings that we took out, there is another ring.
        let mut seen = self.stream.wait(Deadline::NOW);
        if seen == Err(sync::StreamRecvError::Empty) {
            seen = self.last_look(shared);
        }
        let ready = seen != Err(sync::StreamRecvError::Empty);
        if ready != self.is_lit {
            readiness.set(ready);
            self.is_lit = ready;
        }
    }
}

/// The length of a message that is in a file of its own, in bytes.
fn length_apart(tag: u32, text: &Bytes<'_>) -> Option<usize> {
    let mut length = [0; 8];
    let is_apart = tag & APART != 0 && text.len() == length.len() && text.read(&mut length);
    is_apart.then(|| usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
}

impl Trailer {
    fn of(tag: u32, payload: &Bytes<'_>) -> Option<Self> {
        let count = (tag >> DESCRIPTORS_SHIFT) as usize;
        let mut number = [0; NUMBER];
        let at = payload.len().checked_sub(NUMBER)?;
        let has_one = tag & MORE == 0 && count > 0 && payload.part(at, NUMBER)?.read(&mut number);
        has_one.then_some(Self { count, number: u64::from_le_bytes(number) })
    }

    /// Fetches the descriptors. Their last packet stays in the socket.
    fn fetch(self, shared: &Shared, arriving: &mut (u64, Vec<OwnedFd>)) -> io::Result<Vec<OwnedFd>> {
        if arriving.0 != self.number {
            *arriving = (self.number, Vec::new());
        }
        shared.wire.fetch(self.number, &mut arriving.1)?;
        let found = std::mem::take(&mut arriving.1);
        if found.len() == self.count { Ok(found) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn attach(shared: &Shared) -> Result<StreamReceiver, PipeError> {
    let at = shared.segment.content_at() + stream_at(shared.side)?;
    Ok(StreamReceiver::attach(shared.segment.region(), at, CAPACITY)?)
}

fn recv_error(error: sync::StreamRecvError) -> RecvError {
    match error {
        sync::StreamRecvError::Empty => RecvError::Empty,
        sync::StreamRecvError::Closed => RecvError::Disconnected,
        _ => RecvError::Corrupt,
    }
}
