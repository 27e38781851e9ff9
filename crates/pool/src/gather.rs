//! Where the results of many tasks of one call come together.

use crate::error::TaskError;
use crate::ledger::Job;
use crate::message::Results;
use multiproc_travel::pass;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Results as they come, until the thread that asked for them takes them.
#[derive(Default)]
pub(crate) struct Gather {
    inbox: Mutex<Inbox>,
}

#[derive(Default)]
struct Inbox {
    pieces: Vec<Piece>,
    /// Elements in the pieces.
    elements: usize,
}

/// What became of some elements that follow each other.
pub(crate) struct Piece {
    pub(crate) first: usize,
    what: What,
}

enum What {
    Came(Results),
    Failed(usize, TaskError),
}

impl Gather {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, first: usize, what: What) {
        let piece = Piece { first, what };
        let mut inbox = self.lock();
        inbox.elements += piece.len();
        inbox.pieces.push(piece);
    }

    /// Takes all pieces, if they have at least this many elements.
    pub(crate) fn take(&self, wanted: usize) -> Option<Vec<Piece>> {
        let mut inbox = self.lock();
        if inbox.elements < wanted {
            return None;
        }
        inbox.elements = 0;
        Some(std::mem::take(&mut inbox.pieces))
    }
}

impl Job for Gather {
    fn deliver(&self, first: usize, results: Results) {
        self.add(first, What::Came(results));
    }

    fn fail(&self, elements: Range<usize>, error: &TaskError) {
        self.add(elements.start, What::Failed(elements.len(), error.clone()));
    }
}

/// The values of a piece.
pub(crate) enum Values<R> {
    All(Vec<R>),
    Some(Vec<Result<R, TaskError>>),
}

impl Piece {
    /// Elements in it.
    pub(crate) fn len(&self) -> usize {
        match &self.what {
            What::Came(results) => results.count,
            What::Failed(count, _) => *count,
        }
    }

    pub(crate) fn decode<R: DeserializeOwned>(self) -> Values<R> {
        let all = |count: usize, error: TaskError| Values::Some((0..count).map(|_| Err(error.clone())).collect());
        let results = match self.what {
            What::Came(results) => results,
            What::Failed(count, error) => return all(count, error),
        };
        let expected = results.count - results.faults.len();
        let values = match expected {
            0 => Vec::new(),
            _ => match decode::<Vec<R>>(results.values()) {
                Ok(values) if values.len() == expected => values,
                Ok(_) => {
                    return all(results.count, TaskError::Result { why: "its worker sent another number of results".into() });
                }
                Err(why) => return all(results.count, TaskError::Result { why }),
            },
        };
        if results.faults.is_empty() {
            return Values::All(values);
        }
        let mut faults = results.faults.into_iter().peekable();
        let mut values = values.into_iter();
        let merged = (0..results.count as u32).filter_map(|element| match faults.next_if(|&(at, _)| at == element) {
            Some((_, fault)) => Some(Err(fault.into())),
            None => values.next().map(Ok),
        });
        Values::Some(merged.collect())
    }
}

/// Decodes values. A panic of their `Deserialize` is an error, too.
pub(crate) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, String> {
    match catch_unwind(|| pass::decode_plain(bytes)) {
        Ok(decoded) => decoded.map_err(|error| error.to_string()),
        Err(_) => Err("its decoding panicked".into()),
    }
}

impl<R> Values<R> {
    /// Each value by itself.
    pub(crate) fn each(self) -> Vec<Result<R, TaskError>> {
        match self {
            Self::All(values) => values.into_iter().map(Ok).collect(),
            Self::Some(values) => values,
        }
    }
}
