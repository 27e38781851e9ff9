//! Values of a `JoinableQueue` with what happened to them so far: how often they were delivered, and what becomes of them.

use crate::core::Core;
use crate::error::{GetError, PutError, put_error};
use crate::joinable::JoinableQueue;
use crate::queue::{Queue, timed_out};
use multiproc_prim::Deadline;
use multiproc_ring::mpmc::{Block, Held, Lane};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::time::Duration;

/// Where values are that were put aside, first things first.
pub(crate) const DEAD_LANES: [Lane; 2] = [Lane::DeadReturned, Lane::Dead];

/// A value in hand: [`done`](Self::done) finishes it. Dropped without, also by a panic, it is [given back](Self::give_back).
///
/// ```
/// use multiproc_queue::JoinableQueue;
///
/// let queue = JoinableQueue::bounded(4)?;
/// queue.put("job".to_string())?;
/// let delivery = queue.get_delivery()?;
/// assert_eq!((delivery.as_str(), delivery.count()), ("job", 1));
/// delivery.give_back();
/// let delivery = queue.get_delivery()?;
/// assert_eq!(delivery.count(), 2);
/// assert_eq!(delivery.done(), "job");
/// queue.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped is given back"]
pub struct Delivery<'q, T> {
    value: T,
    count: u16,
    claim: Claim<'q>,
}

/// A value that was put aside, in hand: dropped, it is out of the queue for good. A process that dies with it in hand leaves it
/// where it was.
#[derive(Debug)]
pub struct DeadLetter<'q, T> {
    value: T,
    count: u16,
    letter: Letter<'q>,
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Gets the oldest value as [`get`](Queue::get) does, with how often it was delivered. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// As `get`. A message that makes no `T` is in hand nevertheless: [`task_done`](Self::task_done) finishes it.
    pub fn get_delivery(&self) -> Result<Delivery<'_, T>, GetError> {
        self.deliver_by(Deadline::NEVER)
    }

    /// As [`get_delivery`](Self::get_delivery), without waiting.
    ///
    /// # Errors
    ///
    /// As there, or [`GetError::Empty`].
    pub fn try_get_delivery(&self) -> Result<Delivery<'_, T>, GetError> {
        self.deliver_by(Deadline::NOW)
    }

    /// As [`get_delivery`](Self::get_delivery), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As there, or [`GetError::Timeout`].
    pub fn get_delivery_timeout(&self, timeout: Duration) -> Result<Delivery<'_, T>, GetError> {
        self.deliver_by(Deadline::after(timeout)).map_err(timed_out)
    }

    fn deliver_by(&self, deadline: Deadline) -> Result<Delivery<'_, T>, GetError> {
        let core = self.here()?;
        let block = core.take(deadline).map_err(|error| core.get_error(error))?;
        let count = block.deliveries().saturating_add(1);
        let (mut claim, value) = Queue::<T>::read(block, |block| Claim { core, held: block.hold().ok() });
        match value {
            Ok(value) => Ok(Delivery { value, count, claim }),
            Err(error) => {
                claim.held.take().into_iter().for_each(|held| core.in_hand.add(held));
                Err(error)
            }
        }
    }

    /// Takes out the oldest value that was put aside: delivered as often as [`max_deliveries`](crate::Builder::max_deliveries) allows,
    /// and never done. For `join` it is done. Does not wait. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if there is none, or as [`get`](Queue::get).
    pub fn try_get_dead(&self) -> Result<DeadLetter<'_, T>, GetError> {
        let core = self.here()?;
        let mut taken = Err(GetError::Empty);
        for lane in DEAD_LANES {
            taken = core.channel.ring().take(lane).map_err(|error| core.get_error(error.into()));
            if !matches!(taken, Err(GetError::Empty)) {
                break;
            }
        }
        let block = taken?;
        let count = block.deliveries();
        let (letter, value) = Queue::<T>::read(block, |block| Letter { core, block: Some(block) });
        Ok(DeadLetter { value: value?, count, letter })
    }
}

impl<T> Delivery<'_, T> {
    /// Deliveries of this value so far, this one included: 1 at first, one more each time that it was given back or that its
    /// consumer died. Not above 32,767.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Says that it is done (Python: `task_done`), and hands the value out.
    pub fn done(self) -> T {
        let Self { value, mut claim, .. } = self;
        if let Some(held) = claim.take() {
            claim.core.complete(held);
        }
        value
    }

    /// Gives it to another consumer, before new values; or puts it aside, if it was delivered as often as
    /// [`max_deliveries`](crate::Builder::max_deliveries) allows.
    pub fn give_back(self) {}
}

impl<T> DeadLetter<'_, T> {
    /// How often it was delivered.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The value alone, which is out of the queue for good.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Puts it into the queue again, behind all others, as if it had never been delivered; waits while a bounded queue is full.
    ///
    /// # Errors
    ///
    /// As [`put`](Queue::put). The error gives the letter back.
    pub fn put_back(mut self) -> Result<(), PutError<Self>> {
        let core = self.letter.core;
        let Some(mut block) = self.letter.take() else { return Ok(()) };
        block.renew();
        core.channel.publish(block, Deadline::NEVER, || core.look_around()).map_err(|(error, block)| {
            self.letter.block = Some(block);
            put_error(core.name(), error, self)
        })
    }
}

impl<T> Deref for Delivery<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for DeadLetter<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What is in hand of a delivery.
#[derive(Debug)]
struct Claim<'q> {
    core: &'q Core,
    held: Option<Held>,
}

impl Claim<'_> {
    /// `None` in a forked copy of the process that has it.
    fn take(&mut self) -> Option<Held> {
        self.held.take().filter(|_| !self.core.membership.is_inherited())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.take() {
            self.core.give_back(held);
        }
    }
}

/// What is in hand of a dead letter.
#[derive(Debug)]
struct Letter<'q> {
    core: &'q Core,
    block: Option<Block<'q>>,
}

impl<'q> Letter<'q> {
    /// `None` in a forked copy of the process that has it.
    fn take(&mut self) -> Option<Block<'q>> {
        let block = self.block.take()?;
        self.core.ours(block)
    }
}

impl Drop for Letter<'_> {
    fn drop(&mut self) {
        if let Some(block) = self.take() {
            self.core.channel.release(block);
        }
    }
}
