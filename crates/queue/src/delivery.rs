//! Values of a `JoinableQueue` that know how often they were delivered, and what becomes of them.

use crate::attachment::Attachment;
use crate::ending::Apart;
use crate::error::{GetError, PutError, put_error};
use crate::joinable::JoinableQueue;
use crate::queue::Queue;
use crate::registry::{Handles, Share};
use multiproc_prim::Deadline;
use multiproc_ring::mpmc::{Held, Lane, MessageId, Unfinished};
use multiproc_sync::Refused;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The lanes of the values that were put aside, the first to look into first.
pub(crate) const DEAD_LANES: [Lane; 2] = [Lane::DeadReturned, Lane::Dead];

/// A value in hand: [`done`](Self::done) finishes it. A delivery that is dropped instead, also by a panic, is
/// [given back](Self::give_back).
///
/// It may go to another thread, outlives every handle, and keeps the process attached to the queue. A forked copy of it does
/// nothing.
///
/// After a shutdown, a get says `ShutDown` only when no delivery can come back. A get in the thread that got this delivery waits for it
/// for three seconds, and then takes it for a value in its own hands. A get in any other thread waits until it is done. So finish a
/// delivery, or give it back, before a get that is to see the end.
///
/// ```
/// # use multiproc_queue as multiproc;
/// use multiproc::JoinableQueue;
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

/// A value that was put aside, in hand. A letter that is dropped is out of the queue for good.
///
/// It may go to another thread, and outlives every handle. A process that dies with it in hand leaves it where it was.
#[derive(Debug)]
#[must_use = "a dead letter that is dropped is out of the queue for good"]
pub struct DeadLetter<T> {
    value: T,
    count: u16,
    ended: Unfinished,
    letter: Letter,
}

impl<T: Serialize + DeserializeOwned> JoinableQueue<T> {
    /// Gets the oldest value as [`get`](Self::get) does, with the number of its deliveries. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn get_delivery(&self) -> Result<Delivery<T>, GetError> {
        self.deliver_by(Deadline::NEVER)
    }

    /// Gets the oldest value as [`get_delivery`](Self::get_delivery) does if there is one now.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], or as [`get`](Self::get).
    pub fn try_get_delivery(&self) -> Result<Delivery<T>, GetError> {
        self.deliver_by(Deadline::NOW)
    }

    /// Gets the oldest value as [`get_delivery`](Self::get_delivery) does; waits at most `timeout` for one.
    ///
    /// # Errors
    ///
    /// [`GetError::Timeout`], or as [`get`](Self::get).
    pub fn get_delivery_timeout(&self, timeout: Duration) -> Result<Delivery<T>, GetError> {
        self.deliver_by(Deadline::after(timeout))
    }

    fn deliver_by(&self, deadline: Deadline) -> Result<Delivery<T>, GetError> {
        let share = self.queue().here()?;
        let attachment: &Attachment = share;
        let block = attachment.pop(deadline).map_err(|error| attachment.get_error(error))?;
        let count = block.deliveries().saturating_add(1);
        let (held, value) = Queue::<T>::read_held(attachment, block.into_taken(), |held, value| (held, value));
        let claim = Claim::new(share, held);
        match value {
            Ok(value) => Ok(Delivery { value, count, claim }),
            Err(error) => {
                claim.put_aside(Unfinished::Unreadable);
                Err(error)
            }
        }
    }

    /// Takes out the oldest value that was put aside, without waiting. Python has no counterpart.
    ///
    /// A value is put aside when it was delivered as often as [`max_deliveries`](crate::Builder::max_deliveries) allows and never
    /// done, and when a process with another `T` could not read it. For `join` it is done.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`] if there is none, or as [`get`](Self::get). A value that makes no `T` is out of the queue for good: it
    /// would be the next one again.
    ///
    /// # Panics
    ///
    /// Only if `T`'s own `Deserialize` does. The message goes back to where it was then.
    pub fn try_get_dead(&self) -> Result<DeadLetter<T>, GetError> {
        let share = self.queue().here()?;
        let attachment: &Attachment = share;
        attachment.glance();
        let mut taken = Err(GetError::Empty);
        for lane in DEAD_LANES {
            taken = attachment.channel.try_pop_block(&[lane]).map_err(|error| attachment.get_error(error.into()));
            if !matches!(taken, Err(GetError::Empty)) {
                break;
            }
        }
        let block = taken?;
        let count = block.deliveries();
        // A letter without a note is a hostile peer's work.
        let ended = block.last_end().unwrap_or(Unfinished::GivenBack { note: 0 });
        let (held, value) = Queue::<T>::read_held(attachment, block.into_taken(), |held, value| (held, value));
        let letter = Letter { attachment: share.handles(), held };
        Ok(DeadLetter { value: value?, count, ended, letter })
    }
}

impl<T> Delivery<T> {
    /// Counts the deliveries of this value so far, this one included: 1 at first, and one more each time that it was given back
    /// or that its consumer died. At most 32,767.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Returns the id of the value, which stays the same for all its deliveries.
    pub fn id(&self) -> MessageId {
        self.claim.id()
    }

    /// Says that the value is done (Python: `task_done`), and returns it. In a forked copy it only returns the value.
    pub fn done(self) -> T {
        let Self { value, mut claim, .. } = self;
        if let Some(held) = claim.take() {
            claim.attachment.complete(held);
        }
        value
    }

    /// Gives the value to another consumer, before new values. It is put aside instead if it was delivered as often as
    /// [`max_deliveries`](crate::Builder::max_deliveries) allows.
    pub fn give_back(self) {}

    /// Gives the value back as [`give_back`](Self::give_back) does, with a note for those who look at
    /// [dead letters](DeadLetter::ended): a number of the caller's choice, as the exit status of a command.
    pub fn give_back_noting(mut self, note: u32) {
        if let Some(held) = self.claim.take() {
            self.claim.attachment.give_back_noting(held, note);
        }
    }

    /// Gives the value back as [`give_back_noting`](Self::give_back_noting) does, but never puts it aside: for a consumer that has to
    /// stop halfway, which says nothing about the value. The delivery counts, so the next consumer sees that it was begun before.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::JoinableQueue;
    ///
    /// let jobs = JoinableQueue::builder().max_deliveries(1).build()?;
    /// jobs.put("job".to_string())?;
    /// jobs.get_delivery()?.give_back_interrupted(0);
    /// let again = jobs.get_delivery()?;
    /// assert_eq!(again.count(), 2);
    /// again.give_back();
    /// assert_eq!(jobs.dead_len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn give_back_interrupted(mut self, note: u32) {
        if let Some(held) = self.claim.take() {
            self.claim.attachment.give_back_interrupted(held, note);
        }
    }

    /// Gives the value to another consumer, before new values, as if it had not been delivered: for a consumer that has not begun with
    /// it. The delivery counts only if this process dies before it has given the value back.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::JoinableQueue;
    ///
    /// let jobs = JoinableQueue::builder().max_deliveries(1).build()?;
    /// jobs.put("job".to_string())?;
    /// jobs.get_delivery()?.give_back_untried();
    /// assert_eq!(jobs.get_delivery()?.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn give_back_untried(mut self) {
        if let Some(held) = self.claim.take() {
            self.claim.attachment.give_back_untried(held);
        }
    }

    /// Puts the value aside as a dead letter, however often it was delivered, with a note as
    /// [`give_back_noting`](Self::give_back_noting) has it. For `join` it is done.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::{JoinableQueue, Unfinished};
    ///
    /// let jobs = JoinableQueue::unbounded()?;
    /// jobs.put("job".to_string())?;
    /// let delivery = jobs.get_delivery()?;
    /// let id = delivery.id();
    /// delivery.put_aside(127);
    /// let letter = jobs.try_get_dead()?;
    /// assert_eq!((letter.id(), letter.ended()), (id, Unfinished::GivenBack { note: 127 }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_aside(mut self, note: u32) {
        if let Some(held) = self.claim.take() {
            self.claim.attachment.put_aside(held, Unfinished::GivenBack { note });
        }
    }
}

impl<T> DeadLetter<T> {
    /// Counts the deliveries of the value.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Returns the id that the value had in its [deliveries](Delivery::id).
    pub fn id(&self) -> MessageId {
        id_of(&self.letter.attachment, self.letter.held.as_ref())
    }

    /// Returns how the last of its deliveries ended, after which the value was put aside.
    ///
    /// ```
    /// # use multiproc_queue as multiproc;
    /// use multiproc::{JoinableQueue, Unfinished};
    ///
    /// let jobs = JoinableQueue::builder().max_deliveries(1).build()?;
    /// jobs.put("job".to_string())?;
    /// jobs.get_delivery()?.give_back();
    /// match jobs.try_get_dead()?.ended() {
    ///     Unfinished::Died { pid } => println!("it killed process {pid}"),
    ///     Unfinished::GivenBack { .. } => println!("nobody could do it"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ended(&self) -> Unfinished {
        self.ended
    }

    /// Returns the value, which is out of the queue for good.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Leaves the value among the dead letters. Those that are left are read again before the others, in the order in which they were
    /// left.
    pub fn leave(mut self) {
        if let Some(held) = self.letter.take() {
            self.letter.attachment.give_back(held);
        }
    }

    /// Puts the value into the queue again, behind all others, as if it had never been delivered; waits while a bounded queue is
    /// full.
    ///
    /// # Errors
    ///
    /// As [`put`](JoinableQueue::put), or [`PutError::Inherited`] in a forked copy. The error gives the letter back.
    pub fn put_back(self) -> Result<(), PutError<Self>> {
        self.put_back_by(Deadline::NEVER)
    }

    /// Puts the value into the queue again as [`put_back`](Self::put_back) does if there is room now.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], or as `put_back`. The error gives the letter back.
    pub fn try_put_back(self) -> Result<(), PutError<Self>> {
        self.put_back_by(Deadline::NOW)
    }

    /// Puts the value into the queue again as [`put_back`](Self::put_back) does; waits at most `timeout` for room.
    ///
    /// # Errors
    ///
    /// [`PutError::Timeout`], or as `put_back`. The error gives the letter back.
    pub fn put_back_timeout(self, timeout: Duration) -> Result<(), PutError<Self>> {
        self.put_back_by(Deadline::after(timeout))
    }

    fn put_back_by(mut self, deadline: Deadline) -> Result<(), PutError<Self>> {
        let attachment = Arc::clone(&self.letter.attachment);
        let Some(held) = self.letter.take() else { return Err(PutError::Inherited(self)) };
        let Some(mut block) = attachment.channel.resume(held) else {
            return Err(PutError::Corrupt { value: self, queue: attachment.name().into() });
        };
        block.renew();
        attachment.channel.push_block(block, attachment.until(deadline)).map_err(|Refused { error, block }| {
            self.letter.held = block.hold().ok();
            put_error(&attachment, error, self)
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

/// The message behind a delivery.
#[derive(Debug)]
struct Claim {
    attachment: Arc<Handles>,
    held: Option<Held>,
    /// The count of the thread that got it.
    apart: Arc<Apart>,
}

impl Claim {
    fn new(share: &Share, held: Option<Held>) -> Self {
        let (_, apart) = share.in_hand_here();
        apart.add();
        Self { attachment: share.handles(), held, apart }
    }

    /// `None` in a forked copy of the process that has it.
    fn take(&mut self) -> Option<Held> {
        let held = self.held.take().filter(|_| !self.attachment.membership.is_inherited())?;
        self.apart.remove(&self.attachment);
        Some(held)
    }

    fn id(&self) -> MessageId {
        id_of(&self.attachment, self.held.as_ref())
    }

    fn put_aside(mut self, why: Unfinished) {
        if let Some(held) = self.take() {
            self.attachment.put_aside(held, why);
        }
    }
}

/// The id of the message behind a delivery or a letter, which has one as long as its owner has it.
fn id_of(attachment: &Attachment, held: Option<&Held>) -> MessageId {
    held.map_or_else(MessageId::default, |held| attachment.channel.ring().id_of(held))
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(held) = self.take() {
            self.attachment.give_back(held);
        }
    }
}

/// The message behind a dead letter.
#[derive(Debug)]
struct Letter {
    attachment: Arc<Handles>,
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
            self.attachment.channel.free_held(&held);
        }
    }
}
