//! Waits that let other threads run, and that Ctrl-C ends.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::time::{Duration, Instant};

/// How long a wait goes on before it looks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// Until when a call waits: forever if `None`.
pub(crate) type Until = Option<Instant>;

pub(crate) fn until(timeout: Option<f64>) -> PyResult<Until> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout is a number of seconds, not NaN"));
    }
    let wait = Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    // A time-out beyond the clock's end never comes.
    Ok(wait.and_then(|wait| Instant::now().checked_add(wait)))
}

pub(crate) fn is_over(until: Until) -> bool {
    until.is_some_and(|until| until <= Instant::now())
}

/// Calls `step` with the time that it may wait, until it has an answer. `None`: the time is over.
pub(crate) fn wait<R: Send>(py: Python<'_>, until: Until, step: impl FnMut(Duration) -> Option<R> + Send) -> PyResult<Option<R>> {
    wait_in(py, SLICE, until, step)
}

/// As [`wait`], with at most `slice` between two looks for signals.
pub(crate) fn wait_in<R: Send>(
    py: Python<'_>,
    slice: Duration,
    until: Until,
    mut step: impl FnMut(Duration) -> Option<R> + Send,
) -> PyResult<Option<R>> {
    loop {
        let left = until.map_or(slice, |until| until.saturating_duration_since(Instant::now()));
        if let Some(answer) = py.detach(|| step(left.min(slice))) {
            return Ok(Some(answer));
        }
        py.check_signals()?;
        if left <= slice && until.is_some() {
            return Ok(None);
        }
    }
}
