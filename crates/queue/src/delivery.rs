//! Values of a `JoinableQueue` with what happened to them so far: how often they were delivered, and what becomes of them.

use crate::attachment::Attachment;
use crate::ending::Apart;
use crate::error::{GetError, PutError, put_error};
use crate::joinable::JoinableQueue;
use crate::queue::{Queue, timed_out};
use multiproc_prim::Deadline;
use multiproc_ring::mpmc::{Held, Lane};
use multiproc_sync::Refused;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Where values are that were put aside, first things first.
pub(crate) const DEAD_LANES: [Lane; 2] = [Lane::DeadReturned, Lane::Dead];

/// A value in hand: [`done`](Self::done) finishes it. Dropped without, also by a panic, it is [given back](Self::give_back).
///
/// It may go to another thread, and keeps the process attached to the queue when every handle is gone. A forked copy of it does nothing.
/// After a shutdown a get of the thread that got it waits for it for three seconds, and from then on takes it for its own, wherever it
/// is. A get of any other thread waits until it is done. So a thread finishes what it has, or gives it back, before a get that is to see the
/// end.
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
/// queue.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a delivery that is dropped is given back"]
pub struct Delivery<T> {
    value: T,
    count: u16,
    claim: Claim,
}

/// A value that was put aside, in hand: dropped, it is out of the queue for good. A process that dies with it in hand leaves it
/// where it was.
#[derive(Debug)]
pub struct DeadLetter<T> {
    value: T,
    count: u16,
    letter: Letter,
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Gets the oldest value as [`get`](Queue::get) does, with how often it was delivered. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn get_delivery(&self) -> Result<Delivery<T>, GetError> {
        self.deliver_by(Deadline::NEVER)
    }

    /// As [`get_delivery`](Self::get_delivery), without waiting.
    ///
    /// # Errors
    ///
    /// As there, or [`GetError::Empty`].
    pub fn try_get_delivery(&self) -> Result<Delivery<T>, GetError> {
        self.deliver_by(Deadline::NOW)
    }

    /// As [`get_delivery`](Self::get_delivery), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As there, or [`GetError::Timeout`].
    pub fn get_delivery_timeout(&self, timeout: Duration) -> Result<Delivery<T>, GetError> {
        self.deliver_by(Deadline::after(timeout)).map_err(timed_out)
    }

    fn deliver_by(&self, deadline: Deadline) -> Result<Delivery<T>, GetError> {
        let attachment = self.here()?;
        let block = attachment.pop(deadline).map_err(|error| attachment.get_error(error))?;
        let count = block.deliveries().saturating_add(1);
        let (held, value) = Queue::<T>::read_held(attachment, block);
        let claim = Claim::new(attachment, held);
        match value {
            Ok(value) => Ok(Delivery { value, count, claim }),
            Err(error) => {
                claim.put_aside();
                Err(error)
            }
        }
    }

    /// Takes out the oldest value that was put aside: delivered as often as [`max_deliveries`](crate::Builder::max_deliveries) allows,
    /// and never done; or in hand of a process with another `T` that could not read it. For `join` it is done. Does not wait. Python
    /// has no counterpart.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if there is none, or as [`get`](Queue::get). One that makes no `T` is out of the queue for good: it would
    /// be the next one again.
    ///
    /// # Panics
    ///
    /// Only if `T`'s own `Deserialize` does. The message goes back to where it was then.
    pub fn try_get_dead(&self) -> Result<DeadLetter<T>, GetError> {
        let attachment = self.here()?;
        let mut taken = Err(GetError::Empty);
        for lane in DEAD_LANES {
            taken = attachment.channel.try_pop_block(&[lane]).map_err(|error| attachment.get_error(error.into()));
            if !matches!(taken, Err(GetError::Empty)) {
                break;
            }
        }
        let block = taken?;
        let count = block.deliveries();
        let (held, value) = Queue::<T>::read_held(attachment, block);
        let letter = Letter { attachment: Arc::clone(attachment), held };
        Ok(DeadLetter { value: value?, count, letter })
    }
}

impl<T> Delivery<T> {
    /// Deliveries of this value so far, this one included: 1 at first, one more each time that it was given back or that its
    /// consumer died. Not above 32,767.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Says that it is done (Python: `task_done`), and hands the value out. In a forked copy it only hands the value out.
    pub fn done(self) -> T {
        let Self { value, mut claim, .. } = self;
        if let Some(held) = claim.take() {
            claim.attachment.complete(held);
        }
        value
    }

    /// Gives it to another consumer, before new values; or puts it aside, if it was delivered as often as
    /// [`max_deliveries`](crate::Builder::max_deliveries) allows.
    pub fn give_back(self) {}
}

impl<T> DeadLetter<T> {
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
    /// As [`put`](Queue::put), or [`PutError::Inherited`] in a forked copy. The error gives the letter back.
    pub fn put_back(mut self) -> Result<(), PutError<Self>> {
        let attachment = Arc::clone(&self.letter.attachment);
        let held = self.letter.take();
        let Some(mut block) = held.and_then(|held| attachment.channel.resume(held)) else {
            return Err(PutError::Inherited(self));
        };
        block.renew();
        attachment.channel.push_block(block, attachment.until(Deadline::NEVER)).map_err(|Refused { error, block }| {
            self.letter.held = block.hold().ok();
            put_error(attachment.name(), error, self)
        })
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for DeadLetter<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What is in hand of a delivery.
#[derive(Debug)]
struct Claim {
    attachment: Arc<Attachment>,
    held: Option<Held>,
    /// Where the thread that got it counts it.
    apart: Arc<Apart>,
}

impl Claim {
    fn new(attachment: &Arc<Attachment>, held: Option<Held>) -> Self {
        let (_, apart) = attachment.in_hand_here();
        apart.add();
        Self { attachment: Arc::clone(attachment), held, apart }
    }

    /// `None` in a forked copy of the process that has it.
    fn take(&mut self) -> Option<Held> {
        let held = self.held.take().filter(|_| !self.attachment.membership.is_inherited())?;
        self.apart.remove(&self.attachment);
        Some(held)
    }

    fn put_aside(mut self) {
        if let Some(held) = self.take() {
            self.attachment.put_aside(held);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.take() {
            self.attachment.give_back(held);
        }
    }
}

/// What is in hand of a dead letter.
#[derive(Debug)]
struct Letter {
    attachment: Arc<Attachment>,
    held: Option<Held>,
}

impl Letter {
    /// `None` in a forked copy of the process that has it.
    fn take(&mut self) -> Option<Held> {
        self.held.take().filter(|_| !self.attachment.membership.is_inherited())
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        if let Some(held) = self.take() {
            drop(self.attachment.channel.resume(held));
        }
    }
}
