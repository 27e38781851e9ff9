//! Where a worker's messages come from: a queue on this machine, or one past it.

use anyhow::Context;
use multiproc::{Delivery, GetError, JoinableQueue, MessageId, Overview};
use std::fmt::Debug;
use std::ops::Deref;
use std::os::fd::BorrowedFd;

/// What a worker takes messages from, one for each free slot.
pub(crate) trait Supply {
    /// Readable once there may be a message that was not there before, or the end.
    fn readiness(&self) -> anyhow::Result<BorrowedFd<'_>>;

    /// Takes a message, without a wait.
    fn try_get(&mut self) -> anyhow::Result<Got>;

    /// Whether no message waits, as far as is known.
    fn is_empty(&self) -> bool;

    /// Whether no more come, as far as is known.
    fn is_shut_down(&self) -> bool;

    /// Whether nothing waits and nothing is in hand, once [`try_get`](Self::try_get) has said that it is empty.
    fn is_all_done(&self) -> bool;

    /// Counts the messages that wait or are in hand, for a progress bar.
    fn unfinished(&self) -> u64;

    /// So many messages have been [taken](Self::taken) once all are that wait now.
    fn behind_all(&self) -> u64;

    /// Counts the messages that were taken.
    fn taken(&self) -> u64;
}

/// What a look for a message came to.
pub(crate) enum Got {
    Message(Box<dyn InHand>),
    /// It made no message, and is aside.
    Unreadable(String),
    /// The answer is on its way, and [readiness](Supply::readiness) tells when it is there.
    #[cfg_attr(not(feature = "nats"), expect(dead_code, reason = "a queue of this machine answers at once"))]
    Asked,
    Empty,
    ShutDown,
}

/// A message in hand, which is given back when it is dropped.
pub(crate) trait InHand: Deref<Target = Vec<u8>> + Debug {
    /// Counts the deliveries so far, this one included.
    fn count(&self) -> u16;

    /// The same for every delivery.
    fn id(&self) -> MessageId;

    fn done(self: Box<Self>);

    /// Its job failed, with this note.
    fn give_back(self: Box<Self>, note: u32);

    /// Its job was ended for the worker's sake.
    fn give_back_interrupted(self: Box<Self>, note: u32);

    /// No job of it was started.
    fn give_back_untried(self: Box<Self>);

    /// It failed for good.
    fn put_aside(self: Box<Self>, note: u32);
}

impl InHand for Delivery<Vec<u8>> {
    fn count(&self) -> u16 {
        self.count()
    }

    fn id(&self) -> MessageId {
        self.id()
    }

    fn done(self: Box<Self>) {
        (*self).done();
    }

    fn give_back(self: Box<Self>, note: u32) {
        self.give_back_noting(note);
    }

    fn give_back_interrupted(self: Box<Self>, note: u32) {
        (*self).give_back_interrupted(note);
    }

    fn give_back_untried(self: Box<Self>) {
        (*self).give_back_untried();
    }

    fn put_aside(self: Box<Self>, note: u32) {
        (*self).put_aside(note);
    }
}

/// A queue of this machine.
pub(crate) struct Here<'q> {
    queue: &'q JoinableQueue<Vec<u8>>,
    traffic: Traffic,
}

/// Counts what goes in and out of a queue.
enum Traffic {
    /// Other processes use it as well.
    Shared(Overview),
    /// This process alone takes messages out.
    Own { taken: u64 },
}

impl<'q> Here<'q> {
    pub(crate) fn shared(queue: &'q JoinableQueue<Vec<u8>>, overview: Overview) -> Self {
        Self { queue, traffic: Traffic::Shared(overview) }
    }

    pub(crate) fn own(queue: &'q JoinableQueue<Vec<u8>>) -> Self {
        Self { queue, traffic: Traffic::Own { taken: 0 } }
    }
}

impl Supply for Here<'_> {
    fn readiness(&self) -> anyhow::Result<BorrowedFd<'_>> {
        self.queue.readiness().context("can't wait for the queue")
    }

    fn try_get(&mut self) -> anyhow::Result<Got> {
        Ok(match self.queue.try_get_delivery() {
            Ok(delivery) => {
                if let Traffic::Own { taken } = &mut self.traffic {
                    *taken += 1;
                }
                Got::Message(Box::new(delivery))
            }
            Err(GetError::Empty) => Got::Empty,
            Err(GetError::ShutDown) => Got::ShutDown,
            Err(error @ (GetError::Decode { .. } | GetError::Form { .. })) => Got::Unreadable(error.to_string()),
            Err(error) => return Err(error).context("can't get a message"),
        })
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn is_shut_down(&self) -> bool {
        self.queue.is_shut_down()
    }

    fn is_all_done(&self) -> bool {
        self.queue.unfinished() == 0
    }

    fn unfinished(&self) -> u64 {
        self.queue.unfinished() as u64
    }

    fn behind_all(&self) -> u64 {
        match &self.traffic {
            Traffic::Shared(overview) => overview.puts(),
            Traffic::Own { taken } => taken + self.queue.len() as u64,
        }
    }

    fn taken(&self) -> u64 {
        match &self.traffic {
            Traffic::Shared(overview) => overview.gets(),
            Traffic::Own { taken } => *taken,
        }
    }
}
