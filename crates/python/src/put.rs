//! Puts: small messages in one piece, large ones from the object into the queue's memory.

use crate::codec::{Encoded, LARGE, Parts};
use crate::errors;
use crate::queue::{Kind, RawQueue, either};
use crate::until::{Until, is_over, wait};
use multiproc::PutError;
use pyo3::prelude::*;
use std::time::{Duration, Instant};

impl RawQueue {
    pub(crate) fn put_encoded(&self, py: Python<'_>, message: Encoded<'_>, until: Until) -> PyResult<()> {
        self.used.get_or_init(|| ());
        let message = match message {
            Encoded::Parts(parts) => return self.put_parts(py, &parts, until),
            Encoded::Whole(message) => message,
        };
        let is_large = message.len() >= LARGE;
        self.put_by(py, until, is_large, message, |message, left| match left {
            None => either!(&self.kind, queue => queue.try_put(message)),
            Some(left) => either!(&self.kind, queue => queue.put_timeout(message, left)),
        })
    }

    /// Puts a large message without a copy between the object and the queue.
    #[expect(clippy::result_large_err, reason = "the error gives the loan back, which has a block in hand")]
    fn put_parts(&self, py: Python<'_>, parts: &Parts<'_>, until: Until) -> PyResult<()> {
        let mut room = None;
        let len = parts.len;
        // Memory for it may have to be made.
        self.put_by(py, until, true, (), |(), left| {
            let loan = match left {
                None => either!(&self.kind, queue => queue.try_loan_bytes(len)),
                Some(left) => either!(&self.kind, queue => queue.loan_bytes_timeout(len, left)),
            };
            loan.map(|loan| room = Some(loan))
        })?;
        let Some(loan) = room else { return Ok(()) };
        parts.write_to(py, &loan)?;
        self.put_by(py, until, false, loan, |loan, left| match left {
            None => loan.try_send(),
            Some(left) => loan.send_timeout(left),
        })
    }

    /// Has `put` try at once, then with a time that it may wait. `is_long`: even a try lets other threads run.
    fn put_by<V: Send>(
        &self,
        py: Python<'_>,
        until: Until,
        is_long: bool,
        value: V,
        mut put: impl FnMut(V, Option<Duration>) -> Result<(), PutError<V>> + Send,
    ) -> PyResult<()> {
        let first = if is_long { py.detach(|| put(value, None)) } else { put(value, None) };
        let mut rest = match first {
            Ok(()) => return Ok(()),
            Err(PutError::Full(value) | PutError::NoMemory(value)) if !is_over(until) => Some(value),
            Err(error) => return Err(errors::put(py, &error.map(drop))),
        };
        let mut no_memory = false;
        let step = |left: Duration| {
            let begin = Instant::now();
            match put(rest.take()?, Some(left)) {
                Err(PutError::Full(value) | PutError::Timeout(value)) => {
                    (rest, no_memory) = (Some(value), false);
                    None
                }
                // Memory may come free, and the call has waited for that.
                Err(PutError::NoMemory(value)) if begin.elapsed() >= left => {
                    (rest, no_memory) = (Some(value), true);
                    None
                }
                done => Some(done.map_err(|error| error.map(drop))),
            }
        };
        match wait(py, until, step)? {
            Some(done) => done.map_err(|error| errors::put(py, &error)),
            None if no_memory => Err(errors::put(py, &PutError::NoMemory(()))),
            None => Err(errors::full(py)),
        }
    }
}
