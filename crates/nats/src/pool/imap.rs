//! The results of many calls, as they come.

use super::board::Outcome;
use super::error::RemoteTaskError;
use super::remote::RemotePool;
use super::task::{RemoteTask, decode};
use crate::error::ServerError;
use crate::runtime::wait;
use futures_util::future::Either;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};
use multiproc_pool::TaskError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Calls that are under way at once.
const AHEAD: usize = 1000;
/// Calls that are submitted together.
const BATCH: usize = 100;
/// An input that takes longer is submitted as it comes.
const SLOW: Duration = Duration::from_millis(1);

type Coming = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// An iterator over results of [`RemotePool::imap`] or [`RemotePool::imap_unordered`]. Calls that are under way when it is dropped run, and
/// their results are dropped.
#[must_use = "it submits and yields nothing before it is asked"]
pub struct RemoteImap<'p, I, R> {
    pool: &'p RemotePool,
    function: &'static str,
    /// `None`: it has ended.
    input: Option<I>,
    under_way: Either<FuturesOrdered<Coming>, FuturesUnordered<Coming>>,
    returns: PhantomData<fn() -> R>,
}

impl<'p, I, R> RemoteImap<'p, I, R> {
    pub(super) fn new(pool: &'p RemotePool, function: &'static str, input: I, ordered: bool) -> Self {
        let under_way = if ordered { Either::Left(FuturesOrdered::new()) } else { Either::Right(FuturesUnordered::new()) };
        Self { pool, function, input: Some(input), under_way, returns: PhantomData }
    }

    fn len(&self) -> usize {
        match &self.under_way {
            Either::Left(ordered) => ordered.len(),
            Either::Right(unordered) => unordered.len(),
        }
    }
}

impl<I, R> Iterator for RemoteImap<'_, I, R>
where
    I: Iterator<Item: Serialize + DeserializeOwned>,
    R: DeserializeOwned,
{
    type Item = Result<R, RemoteTaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.pool.board.is_inherited() {
            // What is under way is under way in the other process.
            return self.input.take().map(|_| Err(TaskError::Ended { why: ServerError::Forked.to_string() }.into()));
        }
        loop {
            // A batch at a time: its puts go to the server together.
            let may_be_more = self.len() + BATCH <= AHEAD && self.feed();
            // A slow input does not hold up what has come.
            match self.under_way.next().now_or_never() {
                Some(Some(outcome)) => return Some(decode(outcome)),
                _ if may_be_more => {}
                _ => return wait(self.under_way.next()).map(decode),
            }
        }
    }
}

impl<I, R> RemoteImap<'_, I, R>
where
    I: Iterator<Item: Serialize + DeserializeOwned>,
{
    /// Submits some calls. Returns whether there may be more.
    fn feed(&mut self) -> bool {
        let Some(input) = &mut self.input else { return false };
        let begin = Instant::now();
        // The one that says why there are no more.
        let most = if self.pool.board.is_closed() { 1 } else { BATCH };
        let mut arguments = Vec::new();
        let mut is_last = most == 1;
        // A slow input holds nothing up that it gave before.
        while arguments.len() < most && begin.elapsed() < SLOW {
            match input.next() {
                Some(one) => arguments.push(one),
                None => {
                    is_last = true;
                    break;
                }
            }
        }
        if is_last {
            self.input = None;
        }
        for task in self.pool.submit_all(self.function, arguments) {
            let coming: Coming = match task {
                Ok(task) => Box::pin(RemoteTask::ended(task)),
                Err(error) => Box::pin(ready(Err(error))),
            };
            match &mut self.under_way {
                Either::Left(ordered) => ordered.push_back(coming),
                Either::Right(unordered) => unordered.push(coming),
            }
        }
        !is_last
    }
}

impl<I, R> fmt::Debug for RemoteImap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteImap").field("function", &self.function).field("under_way", &self.len()).finish_non_exhaustive()
    }
}
