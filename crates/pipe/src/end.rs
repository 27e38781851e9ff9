//! One end of a pipe: its two directions, and how it is made, split, moved and closed.

use crate::error::{ClaimError, PipeError, RecvError, SendError};
use crate::incoming::{Incoming, Message};
use crate::layout::{CAPACITY, Side, spec, stream_at};
use crate::outgoing::Outgoing;
use crate::ownership::{Shared, words};
use multiproc_prim::Deadline;
use multiproc_shm::Segment;
use multiproc_sync::StreamSender;
use multiproc_travel::{Link, Readiness, Wire};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// An end, or one direction of it. The types that users see are thin shells around it.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) shared: Arc<Shared>,
    pub(crate) outgoing: Option<Outgoing>,
    pub(crate) incoming: Option<Incoming>,
}

impl End {
    /// Both ends of a new pipe.
    pub(crate) fn pair(duplex: bool) -> Result<(Self, Self), PipeError> {
        let segment = Segment::create(&spec(duplex)?)?;
        words(&segment)?.make_fresh();
        for side in if duplex { &[Side::Second, Side::First][..] } else { &[Side::Second] } {
            StreamSender::create(segment.region(), segment.content_at() + stream_at(*side)?, CAPACITY)?;
        }
        let (first, second) = Wire::pair()?;
        Ok((
            Self::build(segment.clone(), (Side::First, duplex), Arc::new(first), 0, None)?,
            Self::build(segment, (Side::Second, duplex), Arc::new(second), 0, None)?,
        ))
    }

    pub(crate) fn build(
        segment: Segment,
        (side, duplex): (Side, bool),
        wire: Arc<Wire>,
        generation: u64,
        lease: Option<Link>,
    ) -> Result<Self, PipeError> {
        let shared = Shared::new(segment, (side, duplex), wire, generation, lease)?;
        let outgoing = if duplex || side == Side::First { Some(Outgoing::new(&shared)?) } else { None };
        let incoming = if duplex || side == Side::Second { Some(Incoming::new(&shared)?) } else { None };
        Ok(Self { shared: Arc::new(shared), outgoing, incoming })
    }

    /// Whether it sends, and whether it receives.
    pub(crate) fn ways(&self) -> (bool, bool) {
        (self.outgoing.is_some(), self.incoming.is_some())
    }

    /// Whether it is one direction of an end that goes both ways.
    pub(crate) fn is_half(&self) -> bool {
        self.shared.duplex && self.ways() != (true, true)
    }

    /// Sends a message if that is quickly done; otherwise nothing is sent.
    #[inline]
    pub(crate) fn send_at_once(&mut self, bytes: &[u8]) -> bool {
        self.outgoing.as_mut().is_some_and(|outgoing| outgoing.send_at_once(&self.shared, bytes))
    }

    /// Sends a message, whole or not at all.
    pub(crate) fn send(&mut self, bytes: &[u8], descriptors: &[OwnedFd], deadline: Deadline) -> Result<(), SendError> {
        // An end that only receives has no handle that sends.
        let outgoing = self.outgoing.as_mut().ok_or(SendError::Disconnected)?;
        let result = outgoing.send(&self.shared, bytes, descriptors, deadline);
        if let Err(SendError::Disconnected) = &result {
            outgoing.look_again();
        }
        result
    }

    /// Copies the next message into `buffer` if that is quickly done; otherwise nothing is taken.
    #[inline]
    pub(crate) fn recv_into(&mut self, buffer: &mut [u8], deadline: Deadline) -> Option<usize> {
        self.incoming.as_mut()?.recv_into(&self.shared, buffer, deadline)
    }

    /// Receives the next message of at most `max` bytes; with its descriptors, or without.
    pub(crate) fn recv(&mut self, max: usize, wants_fds: bool, deadline: Deadline) -> Result<Message, RecvError> {
        let incoming = self.incoming.as_mut().ok_or(RecvError::Disconnected)?;
        let result = incoming.recv(&self.shared, max, wants_fds, deadline);
        if let (Err(RecvError::Disconnected), Some(outgoing)) = (&result, &mut self.outgoing) {
            outgoing.look_again();
        }
        result
    }

    /// Whether a message, or the end, is there or comes before the deadline.
    pub(crate) fn poll(&mut self, deadline: Deadline) -> Result<bool, RecvError> {
        self.incoming.as_mut().ok_or(RecvError::Disconnected)?.poll(&self.shared, deadline)
    }

    /// A descriptor that is readable while a message, or the end, is there.
    pub(crate) fn readiness(&mut self) -> io::Result<Arc<Readiness>> {
        self.incoming.as_mut().ok_or(io::ErrorKind::InvalidInput)?.readiness(&self.shared)
    }

    /// The two directions, each an end of its own, for two threads.
    pub(crate) fn split(mut self) -> (Self, Self) {
        // Dropping a half closes its direction, even if it was never used. An end that can't be claimed says so when it is used.
        let _ = self.shared.claim();
        self.shared.set_split();
        let half = |outgoing, incoming| Self { shared: self.shared.clone(), outgoing, incoming };
        (half(self.outgoing.take(), None), half(None, self.incoming.take()))
    }

    /// Makes sure that this process alone uses this end, and that both directions go on where they stopped.
    pub(crate) fn claim(&mut self) -> Result<(), ClaimError> {
        self.outgoing.as_mut().map_or(Ok(()), |outgoing| outgoing.claim(&self.shared))?;
        self.incoming.as_mut().map_or(Ok(()), |incoming| incoming.claim(&self.shared))
    }

    /// Makes the end ready to go to another process. From now on nobody uses it, and copies that stay behind are of an old generation.
    pub(crate) fn depart(&mut self) -> Result<(), ClaimError> {
        self.claim()?;
        let Some(shared) = Arc::get_mut(&mut self.shared) else { return Err(ClaimError::Moved) };
        shared.depart();
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.depart();
        }
        if let Some(incoming) = &mut self.incoming {
            incoming.depart(&self.shared);
        }
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // A copy that never used the end leaves it to the process that does. If all copies are gone, the socket tells the other side.
        if self.shared.is_ours() && !self.shared.has_stand_by() {
            if let Some(outgoing) = &self.outgoing {
                outgoing.close();
                self.shared.wire.ring();
            }
            if let Some(incoming) = &self.incoming {
                incoming.close();
                // Nobody receives what is in the socket. A sender that waits for room there goes on, and finds the end.
                self.shared.wire.finish(u64::MAX);
            }
        }
    }
}
