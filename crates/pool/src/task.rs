//! One task of a pool, and its result to come.

use crate::error::TaskError;
use crate::gather::decode;
use crate::ledger::{Job, Ledger};
use crate::message::Results;
#[cfg(feature = "async")]
use multiproc_sync::Waiter;
use multiproc_sync::call;
use serde::de::DeserializeOwned;
use std::fmt;
#[cfg(feature = "async")]
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::ops::Range;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A task that [`spawn`](crate::Pool::spawn) submitted (Python: `AsyncResult`). Dropping it changes nothing for the task: it runs, and its
/// result is dropped.
///
/// ```
/// # use multiproc_pool as multiproc;
/// use multiproc::Pool;
///
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(1)?;
/// let task = pool.spawn(double, 21)?;
/// assert_eq!(task.wait()?, 42);
/// # Ok(())
/// # }
/// ```
#[must_use = "a task runs without it, but its result is lost"]
pub struct Task<R> {
    cell: Arc<Cell>,
    ledger: Arc<Ledger>,
    returns: PhantomData<fn() -> R>,
}

/// Where the result of a task goes.
#[derive(Default)]
pub(crate) struct Cell {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Result<Results, TaskError>>,
    /// The number of the task's order.
    number: u64,
    /// The future that waits for it.
    waker: Option<Waker>,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, outcome: Result<Results, TaskError>) {
        let mut state = self.lock();
        state.outcome.get_or_insert(outcome);
        let waker = state.waker.take();
        drop(state);
        // Its panic does not take the results of others along.
        waker.into_iter().for_each(call);
    }
}

impl Job for Cell {
    fn deliver(&self, _: usize, results: Results) {
        self.set(Ok(results));
    }

    fn fail(&self, _: Range<usize>, error: &TaskError) {
        self.set(Err(error.clone()));
    }

    fn renumber(&self, number: u64) {
        self.lock().number = number;
    }
}

impl<R> Task<R> {
    fn has_ended(&self) -> bool {
        self.cell.lock().outcome.is_some()
    }

    pub(crate) fn new(cell: Arc<Cell>, ledger: Arc<Ledger>) -> Self {
        Self { cell, ledger, returns: PhantomData }
    }

    /// Returns whether the task has ended, well or not (Python: `ready`).
    pub fn is_ready(&self) -> bool {
        if self.ledger.is_inherited() || self.has_ended() {
            return true;
        }
        self.ledger.collect_now();
        self.has_ended()
    }

    /// Cancels the task if it has not begun. Then it never runs, and [`wait`](Self::wait) gives
    /// [`Cancelled`](TaskError::Cancelled). Returns whether it did (Python: `Future.cancel` of `concurrent.futures`).
    ///
    /// Of more than a million tasks that wait or run at once, those beyond can't be cancelled.
    pub fn cancel(&self) -> bool {
        if self.ledger.is_inherited() {
            return false;
        }
        let number = self.cell.lock().number;
        self.ledger.cancel(number)
    }
}

impl<R: DeserializeOwned> Task<R> {
    /// Waits for the result (Python: `get`).
    ///
    /// # Errors
    ///
    /// The task has no result, and why. In a forked copy of the process there never is one.
    pub fn wait(self) -> Result<R, TaskError> {
        self.wait_by(None).unwrap_or_else(|_| Err(forked()))
    }

    /// Waits for the result for at most `timeout`; then gives the task back (Python: `get(timeout)`).
    ///
    /// # Errors
    ///
    /// The outer error is the task, which has not ended. The inner one is that of [`wait`](Self::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<R, TaskError>, Self> {
        self.wait_by(Instant::now().checked_add(timeout))
    }

    fn wait_by(self, deadline: Option<Instant>) -> Result<Result<R, TaskError>, Self> {
        if self.ledger.is_inherited() {
            return Ok(Err(forked()));
        }
        match self.ledger.wait(deadline, || self.cell.lock().outcome.take()) {
            Some(outcome) => Ok(outcome.and_then(|results| value_of(&results))),
            None if deadline.is_none() => Ok(Err(TaskError::Ended { why: "its results can't be read".into() })),
            None => Err(self),
        }
    }
}

/// A [`Task`] that is awaited.
#[cfg(feature = "async")]
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct TaskFuture<R> {
    task: Task<R>,
    /// Among those that wait for reports: where no thread takes them, this future does.
    waiter: Option<Waiter>,
}

/// Waits for the result, as [`wait`](Task::wait) does, in a future.
///
/// # Cancel safety
///
/// A future that is dropped changes nothing for the task: it runs, and its result is dropped.
#[cfg(feature = "async")]
impl<R: DeserializeOwned> IntoFuture for Task<R> {
    type Output = Result<R, TaskError>;
    type IntoFuture = TaskFuture<R>;

    fn into_future(self) -> TaskFuture<R> {
        TaskFuture { task: self, waiter: None }
    }
}

#[cfg(feature = "async")]
impl<R> Drop for TaskFuture<R> {
    fn drop(&mut self) {
        if !self.task.ledger.is_inherited() {
            let waker = self.task.cell.lock().waker.take();
            drop(waker);
        }
    }
}

#[cfg(feature = "async")]
impl<R: DeserializeOwned> Future for TaskFuture<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R, TaskError>> {
        let Self { task: Task { cell, ledger, .. }, waiter } = self.get_mut();
        if ledger.is_inherited() {
            return Poll::Ready(Err(forked()));
        }
        let waker = context.waker().clone();
        let before = cell.lock().waker.replace(waker);
        drop(before);
        if waiter.is_none() {
            *waiter = ledger.waiter();
        }
        let list = waiter.as_ref().map(|waiter| Arc::clone(waiter.list()));
        let attempt = || {
            if let (false, Some(list)) = (ledger.collect_now(), &list) {
                // A thread that sleeps takes the reports. The wake-up that called this future was meant for it.
                list.condition().event().wake();
            }
            let mut state = cell.lock();
            let outcome = state.outcome.take()?;
            let waker = state.waker.take();
            drop(state);
            // Both are the user's code, and run outside of the lock.
            drop(waker);
            Some(outcome.and_then(|results| value_of(&results)))
        };
        match waiter {
            Some(waiter) => waiter.poll(context.waker(), attempt),
            None => Poll::Ready(attempt().unwrap_or_else(|| Err(forked()))),
        }
    }
}

/// What a forked copy of the process gets: the tasks are its parent's.
fn forked() -> TaskError {
    TaskError::Ended { why: "its pool belongs to the process that this one was forked from".into() }
}

/// The value of a single task.
fn value_of<R: DeserializeOwned>(results: &Results) -> Result<R, TaskError> {
    if let Some((_, fault)) = results.faults.first() {
        return Err(fault.clone().into());
    }
    decode(results.values()).map_err(|why| TaskError::Result { why })
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("is_ready", &self.is_ready()).finish()
    }
}
