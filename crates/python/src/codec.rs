//! Objects to bytes and back. A tag comes first; plain values follow as they are, everything else as a pickle.

use crate::memory::Memory;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PySlice, PyString, PyTuple};

const NONE: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
/// An int of 64 bits, little end first.
const INT: u8 = 3;
const FLOAT: u8 = 4;
const STR: u8 = 5;
const BYTES: u8 = 6;
const PICKLE: u8 = 7;
/// A pickle with buffers beside it: the number of buffers, the lengths of the pickle and of each buffer, all `u64`; then their
/// bytes, each at a multiple of [`ALIGN`].
const BUFFERS: u8 = 8;

/// Buffers begin at a multiple of this many bytes of the message, so that arrays of any number are aligned.
const ALIGN: usize = 64;

/// How deep a container of plain values is looked through before it goes the long way.
const PLAIN_DEPTH: u8 = 3;

/// Containers of more items go the long way at once.
const PLAIN_ITEMS: usize = 64;

/// What the messages of a queue are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// Any object, in the form of this module.
    Objects,
    /// Bytes, and nothing else.
    Bytes,
    /// Text in UTF-8, and nothing else.
    Text,
}

impl Content {
    pub(crate) fn encode(self, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
        match self {
            Self::Objects => encode(value),
            Self::Text => match value.cast::<PyString>() {
                Ok(text) => Ok(text.to_cow()?.as_bytes().to_vec()),
                Err(_) => Err(wrong_type("str", value)),
            },
            Self::Bytes => {
                if let Ok(bytes) = value.cast::<PyBytes>() {
                    return Ok(bytes.as_bytes().to_vec());
                }
                let buffer = PyBuffer::<u8>::get(value).map_err(|_| wrong_type("bytes", value))?;
                buffer.to_vec(value.py())
            }
        }
    }

    pub(crate) fn decode<'py>(self, py: Python<'py>, bytes: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Objects if bytes.first() == Some(&BUFFERS) => with_buffers(py, bytes),
            _ => self.decode_slice(py, &bytes),
        }
    }

    pub(crate) fn decode_slice<'py>(self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Objects => decode(py, bytes),
            Self::Bytes => Ok(PyBytes::new(py, bytes).into_any()),
            Self::Text => text(py, bytes),
        }
    }
}

fn wrong_type(wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let found = value.get_type();
    PyTypeError::new_err(format!("this queue carries {wanted}, not {found}"))
}

fn encode(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let py = value.py();
    if value.is_none() {
        return Ok(vec![NONE]);
    }
    if let Ok(value) = value.cast_exact::<PyBool>() {
        return Ok(vec![if value.is_true() { TRUE } else { FALSE }]);
    }
    if let Ok(value) = value.cast_exact::<PyInt>() {
        return match value.extract::<i64>() {
            Ok(number) => Ok(tagged(INT, &number.to_le_bytes())),
            Err(_) => pickle_plain(value),
        };
    }
    if let Ok(value) = value.cast_exact::<PyFloat>() {
        return Ok(tagged(FLOAT, &value.value().to_le_bytes()));
    }
    if let Ok(value) = value.cast_exact::<PyBytes>() {
        return Ok(tagged(BYTES, value.as_bytes()));
    }
    if let Ok(value) = value.cast_exact::<PyString>() {
        return match value.to_cow() {
            Ok(text) => Ok(tagged(STR, text.as_bytes())),
            // It has lone surrogates.
            Err(_) => pickle_plain(value),
        };
    }
    if is_plain(value, PLAIN_DEPTH) {
        return pickle_plain(value);
    }
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let pickled = DUMPS.import(py, "multiproc._pickle", "dumps")?.call1((value,))?;
    let (pickle, buffers) = pickled.extract::<(Bound<'_, PyAny>, Bound<'_, PyList>)>()?;
    let pickle = PyBuffer::<u8>::get(&pickle)?;
    if buffers.is_empty() {
        let mut bytes = vec![PICKLE; pickle.item_count() + 1];
        pickle.copy_to_slice(py, &mut bytes[1..])?;
        return Ok(bytes);
    }
    let mut parts = vec![pickle];
    for buffer in &buffers {
        parts.push(PyBuffer::<u8>::get(&buffer.call_method0("raw")?)?);
    }
    let mut bytes = Vec::new();
    let mut end = 1 + 8 * (parts.len() + 1);
    bytes.resize(end, BUFFERS);
    bytes[1..9].copy_from_slice(&(buffers.len() as u64).to_le_bytes());
    for (index, part) in parts.iter().enumerate() {
        let at = 9 + 8 * index;
        bytes[at..at + 8].copy_from_slice(&(part.item_count() as u64).to_le_bytes());
        end = end.next_multiple_of(ALIGN).saturating_add(part.item_count());
    }
    bytes.try_reserve_exact(end - bytes.len()).map_err(|error| pyo3::exceptions::PyMemoryError::new_err(error.to_string()))?;
    for part in &parts {
        let at = bytes.len().next_multiple_of(ALIGN);
        bytes.resize(at + part.item_count(), 0);
        part.copy_to_slice(py, &mut bytes[at..])?;
    }
    Ok(bytes)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 1);
    bytes.push(tag);
    bytes.extend_from_slice(content);
    bytes
}

/// Whether pickling it can call nobody's code and needs nobody's reducer.
fn is_plain(value: &Bound<'_, PyAny>, depth: u8) -> bool {
    if value.is_none()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyBool>()
    {
        return true;
    }
    if depth == 0 {
        return false;
    }
    if let Ok(dict) = value.cast_exact::<PyDict>() {
        return dict.len() <= PLAIN_ITEMS
            && dict.iter().all(|(key, value)| is_plain(&key, depth - 1) && is_plain(&value, depth - 1));
    }
    if let Ok(list) = value.cast_exact::<PyList>() {
        return list.len() <= PLAIN_ITEMS && list.iter().all(|item| is_plain(&item, depth - 1));
    }
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        return tuple.len() <= PLAIN_ITEMS && tuple.iter().all(|item| is_plain(&item, depth - 1));
    }
    false
}

fn pickle_plain(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let pickle = DUMPS.import(value.py(), "pickle", "dumps")?.call1((value, 5))?;
    Ok(tagged(PICKLE, pickle.cast::<PyBytes>()?.as_bytes()))
}

fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let (&tag, content) = bytes.split_first().ok_or_else(unknown)?;
    let number = || <[u8; 8]>::try_from(content).map_err(|_| unknown());
    match (tag, content.len()) {
        (NONE, 0) => Ok(py.None().into_bound(py)),
        (TRUE, 0) => Ok(PyBool::new(py, true).to_owned().into_any()),
        (FALSE, 0) => Ok(PyBool::new(py, false).to_owned().into_any()),
        (INT, _) => Ok(i64::from_le_bytes(number()?).into_pyobject(py)?.into_any()),
        (FLOAT, _) => Ok(PyFloat::new(py, f64::from_le_bytes(number()?)).into_any()),
        (STR, _) => text(py, content),
        (BYTES, _) => Ok(PyBytes::new(py, content).into_any()),
        (PICKLE, _) => loads(py)?.call1((PyBytes::new(py, content),)),
        (BUFFERS, _) => with_buffers(py, bytes.to_vec()),
        _ => Err(unknown()),
    }
}

fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let text = std::str::from_utf8(bytes).map_err(|error| PyValueError::new_err(format!("a message is no UTF-8: {error}")))?;
    Ok(PyString::new(py, text).into_any())
}

fn unknown() -> PyErr {
    PyValueError::new_err("a message was not put by this package: open the queue with content=bytes or content=str")
}

fn loads(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "pickle", "loads")
}

/// An object whose buffers are views into the message itself.
fn with_buffers<'py>(py: Python<'py>, bytes: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
    let number = |at: usize| -> PyResult<usize> {
        let field = at.checked_add(8).and_then(|end| bytes.get(at..end)).ok_or_else(unknown)?;
        let field = <[u8; 8]>::try_from(field).map_err(|_| unknown())?;
        usize::try_from(u64::from_le_bytes(field)).map_err(|_| unknown())
    };
    let count = number(1)?;
    let mut end = count.checked_add(2).and_then(|words| words.checked_mul(8)).and_then(|len| len.checked_add(1));
    let mut parts = Vec::new();
    for index in 0..=count {
        let at = end.and_then(|end| end.checked_next_multiple_of(ALIGN)).ok_or_else(unknown)?;
        let until = at.checked_add(number(9 + 8 * index)?).filter(|&until| until <= bytes.len()).ok_or_else(unknown)?;
        parts.push((at as isize, until as isize));
        end = Some(until);
    }
    let message = Bound::new(py, Memory::new(bytes))?;
    let view = PyMemoryView::from(message.as_any())?;
    let mut views = parts.into_iter().map(|(at, until)| view.get_item(PySlice::new(py, at, until, 1)));
    let pickle = views.next().ok_or_else(|| PyBufferError::new_err("a message has no pickle"))??;
    let buffers = PyList::empty(py);
    for view in views {
        buffers.append(view?)?;
    }
    let named = PyDict::new(py);
    named.set_item("buffers", buffers)?;
    loads(py)?.call((pickle,), Some(&named))
}
