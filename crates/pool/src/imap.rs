//! `imap`: results as they come, from an input that is read only as far as needed.

use crate::error::{SubmitError, TaskError};
use crate::function::Name;
use crate::gather::Gather;
use crate::ledger::Job;
use crate::pool::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

/// The results of [`imap`](Pool::imap) and [`imap_unordered`](Pool::imap_unordered), one after the other.
///
/// It takes arguments from the input as results are taken from it. Dropping it cancels what has not begun.
#[must_use = "an iterator submits nothing until it is used"]
pub struct Imap<'p, I: Iterator, R> {
    pool: &'p Pool,
    function: Name,
    /// `None` once it has ended.
    input: Option<I>,
    job: Arc<Gather>,
    chunk: usize,
    /// Elements that may be under way or wait for an earlier one.
    most: usize,
    ordered: bool,
    submitted: usize,
    /// Elements submitted whose results have not been taken from `job`.
    under_way: usize,
    /// Results that came before those of an earlier element.
    early: BTreeMap<usize, Vec<Result<R, TaskError>>>,
    early_len: usize,
    /// The element whose result comes next, if `ordered`.
    next: usize,
    ready: VecDeque<Result<R, TaskError>>,
}

impl<'p, I: Iterator, R> Imap<'p, I, R> {
    pub(crate) fn new(pool: &'p Pool, function: Name, input: I, chunk: usize, most: usize, ordered: bool) -> Self {
        Self {
            pool,
            function,
            input: Some(input),
            job: Arc::new(Gather::default()),
            chunk,
            most,
            ordered,
            submitted: 0,
            under_way: 0,
            early: BTreeMap::new(),
            early_len: 0,
            next: 0,
            ready: VecDeque::new(),
        }
    }

    /// Takes results in: `first` is the number of the first one.
    fn arrive(&mut self, first: usize, results: Vec<Result<R, TaskError>>) {
        if !self.ordered {
            self.ready.extend(results);
            return;
        }
        if first != self.next {
            self.early_len += results.len();
            self.early.insert(first, results);
            return;
        }
        self.next += results.len();
        self.ready.extend(results);
        while let Some(results) = self.early.remove(&self.next) {
            self.early_len -= results.len();
            self.next += results.len();
            self.ready.extend(results);
        }
    }

    /// Gives elements that were not submitted an error.
    fn refuse(&mut self, count: usize, error: &TaskError) {
        let first = self.submitted;
        self.submitted += count;
        self.arrive(first, (0..count).map(|_| Err(error.clone())).collect());
    }
}

impl<I, R> Imap<'_, I, R>
where
    I: Iterator<Item: Serialize + DeserializeOwned>,
{
    /// Submits arguments until enough are under way.
    fn feed(&mut self) {
        while self.under_way + self.early_len + self.ready.len() < self.most {
            let Some(input) = &mut self.input else { return };
            let lot: Vec<I::Item> = input.take(self.chunk).collect();
            if lot.len() < self.chunk {
                self.input = None;
            }
            if lot.is_empty() {
                return;
            }
            self.submit(lot);
        }
    }

    fn submit(&mut self, lot: Vec<I::Item>) {
        let count = lot.len();
        let job: Arc<dyn Job> = self.job.clone();
        let error = match self.pool.submit_lot(&job, self.function, self.submitted, &lot) {
            Ok(_) => {
                self.submitted += count;
                self.under_way += count;
                return;
            }
            Err(error) => error,
        };
        match error {
            // One of them can't be, and the others can.
            SubmitError::Encode(_) | SubmitError::TooLong { .. } if count > 1 => {
                lot.into_iter().for_each(|one| self.submit(vec![one]));
            }
            SubmitError::Encode(_) | SubmitError::TooLong { .. } => {
                self.refuse(count, &TaskError::Arguments { why: error.to_string() });
            }
            SubmitError::Closed => {
                self.input = None;
                self.refuse(count, &TaskError::Closed);
            }
            error => {
                self.input = None;
                self.refuse(count, &TaskError::Ended { why: error.to_string() });
            }
        }
    }
}

impl<I, R> Iterator for Imap<'_, I, R>
where
    I: Iterator<Item: Serialize + DeserializeOwned>,
    R: DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // A part at a time, so that the threads that fill and empty the queues don't wake each other for each element.
            if self.ready.len() <= self.most / 2 {
                self.feed();
            }
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            if self.under_way == 0 {
                return None;
            }
            let pieces = self.pool.take(&self.job, 1);
            if pieces.is_empty() {
                self.under_way = 0;
                self.input = None;
                return Some(Err(TaskError::Ended { why: "its results can't be read here".into() }));
            }
            for piece in pieces {
                let first = piece.first;
                self.under_way -= piece.len();
                self.arrive(first, piece.decode().each());
            }
        }
    }
}

impl<I, R> FusedIterator for Imap<'_, I, R>
where
    I: Iterator<Item: Serialize + DeserializeOwned>,
    R: DeserializeOwned,
{
}

impl<I: Iterator, R> Drop for Imap<'_, I, R> {
    fn drop(&mut self) {
        if self.under_way > 0 {
            let job: Arc<dyn Job> = self.job.clone();
            self.pool.abandon(&job);
        }
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<'_, I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("submitted", &self.submitted).field("under_way", &self.under_way).finish_non_exhaustive()
    }
}
