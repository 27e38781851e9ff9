//! A value in hand, and a process's values in hand in the order in which it got them.

use crate::codec::Content;
use multiproc::{DeadLetter, Delivery, Unfinished};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Values that this process got with `get` and has not said to be done.
///
/// `task_done` may be called by any thread of the process. A forked copy starts with none: they are still its parent's.
pub(crate) struct InHand<D>(Mutex<(u32, VecDeque<D>)>);

impl<D> Default for InHand<D> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<D> InHand<D> {
    // Only with the interpreter attached, so no thread holds it while another one forks.
    fn lock(&self, _py: Python<'_>) -> MutexGuard<'_, (u32, VecDeque<D>)> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if held.0 != process {
            *held = (process, VecDeque::new());
        }
        held
    }

    pub(crate) fn keep(&self, py: Python<'_>, delivery: D) {
        self.lock(py).1.push_back(delivery);
    }

    pub(crate) fn take_oldest(&self, py: Python<'_>) -> PyResult<D> {
        let oldest = self.lock(py).1.pop_front();
        oldest.ok_or_else(|| PyValueError::new_err("task_done() called too many times"))
    }
}

/// A delivery until it is done or given back.
pub(crate) struct Open<D>(Mutex<Option<D>>);

impl<D: Deref<Target = Vec<u8>>> Open<D> {
    pub(crate) fn new(delivery: D) -> Self {
        Self(Mutex::new(Some(delivery)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended() -> PyErr {
        PyValueError::new_err("this delivery is done or was given back before")
    }

    pub(crate) fn take(&self) -> PyResult<D> {
        self.lock().take().ok_or_else(Self::ended)
    }

    /// Makes the value anew from the message.
    pub(crate) fn value<'py>(&self, py: Python<'py>, content: Content) -> PyResult<Bound<'py, PyAny>> {
        // Decoding may run any code, this delivery's own methods included: not under the lock.
        let bytes = self.lock().as_deref().cloned();
        content.decode(py, bytes.ok_or_else(Self::ended)?)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_some()
    }
}

/// A value that was got and is not done: `get_delivery` of the package wraps it.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct RawDelivery {
    delivery: Open<Delivery<Vec<u8>>>,
    content: Content,
    #[pyo3(get)]
    count: u16,
    #[pyo3(get)]
    id: String,
}

impl RawDelivery {
    pub(crate) fn new(delivery: Delivery<Vec<u8>>, content: Content) -> Self {
        let (count, id) = (delivery.count(), delivery.id().to_string());
        Self { delivery: Open::new(delivery), content, count, id }
    }
}

#[pymethods]
impl RawDelivery {
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.delivery.value(py, self.content)
    }

    fn done(&self) -> PyResult<()> {
        self.delivery.take().map(|delivery| drop(delivery.done()))
    }

    #[pyo3(signature = (note=None))]
    fn give_back(&self, note: Option<u32>) -> PyResult<()> {
        let delivery = self.delivery.take()?;
        match note {
            Some(note) => delivery.give_back_noting(note),
            None => delivery.give_back(),
        }
        Ok(())
    }

    fn put_aside(&self, note: u32) -> PyResult<()> {
        self.delivery.take().map(|delivery| delivery.put_aside(note))
    }

    fn is_open(&self) -> bool {
        self.delivery.is_open()
    }
}

/// What Python gets of a dead letter: the object, the deliveries, the id, the process that died with it, the note.
pub(crate) type Dead<'py> = (Bound<'py, PyAny>, u16, String, Option<u32>, Option<u32>);

pub(crate) fn dead<'py>(py: Python<'py>, letter: DeadLetter<Vec<u8>>, content: Content) -> PyResult<Dead<'py>> {
    let (count, id) = (letter.count(), letter.id().to_string());
    let (pid, note) = match letter.ended() {
        Unfinished::Died { pid } => (Some(pid), None),
        Unfinished::GivenBack { note } => (None, Some(note)),
        _ => (None, None),
    };
    let value = match content.decode_slice(py, &letter) {
        Ok(value) => value,
        Err(error) => {
            letter.leave();
            return Err(error);
        }
    };
    drop(letter.into_inner());
    Ok((value, count, id, pid, note))
}
