//! One task of a remote pool, and its result to come.

use super::board::{Board, Hears, Outcome};
use super::error::RemoteTaskError;
use crate::runtime::{anywhere, wait};
use crate::until::Until;
use multiproc_pool::TaskError;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::marker::PhantomData;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A wait without a deadline looks up now and then.
const LONG: Duration = Duration::from_secs(3600);
const FORKED: &str = "this process is a forked copy of the one that has the pool";

/// A task that [`RemotePool::spawn`](crate::RemotePool::spawn) submitted (Python: `AsyncResult`). It can be awaited, under any runtime.
///
/// Dropping it changes nothing for the task: it runs, and its result is dropped.
#[must_use = "a task runs without it, but its result is lost"]
pub struct RemoteTask<R> {
    board: Arc<Board>,
    number: u64,
    hears: Hears,
    returns: PhantomData<fn() -> R>,
}

impl<R> RemoteTask<R> {
    pub(super) fn new(board: &Arc<Board>, number: u64, hears: Hears) -> Self {
        Self { board: Arc::clone(board), number, hears, returns: PhantomData }
    }

    /// Returns whether the task has ended, well or not (Python: `ready`).
    pub fn is_ready(&self) -> bool {
        self.board.is_inherited() || self.hears.borrow().is_some()
    }

    /// Cancels the task if it has not begun. Then it never runs, and [`wait`](Self::wait) gives [`Cancelled`](TaskError::Cancelled).
    /// Returns whether it did (Python: `Future.cancel` of `concurrent.futures`).
    pub fn cancel(&self) -> bool {
        !self.board.is_inherited() && self.board.cancel(self.number)
    }

    /// Resolves with the outcome.
    pub(super) async fn ended(mut self) -> Outcome {
        anywhere(self.outcome(Until::NEVER)).await.unwrap_or(Err(RemoteTaskError::Lost))
    }

    /// Resolves with the outcome, or `None` at the deadline.
    async fn outcome(&mut self, until: Until) -> Option<Outcome> {
        let board = Arc::clone(&self.board);
        let mut heard = pin!(self.hear(until));
        // A future may be polled in a forked copy that waited before the fork.
        poll_fn(|context| match board.is_inherited() {
            true => Poll::Ready(Some(Err(TaskError::Ended { why: FORKED.into() }.into()))),
            false => heard.as_mut().poll(context),
        })
        .await
    }

    async fn hear(&mut self, until: Until) -> Option<Outcome> {
        loop {
            let heard = tokio::time::timeout(until.left(LONG), self.hears.wait_for(Option::is_some)).await;
            match heard {
                Ok(Ok(outcome)) => return outcome.clone(),
                // The pool ends each of its tasks before it goes.
                Ok(Err(_)) => return Some(Err(RemoteTaskError::Lost)),
                Err(_) if until.is_over() => return None,
                Err(_) => {}
            }
        }
    }
}

impl<R: DeserializeOwned> RemoteTask<R> {
    /// Waits for the task's result (Python: `get`). It waits for as long as nobody serves the queue.
    ///
    /// # Errors
    ///
    /// The task has no result, and why.
    pub fn wait(self) -> Result<R, RemoteTaskError> {
        decode(wait(self.ended()))
    }

    /// Waits as [`wait`](Self::wait) does, for at most `timeout` (Python: `get(timeout)`).
    ///
    /// # Errors
    ///
    /// The outer error is the task, which has not ended. The inner one is that of `wait`.
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Result<R, RemoteTaskError>, Self> {
        match wait(self.outcome(Until::after(timeout))) {
            Some(outcome) => Ok(decode(outcome)),
            None => Err(self),
        }
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for RemoteTask<R> {
    type Output = Result<R, RemoteTaskError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async { decode(self.ended().await) })
    }
}

/// Decodes a result. A panic of its `Deserialize` is an error, too.
pub(super) fn decode<R: DeserializeOwned>(outcome: Outcome) -> Result<R, RemoteTaskError> {
    let bytes = outcome?;
    let why = match catch_unwind(|| pass::decode_plain(&bytes)) {
        Ok(Ok(result)) => return Ok(result),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its decoding panicked".into(),
    };
    Err(TaskError::Result { why }.into())
}

impl<R> fmt::Debug for RemoteTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTask").field("number", &self.number).field("is_ready", &self.is_ready()).finish()
    }
}
