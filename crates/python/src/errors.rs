//! The exceptions of Python for the errors of the library.

use crate::imported::Imported;
use multiproc::{AttachError, CreateError, GetError, OpenError, PutError, RemoveError};
use pyo3::exceptions::{PyFileExistsError, PyFileNotFoundError, PyMemoryError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyType;

static FULL: Imported = Imported::new();
static EMPTY: Imported = Imported::new();
static SHUT_DOWN: Imported = Imported::new();

fn raise(py: Python<'_>, imported: &'static Imported, module: &str, name: &str) -> PyErr {
    let kind = imported.get(py, module, name).and_then(|kind| Ok(kind.cast::<PyType>()?.clone()));
    kind.map_or_else(|error| error, |kind| PyErr::from_type(kind, ()))
}

/// `queue.Full`.
pub(crate) fn full(py: Python<'_>) -> PyErr {
    raise(py, &FULL, "queue", "Full")
}

/// `queue.Empty`.
pub(crate) fn empty(py: Python<'_>) -> PyErr {
    raise(py, &EMPTY, "queue", "Empty")
}

/// `queue.ShutDown`, or what stands for it before Python 3.13.
pub(crate) fn shut_down(py: Python<'_>) -> PyErr {
    raise(py, &SHUT_DOWN, "multiproc._errors", "ShutDown")
}

/// The exception for a put that failed.
pub(crate) fn put<T>(py: Python<'_>, error: &PutError<T>) -> PyErr {
    match error {
        PutError::Full(_) | PutError::Timeout(_) => full(py),
        PutError::ShutDown(_) => shut_down(py),
        PutError::NoMemory(_) => PyMemoryError::new_err(error.to_string()),
        PutError::Closed(_) | PutError::TooLong { .. } | PutError::Encode { .. } => PyValueError::new_err(error.to_string()),
        _ => PyOSError::new_err(error.to_string()),
    }
}

/// The exception for a get that failed.
pub(crate) fn get(py: Python<'_>, error: &GetError) -> PyErr {
    match error {
        GetError::Empty | GetError::Timeout => empty(py),
        GetError::ShutDown => shut_down(py),
        GetError::NoMemory => PyMemoryError::new_err(error.to_string()),
        GetError::Decode(_) | GetError::Form { .. } => PyValueError::new_err(error.to_string()),
        _ => PyOSError::new_err(error.to_string()),
    }
}

/// The exception for a queue that could not be made or opened.
pub(crate) fn open(error: &OpenError) -> PyErr {
    let text = error.to_string();
    match error {
        OpenError::Create(CreateError::Exists(_)) => PyFileExistsError::new_err(text),
        OpenError::Attach(AttachError::NotFound(_)) => PyFileNotFoundError::new_err(text),
        OpenError::Capacity { .. } | OpenError::Layout(_) | OpenError::NoName => PyValueError::new_err(text),
        _ => PyOSError::new_err(text),
    }
}

/// The exception for a name that was not removed.
pub(crate) fn remove(error: &RemoveError) -> PyErr {
    match error {
        RemoveError::NotFound(_) => PyFileNotFoundError::new_err(error.to_string()),
        _ => PyOSError::new_err(error.to_string()),
    }
}
