//! What a queue on a server can't do, as Python's exceptions.

use crate::errors;
use multiproc_nats::{ConnectError, DoneError, GetError, PutError, ServerError};
use pyo3::exceptions::{PyConnectionError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use std::fmt;

pub(crate) fn failed(error: &dyn fmt::Display) -> PyErr {
    PyConnectionError::new_err(error.to_string())
}

pub(crate) fn server(error: &ServerError) -> PyErr {
    match error {
        ServerError::Unanswered => PyTimeoutError::new_err(error.to_string()),
        error => failed(error),
    }
}

pub(crate) fn connect_error(error: &ConnectError) -> PyErr {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::LoginRefused { .. } | ConnectError::NoJetStream { .. } => failed(error),
        ConnectError::Server(why) => server(why),
        ConnectError::File { why, .. } => PyOSError::new_err(format!("{error}: {why}")),
        _ => PyValueError::new_err(error.to_string()),
    }
}

pub(crate) fn get_error(py: Python<'_>, error: &GetError) -> PyErr {
    match error {
        GetError::Empty | GetError::Timeout => errors::empty(py),
        GetError::ShutDown => errors::shut_down(py),
        GetError::Server(why) => server(why),
        error => PyValueError::new_err(error.to_string()),
    }
}

pub(crate) fn put_error<T>(py: Python<'_>, error: &PutError<T>) -> PyErr {
    match error {
        PutError::Full(_) | PutError::Timeout(_) => errors::full(py),
        PutError::ShutDown(_) => errors::shut_down(py),
        PutError::Server { why, .. } => server(why),
        error => PyValueError::new_err(error.to_string()),
    }
}

/// A lease that was lost is an error, since the work is done twice; so is a server that does not hear of it.
pub(crate) fn done_error<T>(error: &DoneError<T>) -> PyErr {
    match error {
        DoneError::Server { why, .. } => server(why),
        error => failed(error),
    }
}
