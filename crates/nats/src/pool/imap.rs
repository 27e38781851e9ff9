//! The results of many calls, as they come.

use super::board::Outcome;
use super::error::RemoteTaskError;
use super::remote::RemotePool;
use super::task::{RemoteTask, decode};
use crate::runtime::wait;
use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, ready};
use std::marker::PhantomData;
use std::pin::Pin;

/// Calls that are under way at once.
const AHEAD: usize = 1000;

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
        let is_closed = self.pool.board.is_inherited() || self.pool.board.is_closed();
        // One that says why there are no more.
        let room = if is_closed { 1 } else { AHEAD - self.len() };
        // Half of them at a time: many puts go to the server together.
        if let Some(input) = self.input.as_mut().filter(|_| is_closed || room >= AHEAD / 2) {
            let arguments: Vec<_> = input.take(room).collect();
            if arguments.len() < room || is_closed {
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
        }
        wait(self.under_way.next()).map(decode)
    }
}

impl<I, R> fmt::Debug for RemoteImap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteImap").field("function", &self.function).field("under_way", &self.len()).finish_non_exhaustive()
    }
}
