//! Getting: values in hand of a thread, and deliveries.

use crate::core::{Core, Lane, Standing};
use crate::error::{DoneError, GetError, ServerError, TaskDoneError};
use crate::hold::{Hold, NotEnded};
use crate::pull;
use crate::queue::RemoteQueue;
use crate::runtime::{anywhere, wait};
use crate::until::Until;
use async_nats::Message;
use bytes::Bytes;
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

/// A wait without a deadline looks up now and then.
const LONG: Duration = Duration::from_secs(60);

thread_local! {
    /// What this thread got with `get` and has not said `task_done` of. The end of the thread gives it back.
    static IN_HAND: RefCell<VecDeque<Hold>> = const { RefCell::new(VecDeque::new()) };
}

/// A value in hand: [`done`](Self::done) finishes it. A delivery that is dropped instead, also by a panic, is
/// [given back](Self::give_back).
///
/// It may go to another thread, and outlives every handle. The server hears four times in a lease that this process still has it.
#[derive(Debug)]
#[must_use = "a delivery that is dropped is given back"]
pub struct Delivery<T> {
    value: T,
    hold: Hold,
}

impl<T: Serialize + DeserializeOwned> RemoteQueue<T> {
    /// Gets the oldest value; waits while there is none, and while the server is away.
    ///
    /// It is in hand of this thread from then on, until [`task_done`](Self::task_done).
    ///
    /// # Errors
    ///
    /// There never will be a value, or a message makes no `T`: it is among the [dead letters](Self::try_get_dead) then.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_by(Until::NEVER)
    }

    /// Gets the oldest value if there is one now.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], [`Unanswered`](crate::ServerError::Unanswered) after 5 seconds, or as [`get`](Self::get).
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_by(Until::now())
    }

    /// Gets the oldest value; waits at most `timeout` for one.
    ///
    /// # Errors
    ///
    /// [`GetError::Timeout`], or as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_by(Until::after(timeout))
    }

    fn get_by(&self, until: Until) -> Result<T, GetError> {
        let Delivery { value, hold } = wait(self.deliver_by(until, Some(std::thread::current().id())))?;
        IN_HAND.with_borrow_mut(|in_hand| in_hand.push_back(hold));
        Ok(value)
    }

    /// Gets the oldest value as [`get`](Self::get) does, with the number of its deliveries.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub fn get_delivery(&self) -> Result<Delivery<T>, GetError> {
        wait(self.deliver_by(Until::NEVER, Some(std::thread::current().id())))
    }

    /// Gets the oldest value as [`get_delivery`](Self::get_delivery) does if there is one now.
    ///
    /// # Errors
    ///
    /// [`GetError::Empty`], or as [`try_get`](Self::try_get).
    pub fn try_get_delivery(&self) -> Result<Delivery<T>, GetError> {
        wait(self.deliver_by(Until::now(), Some(std::thread::current().id())))
    }

    /// Gets the oldest value as [`get_delivery`](Self::get_delivery) does; waits at most `timeout` for one.
    ///
    /// # Errors
    ///
    /// [`GetError::Timeout`], or as [`get`](Self::get).
    pub fn get_delivery_timeout(&self, timeout: Duration) -> Result<Delivery<T>, GetError> {
        wait(self.deliver_by(Until::after(timeout), Some(std::thread::current().id())))
    }

    /// Gets the oldest value as [`get_delivery`](Self::get_delivery) does, in a future.
    ///
    /// After a shutdown it says [`ShutDown`](GetError::ShutDown) once every value is done. A task that holds a delivery meanwhile waits for
    /// itself: finish a delivery, or give it back, before waiting for the next one.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped takes nothing. A value that was on its way to it is given back, and its count is one more then.
    ///
    /// # Errors
    ///
    /// As `get_delivery`.
    pub async fn get_delivery_async(&self) -> Result<Delivery<T>, GetError> {
        anywhere(self.deliver_by(Until::NEVER, None)).await
    }

    /// Gets the oldest value as [`try_get_delivery`](Self::try_get_delivery) does, in a future.
    ///
    /// # Cancel safety
    ///
    /// As [`get_delivery_async`](Self::get_delivery_async).
    ///
    /// # Errors
    ///
    /// As `try_get_delivery`.
    pub async fn try_get_delivery_async(&self) -> Result<Delivery<T>, GetError> {
        anywhere(self.deliver_by(Until::now(), None)).await
    }

    /// Gets the oldest value as [`get_delivery_timeout`](Self::get_delivery_timeout) does, in a future.
    ///
    /// # Cancel safety
    ///
    /// As [`get_delivery_async`](Self::get_delivery_async).
    ///
    /// # Errors
    ///
    /// As `get_delivery_timeout`.
    pub async fn get_delivery_timeout_async(&self, timeout: Duration) -> Result<Delivery<T>, GetError> {
        anywhere(self.deliver_by(Until::after(timeout), None)).await
    }

    async fn deliver_by(&self, until: Until, thread: Option<ThreadId>) -> Result<Delivery<T>, GetError> {
        loop {
            let (mut hold, message) = self.next_by(until, thread).await?;
            let limit = hold.core.shape.max_deliveries;
            if limit > 0 && hold.count > limit {
                // Its last consumer died with it. It stays in the queue until the copy is made.
                let _ = hold.put_aside(message.payload.clone(), false, until).await;
                continue;
            }
            if hold.count > 1 && !hold.claim(until).await? {
                continue;
            }
            match pass::decode_plain(&message.payload) {
                Ok(value) => {
                    hold.give_to(thread);
                    return Ok(Delivery { value, hold });
                }
                Err(why) => {
                    let _ = hold.put_aside(message.payload.clone(), true, until).await;
                    return Err(GetError::Decode(why));
                }
            }
        }
    }

    /// The next message, from what was fetched in advance or from the server.
    async fn next_by(&self, until: Until, thread: Option<ThreadId>) -> Result<(Hold, Message), GetError> {
        let opened = self.open().await?;
        let core = &opened.core;
        loop {
            core.here()?;
            let mut standing = core.standing();
            let shut_down = *standing.borrow_and_update() == Standing::ShutDown;
            if let Some(prefetch) = opened.prefetch() {
                if let Some(got) = prefetch.try_take() {
                    return Ok(got);
                }
                if until.waits && !shut_down {
                    tokio::select! {
                        biased;
                        Some(got) = prefetch.take() => return Ok(got),
                        _ = standing.changed() => continue,
                        () = tokio::time::sleep(until.left(LONG)) => {}
                    }
                    if until.is_over() {
                        return Err(GetError::Timeout);
                    }
                    continue;
                }
            }
            if shut_down && core.look(until).await?.messages <= core.leases.of_thread(thread) {
                return Err(GetError::ShutDown);
            }
            match pull::one(core, Lane::Values, until).await? {
                Some(message) => {
                    if let Some(hold) = Hold::of(core, Lane::Values, &message) {
                        return Ok((hold, message));
                    }
                }
                None if !until.waits => return Err(GetError::Empty),
                None if until.is_over() => return Err(GetError::Timeout),
                None => {}
            }
        }
    }
}

impl<T> RemoteQueue<T> {
    /// Says that the oldest value that the calling thread got with [`get`](Self::get) and has not finished is done. Waits until the server
    /// knows it.
    ///
    /// # Errors
    ///
    /// The thread has nothing in hand, the lease was lost, or the queue was deleted.
    pub fn task_done(&self) -> Result<(), TaskDoneError> {
        let core = wait(self.core()).map_err(TaskDoneError::Server)?;
        let hold = IN_HAND.with_borrow_mut(|in_hand| {
            let oldest = in_hand.iter().position(|hold| Arc::ptr_eq(&hold.core, core))?;
            in_hand.remove(oldest)
        });
        let mut hold = hold.ok_or(TaskDoneError::NothingInHand)?;
        let done = wait(hold.done(Until::NEVER));
        done.map_err(|why| why.with((), &hold.core).into())
    }
}

impl<T> Delivery<T> {
    /// Counts the deliveries of this value so far, this one included: 1 at first. At most `u16::MAX`.
    pub fn count(&self) -> u16 {
        self.hold.count.try_into().unwrap_or(u16::MAX)
    }

    /// Returns the number of the value in the queue, which stays the same for all its deliveries.
    pub fn id(&self) -> u64 {
        self.hold.sequence
    }

    /// Says that the value is done, and returns it once the server knows. Goes on trying while the server is away.
    ///
    /// # Errors
    ///
    /// [`DoneError::LeaseLost`]: another consumer has the value, since the server heard nothing of this process for longer than the
    /// lease. Or the queue was deleted.
    pub fn done(self) -> Result<T, DoneError<T>> {
        wait(self.done_by(Until::NEVER))
    }

    /// Says that the value is done as [`done`](Self::done) does; tries for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unanswered`](crate::ServerError::Unanswered): the server may know, or the value comes back. Or as `done`.
    pub fn done_timeout(self, timeout: Duration) -> Result<T, DoneError<T>> {
        wait(self.done_by(Until::after(timeout)))
    }

    /// Says that the value is done as [`done`](Self::done) does, in a future. If that is dropped, the value is given back, or is done.
    ///
    /// # Errors
    ///
    /// As `done`.
    pub async fn done_async(self) -> Result<T, DoneError<T>> {
        anywhere(self.done_by(Until::NEVER)).await
    }

    async fn done_by(self, until: Until) -> Result<T, DoneError<T>> {
        let Self { value, mut hold } = self;
        match hold.done(until).await {
            Ok(()) => Ok(value),
            Err(why) => Err(why.with(value, &hold.core)),
        }
    }

    /// Gives the value to another consumer, before new values. It is put aside instead if it was delivered as often as
    /// [`max_deliveries`](crate::Builder::max_deliveries) allows.
    ///
    /// If the server can't be told within a lease, the value comes back when the lease ends.
    pub fn give_back(self) {
        self.give_back_after(Duration::ZERO);
    }

    /// Gives the value back as [`give_back`](Self::give_back) does. Nobody gets it before `delay` is over.
    pub fn give_back_after(mut self, delay: Duration) {
        let until = Until::after(self.hold.core.shape.lease);
        // If it fails, the loan is dropped, which tries once more and then leaves it to the lease.
        let _ = wait(self.hold.give_back(delay, until));
    }

    /// Gives the value back as [`give_back_after`](Self::give_back_after) does, in a future.
    pub async fn give_back_async(mut self, delay: Duration) {
        let until = Until::after(self.hold.core.shape.lease);
        let _ = anywhere(self.hold.give_back(delay, until)).await;
    }
}

impl<T: Serialize + DeserializeOwned> Delivery<T> {
    /// Puts the value aside as a dead letter, however often it was delivered. For `join` it is done.
    ///
    /// # Errors
    ///
    /// As [`done`](Self::done).
    pub fn put_aside(self) -> Result<(), DoneError<T>> {
        let Self { value, mut hold } = self;
        let mut bytes = Vec::new();
        if let Err(why) = pass::encode_plain(&value, &mut bytes) {
            let why = ServerError::Refused { why: format!("the value can't be encoded again: {why}") };
            return Err(DoneError::Server { value, why });
        }
        let aside = wait(hold.put_aside(Bytes::from(bytes), false, Until::NEVER));
        aside.map_err(|why| why.with(value, &hold.core))
    }
}

impl NotEnded {
    pub(crate) fn with<T>(self, value: T, core: &Core) -> DoneError<T> {
        match self {
            Self::Lost => DoneError::LeaseLost { value, lease: core.shape.lease },
            Self::Server(why) => DoneError::Server { value, why },
        }
    }
}

impl<T> Deref for Delivery<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
