//! One end of a pipe: its streams, its socket and its bells. The types that users see are thin shells around it.

mod travel;

use crate::error::{ClaimError, PipeError, RecvError, SendError};
use crate::layout::{EVERY, NEXT, PipeWords, Side, spec, stream_at};
use multiproc_prim::{Deadline, Hint, Ordering, Place, heavy_fence, monotonic_millis};
use multiproc_shm::pass::Parcel;
use multiproc_shm::{Bell, Identity, Link, Segment, stamp};
use multiproc_sync as sync;
use multiproc_sync::{BiasedLock, StreamReceiver, StreamSender};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// In the tag of a record: more of the same message follows.
const MORE: u32 = 1;
/// In the tag of a record: it goes on with a message. Where one process follows on another that died in the middle of a message,
/// the two parts must not become one.
const CONTINUES: u32 = 2;
/// In the tag of a message's last record: so many descriptors came through the socket, shifted by this. Its last eight bytes are then
/// the number that they came under.
const DESCRIPTORS_SHIFT: u32 = 2;
/// Bytes of the number under which descriptors come.
const NUMBER: usize = 8;
/// Times that others may snatch an end away before we give up.
const MOST_CLAIMS: u32 = 64;
/// Records that are still read for a message after the deadline: far more than a stream holds.
const MOST_LATE: u32 = 1 << 15;
/// Descriptors of dead senders that are dropped on the way to those of a message.
const MOST_LEFT_OVER: u32 = 1000;
/// Descriptors that one message can carry.
const MAX_DESCRIPTORS: usize = 1 << 16;

#[derive(Debug)]
pub(crate) struct End {
    segment: Segment,
    side: Side,
    words: Place<PipeWords>,
    link: Link,
    /// Rung for us, and for the other side.
    ours: Bell,
    theirs: Bell,
    sender: Option<BiasedLock<StreamSender>>,
    receiver: Option<BiasedLock<Incoming>>,
    /// The stamp of the process that was last seen to hold this end, which spares looking again.
    held_by: Hint,
    /// Whether a copy of this end went to another process: then closing is up to that one.
    travelled: Hint,
    /// When we last looked whether the other end is there.
    looked: Hint,
    readiness: OnceLock<OwnedFd>,
}

/// The receiving stream, and the part of a message that has come already.
#[derive(Debug)]
struct Incoming {
    stream: StreamReceiver,
    partial: Partial,
}

/// What has come of a message that is not whole yet.
#[derive(Debug, Default)]
enum Partial {
    #[default]
    Nothing,
    Bytes(Vec<u8>),
    /// Too much for whoever asked: the rest is dropped.
    TooLong,
    /// Its start went to a process that had this end before us: the rest is dropped, and nobody told.
    Headless,
}

/// What a message's bytes are taken as.
pub(crate) type Message = (Vec<u8>, Vec<OwnedFd>);

impl End {
    /// Both ends of a new pipe.
    pub(crate) fn pair(duplex: bool) -> Result<(Self, Self), PipeError> {
        let segment = Segment::create(&spec(duplex)?)?;
        let words: Place<PipeWords> = segment.region().place(segment.content_at()).map_err(sync::ChannelError::from)?;
        let region = segment.region();
        region.commit(segment.content_at()..segment.content_at() + size_of::<PipeWords>())?;
        words.make_fresh();
        for side in if duplex { &[Side::Second, Side::First][..] } else { &[Side::Second] } {
            StreamSender::create(region, segment.content_at() + stream_at(*side)?, crate::CAPACITY)?;
        }
        let (first, second) = Link::pair()?;
        let (bell_first, bell_second) = (Bell::new()?, Bell::new()?);
        let copy = |bell: &Bell| bell.as_fd().try_clone_to_owned().and_then(Bell::from_descriptor);
        let (to_second, to_first) = (copy(&bell_second)?, copy(&bell_first)?);
        Ok((
            Self::build(segment.clone(), Side::First, duplex, first, bell_first, to_second)?,
            Self::build(segment, Side::Second, duplex, second, bell_second, to_first)?,
        ))
    }

    fn build(segment: Segment, side: Side, duplex: bool, link: Link, ours: Bell, theirs: Bell) -> Result<Self, PipeError> {
        let at = segment.content_at();
        let region = segment.region();
        region.commit(at..at + size_of::<PipeWords>())?;
        let words = region.place(at).map_err(sync::ChannelError::from)?;
        let other = if side == Side::First { Side::Second } else { Side::First };
        let sends = duplex || side == Side::First;
        let receives = duplex || side == Side::Second;
        let sender = match sends {
            true => Some(BiasedLock::new(StreamSender::attach(region, at + stream_at(other)?, crate::CAPACITY)?)),
            false => None,
        };
        let receiver = match receives {
            true => Some(BiasedLock::new(Incoming {
                stream: StreamReceiver::attach(region, at + stream_at(side)?, crate::CAPACITY)?,
                partial: Partial::Nothing,
            })),
            false => None,
        };
        Ok(Self {
            segment,
            side,
            words,
            link,
            ours,
            theirs,
            sender,
            receiver,
            held_by: Hint::new(0),
            travelled: Hint::new(0),
            looked: Hint::new(0),
            readiness: OnceLock::new(),
        })
    }

    fn other(&self) -> Side {
        if self.side == Side::First { Side::Second } else { Side::First }
    }

    pub(crate) fn is_duplex(&self) -> bool {
        self.sender.is_some() && self.receiver.is_some()
    }

    pub(crate) fn sends(&self) -> bool {
        self.sender.is_some()
    }

    /// Makes sure that this process alone uses this end, or says who does.
    #[inline]
    fn claim(&self) -> Result<(), ClaimError> {
        if self.held_by.get() == stamp() { Ok(()) } else { self.claim_anew() }
    }

    #[cold]
    fn claim_anew(&self) -> Result<(), ClaimError> {
        let me = Identity::current();
        let holder = self.words.holder(self.side);
        let mut last = 0;
        for _ in 0..MOST_CLAIMS {
            // Acquire: what the last holder did to the end's positions comes before what we do (pairs with: give up).
            let found = holder.load(Ordering::Acquire);
            last = found as u32;
            if found != token(&me) && found != 0 {
                let pid = found as u32;
                // A holder that has died is followed by whoever uses the end next.
                if Identity::of(pid).is_some_and(|now| token(&now) == found) {
                    return Err(ClaimError::InUse(pid));
                }
            }
            if holder.compare_exchange(found, token(&me), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // Should this fail, the next use tries again.
                self.catch_up().map_err(ClaimError::Unusable)?;
                self.held_by.set(stamp());
                return Ok(());
            }
        }
        Err(ClaimError::InUse(last))
    }

    /// Reads the positions again, which another process may have moved since we mapped them.
    fn catch_up(&self) -> Result<(), PipeError> {
        let (region, at) = (self.segment.region(), self.segment.content_at());
        if let Some(sender) = &self.sender {
            *sender.lock() = StreamSender::attach(region, at + stream_at(self.other())?, crate::CAPACITY)?;
        }
        if let Some(receiver) = &self.receiver {
            receiver.lock().stream = StreamReceiver::attach(region, at + stream_at(self.side)?, crate::CAPACITY)?;
        }
        Ok(())
    }

    fn give_up(&self) {
        self.held_by.set(0);
        let me = token(&Identity::current());
        // Release: what we did to the end's positions comes before what the next holder does (pairs with: give up).
        let _ = self.words.holder(self.side).compare_exchange(me, 0, Ordering::Release, Ordering::Relaxed);
    }

    pub(crate) fn send(&self, parcel: &Parcel) -> Result<(), SendError> {
        self.send_parts(&parcel.bytes, &parcel.descriptors)
    }

    pub(crate) fn send_parts(&self, bytes: &[u8], descriptors: &[OwnedFd]) -> Result<(), SendError> {
        // The types of the handles see to it that there is one.
        let sender = self.sender.as_ref().ok_or(SendError::Disconnected)?;
        self.claim()?;
        // The kernel knows whether the other end is there, but asking costs more than a message: once per tick of the clock.
        let now = monotonic_millis();
        if self.looked.get() != now {
            if self.link.is_hung_up() {
                return Err(SendError::Disconnected);
            }
            self.looked.set(now);
        }
        let mut sender = sender.lock();
        if descriptors.is_empty() {
            return self.send_records(&mut sender, bytes, 0, &[]);
        }
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(SendError::Descriptors(std::io::Error::other("more than 65,536 descriptors in one message")));
        }
        // Through the socket first: whoever reads the record that announces them finds them there.
        let number = fresh_number().to_le_bytes();
        self.link.send(&number, descriptors).map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => SendError::Disconnected,
            _ => SendError::Descriptors(error),
        })?;
        self.send_records(&mut sender, bytes, (descriptors.len() as u32) << DESCRIPTORS_SHIFT, &number)
    }

    /// Sends a message in as many records as it takes. `trailer` comes at the end of the last one, whole.
    fn send_records(&self, sender: &mut StreamSender, bytes: &[u8], last_tag: u32, trailer: &[u8]) -> Result<(), SendError> {
        // A quarter of the room at a time, so that both sides work at once on a message that does not fit.
        let longest = sender.longest().min(crate::CAPACITY / 4);
        let (mut rest, mut continues) = (bytes, 0);
        while rest.len() + trailer.len() > longest {
            let (now, later) = rest.split_at(longest.min(rest.len()));
            self.send_record(sender, MORE | continues, now)?;
            (rest, continues) = (later, CONTINUES);
        }
        if trailer.is_empty() {
            return self.send_record(sender, last_tag | continues, rest);
        }
        self.send_record(sender, last_tag | continues, &[rest, trailer].concat())
    }

    fn send_record(&self, sender: &mut StreamSender, tag: u32, bytes: &[u8]) -> Result<(), SendError> {
        // A record fits and waits for ever, so the end is all that can be wrong.
        sender.send(tag, bytes, Deadline::NEVER, &mut || !self.link.is_hung_up()).map_err(|_| SendError::Disconnected)?;
        // The light fence in `send` puts the record before our look at the flag (pairs with: watch).
        let watched = self.words.watched(self.other());
        match watched.load(Ordering::Relaxed) {
            0 => {}
            // Asleep: one ring is enough, so the first of us who sees it takes the wish away.
            NEXT if watched.compare_exchange(NEXT, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() => {}
            _ => self.theirs.ring(),
        }
        Ok(())
    }

    /// The next message, copied straight into `buffer`, if it is whole in one record, fits, brings no descriptors and comes soon: the
    /// fast way. `None`, and nothing is taken, in any other case.
    #[inline]
    pub(crate) fn recv_into(&self, buffer: &mut [u8]) -> Option<usize> {
        let receiver = self.receiver.as_ref()?;
        self.claim().ok()?;
        let mut incoming = receiver.lock();
        if self.readiness.get().is_some() || !matches!(incoming.partial, Partial::Nothing) {
            return None;
        }
        incoming.stream.spin().ok()?;
        let record = incoming.stream.peek().filter(|record| record.tag == 0)?;
        let payload = record.payload();
        let len = payload.len();
        payload.read(buffer.get_mut(..len)?);
        record.release();
        incoming.stream.released();
        Some(len)
    }

    /// The next message of at most `max` bytes, with its descriptors.
    pub(crate) fn recv(&self, max: usize, deadline: Deadline) -> Result<Message, RecvError> {
        let receiver = self.receiver.as_ref().ok_or(RecvError::Disconnected)?;
        self.claim()?;
        let mut incoming = receiver.lock();
        let result = self.recv_whole(&mut incoming, max, deadline);
        self.refresh_bell(&mut incoming);
        result
    }

    fn recv_whole(&self, incoming: &mut Incoming, max: usize, deadline: Deadline) -> Result<Message, RecvError> {
        let mut late = 0;
        loop {
            self.wait(&mut incoming.stream, deadline).map_err(recv_error)?;
            let record = incoming.stream.recv(Deadline::NOW, &mut || true).map_err(recv_error)?;
            let (tag, payload) = (record.tag, record.payload());
            let count = if tag & MORE == 0 { (tag >> DESCRIPTORS_SHIFT) as usize } else { 0 };
            let trailer = if count == 0 { 0 } else { NUMBER };
            let mut number = [0; NUMBER];
            let len = payload.len().checked_sub(trailer).ok_or(RecvError::Corrupt)?;
            payload.part(len, trailer).ok_or(RecvError::Corrupt)?.read(&mut number[..trailer]);
            let mut so_far = match std::mem::take(&mut incoming.partial) {
                // What came before, if it was not whole, is of a sender that died in the middle of it.
                _ if tag & CONTINUES == 0 => Partial::Bytes(Vec::new()),
                Partial::Nothing => Partial::Headless,
                before => before,
            };
            if let Partial::Bytes(bytes) = &mut so_far {
                match payload.part(0, len) {
                    Some(part) if bytes.len().saturating_add(len) <= max => part.append_to(bytes),
                    _ => so_far = Partial::TooLong,
                }
            }
            record.release();
            incoming.stream.released();
            if tag & MORE != 0 {
                incoming.partial = so_far;
            } else {
                let descriptors = self.recv_descriptors(count, number)?;
                match so_far {
                    Partial::Bytes(bytes) => return Ok((bytes, descriptors)),
                    Partial::TooLong => return Err(RecvError::TooLong { max }),
                    Partial::Headless | Partial::Nothing => {}
                }
            }
            // What has come of the message stays. A sender that never ends one must not keep us beyond the deadline.
            late += u32::from(deadline.is_over());
            if late > MOST_LATE {
                return Err(RecvError::Empty);
            }
        }
    }

    /// The descriptors that came under a number. Others before them are of senders that died before their message was whole.
    fn recv_descriptors(&self, count: usize, number: [u8; NUMBER]) -> Result<Vec<OwnedFd>, RecvError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        for _ in 0..MOST_LEFT_OVER {
            // They were sent before the record: if they are not there, the record lies.
            match self.link.receive(NUMBER, MAX_DESCRIPTORS, false) {
                Ok((found, descriptors)) if found == number && descriptors.len() == count => return Ok(descriptors),
                Ok((found, _)) if found == number => return Err(RecvError::Corrupt),
                Ok(_) => {}
                Err(error) => return Err(RecvError::Descriptors(error)),
            }
        }
        Err(RecvError::Corrupt)
    }

    /// Whether a message, or the end, is there or comes before the deadline.
    pub(crate) fn poll(&self, deadline: Deadline) -> Result<bool, RecvError> {
        let receiver = self.receiver.as_ref().ok_or(RecvError::Disconnected)?;
        self.claim()?;
        let mut incoming = receiver.lock();
        let seen = self.wait(&mut incoming.stream, deadline);
        self.refresh_bell(&mut incoming);
        match seen {
            Ok(()) | Err(sync::RecvError::Closed) => Ok(true),
            Err(sync::RecvError::Empty) => Ok(false),
            Err(_) => Err(RecvError::Corrupt),
        }
    }

    /// Waits for a record or the end: spins, then sleeps on the bell and on the socket, whose hang-up tells of a death at
    /// once. Sleeping costs nothing, and needs no looks around.
    fn wait(&self, stream: &mut StreamReceiver, deadline: Deadline) -> Result<(), sync::RecvError> {
        loop {
            let over = deadline.is_over();
            match if over { stream.wait(Deadline::NOW, &mut || true) } else { stream.spin() } {
                Err(sync::RecvError::Empty) if over => return self.last_look(stream),
                Err(sync::RecvError::Empty) => {}
                other => return other,
            }
            let watched = self.words.watched(self.side);
            let every = if self.readiness.get().is_some() { EVERY } else { 0 };
            watched.store(every | NEXT, Ordering::Relaxed);
            // Either the sender sees the wish and rings, or we see its record below (pairs with: watch).
            heavy_fence();
            let seen = self.last_look(stream);
            if seen != Err(sync::RecvError::Empty) {
                watched.store(every, Ordering::Relaxed);
                return seen;
            }
            self.ours.wait_or_hang_up(&self.link, deadline.remaining());
            self.ours.clear();
            watched.store(every, Ordering::Relaxed);
        }
    }

    /// What is there now, the death of the other side included.
    fn last_look(&self, stream: &mut StreamReceiver) -> Result<(), sync::RecvError> {
        let gone = self.link.is_hung_up();
        match stream.wait(Deadline::NOW, &mut || true) {
            // What was sent before the end came first: it was looked for after.
            Err(sync::RecvError::Empty) if gone => Err(sync::RecvError::Closed),
            other => other,
        }
    }

    /// A descriptor that is readable while a message, or the end, is there.
    pub(crate) fn readiness(&self) -> std::io::Result<BorrowedFd<'_>> {
        if let Some(known) = self.readiness.get() {
            return Ok(known.as_fd());
        }
        let made = self.ours.or_hang_up(&self.link)?;
        let known = self.readiness.get_or_init(|| made);
        if let Some(receiver) = &self.receiver {
            // Whoever waits in `recv` meanwhile writes the flag too, as it was when the wait began.
            let mut incoming = receiver.lock();
            self.words.watched(self.side).store(EVERY, Ordering::Relaxed);
            // Either a sender sees the flag and rings, or we see its record below (pairs with: watch).
            heavy_fence();
            self.refresh_bell(&mut incoming);
        }
        Ok(known.as_fd())
    }

    /// Once someone waits for the descriptor: lets it ring exactly while something is there.
    fn refresh_bell(&self, incoming: &mut Incoming) {
        if self.readiness.get().is_none() {
            return;
        }
        self.ours.clear();
        // Every sender rings by now: whoever did so before we cleared the bell has a record that we see.
        if !matches!(incoming.stream.wait(Deadline::NOW, &mut || true), Err(sync::RecvError::Empty)) {
            self.ours.ring();
        }
    }
}

fn recv_error(error: sync::RecvError) -> RecvError {
    match error {
        sync::RecvError::Empty => RecvError::Empty,
        sync::RecvError::Closed => RecvError::Disconnected,
        _ => RecvError::Corrupt,
    }
}

/// A number that nobody else uses, in this process or another.
fn fresh_number() -> u64 {
    static NEXT: Hint = Hint::new(0);
    let mut hasher = DefaultHasher::new();
    (token(&Identity::current()), NEXT.add(1)).hash(&mut hasher);
    hasher.finish()
}

/// A process in one word.
fn token(who: &Identity) -> u64 {
    u64::from(who.pid) | (who.start << 32)
}

impl Drop for End {
    fn drop(&mut self) {
        if self.travelled.get() == 0 && (self.held_by.get() == 0 || self.held_by.get() == stamp()) {
            if let Some(sender) = &self.sender {
                sender.lock().close();
                self.theirs.ring();
            }
            if let Some(receiver) = &self.receiver {
                receiver.lock().stream.close();
            }
        }
        if self.held_by.get() == stamp() {
            self.give_up();
        }
    }
}
