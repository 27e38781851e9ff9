//! `map`: all results of an input, in its order. Arguments go out as results come in, so that the memory of both is used again and again.

use crate::board::MOST_ELEMENTS;
use crate::error::{MapError, SubmitError};
use crate::function::Name;
use crate::gather::{Gather, Values};
use crate::ledger::Job;
use crate::pool::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Chunks for each worker that `map` makes of its arguments, as in Python.
const CHUNKS: usize = 4;
/// Bytes of arguments that a chunk has at most, unless one argument has more or the program says otherwise.
const CHUNK: usize = 60 << 10;
/// Arguments in the first chunk.
const FIRST_CHUNK: usize = 64;
/// Chunks for each worker that are under way at least, before results are waited for.
const AHEAD: usize = 2 * CHUNKS;
/// Bytes of arguments that are under way at least before that.
const BYTES_AHEAD: usize = 1 << 20;
/// What is waited for, as a part of what is under way: a little, so that the workers never run out of arguments.
const PART: usize = 8;

/// Dropped, it abandons what was submitted of a job.
struct Abandons<'j> {
    pool: &'j Pool,
    job: &'j Arc<dyn Job>,
}

impl Drop for Abandons<'_> {
    fn drop(&mut self) {
        self.pool.abandon(self.job);
    }
}

/// Calls the function behind a name with each of about `len` arguments.
pub(crate) fn map<A, R>(
    pool: &Pool,
    function: Name,
    mut arguments: impl Iterator<Item = A>,
    len: usize,
) -> Result<Vec<R>, MapError<R>>
where
    A: Serialize + DeserializeOwned,
    R: DeserializeOwned,
{
    let longest = pool.chunk_size.unwrap_or_else(|| len.div_ceil(CHUNKS * pool.workers)).clamp(1, MOST_ELEMENTS);
    // How long an argument is, only the first ones tell.
    let mut chunk = if pool.chunk_size.is_none() { longest.min(FIRST_CHUNK) } else { longest };
    let gather = Arc::new(Gather::default());
    let job: Arc<dyn Job> = gather.clone();
    // The code of the arguments may panic.
    let abandons = Abandons { pool, job: &job };
    let (mut submitted, mut under_way, mut most) = (0, 0, 1);
    let mut results = InOrder::new(len);
    let mut has_ended = false;
    loop {
        while under_way < most && !has_ended {
            let lot: Vec<A> = arguments.by_ref().take(chunk).collect();
            let count = lot.len();
            has_ended = count < chunk;
            if count == 0 {
                break;
            }
            let bytes = submit(pool, &job, function, submitted, lot)?;
            submitted += count;
            under_way += count;
            if pool.chunk_size.is_none() {
                chunk = (count * CHUNK / bytes).clamp(1, longest);
            }
            most = (AHEAD * pool.workers * chunk).max(count * BYTES_AHEAD / bytes);
        }
        if under_way == 0 {
            break;
        }
        let pieces = pool.take(&gather, under_way.min(most.div_ceil(PART)));
        if pieces.is_empty() {
            return Err(SubmitError::Ended { why: "its results can't be read here".into() }.into());
        }
        for piece in pieces {
            under_way -= piece.len();
            results.add(piece.first, piece.decode());
        }
    }
    std::mem::forget(abandons);
    results.finish()
}

/// Submits a chunk, in parts if it is too long. Returns its bytes, at least 1.
fn submit<A: Serialize + DeserializeOwned>(
    pool: &Pool,
    job: &Arc<dyn Job>,
    function: Name,
    base: usize,
    mut lot: Vec<A>,
) -> Result<usize, SubmitError> {
    match pool.submit_lot(job, function, base, &lot) {
        Err(SubmitError::TooLong { .. }) if lot.len() > 1 => {
            let half = lot.len() / 2;
            let later = lot.split_off(half);
            Ok(submit(pool, job, function, base, lot)? + submit(pool, job, function, base + half, later)?)
        }
        done => done,
    }
}

/// Results, from the first on.
struct InOrder<R> {
    /// Those that follow each other from the first on, as long as none has failed.
    first: Vec<R>,
    /// All others, by the number of the first of each part.
    others: BTreeMap<usize, Values<R>>,
}

impl<R> InOrder<R> {
    fn new(len: usize) -> Self {
        let mut first = Vec::new();
        // An input may say that it has more than memory holds. Then it gets memory as it goes.
        let _ = first.try_reserve_exact(len);
        Self { first, others: BTreeMap::new() }
    }

    fn add(&mut self, at: usize, values: Values<R>) {
        self.others.insert(at, values);
        while let Some(next) = self.others.first_entry() {
            let is_next = *next.key() == self.first.len() && matches!(next.get(), Values::All(_));
            let Some(Values::All(mut values)) = is_next.then(|| next.remove()) else { return };
            self.first.append(&mut values);
        }
    }

    fn finish(self) -> Result<Vec<R>, MapError<R>> {
        if self.others.is_empty() {
            return Ok(self.first);
        }
        let others = self.others.into_values().flat_map(Values::each);
        Err(MapError::Tasks { results: self.first.into_iter().map(Ok).chain(others).collect() })
    }
}
