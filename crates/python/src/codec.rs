//! Objects to bytes and back. A tag comes first; plain values follow as they are, everything else as a pickle.

use crate::imported::Imported;
use crate::memory::{Memory, View};
use multiproc::{Borrowed, Loan};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyMemoryError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
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

/// A message of more bytes is copied once: from the object into the queue, and out of the queue into the object.
pub(crate) const LARGE: usize = 1 << 16;

/// A message of at most so many bytes needs no memory of its own on its way out.
const SMALL: usize = 256;

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
    pub(crate) fn encode<'py>(self, value: &Bound<'py, PyAny>) -> PyResult<Encoded<'py>> {
        match self {
            Self::Objects => encode(value),
            Self::Text => match value.cast::<PyString>() {
                Ok(text) => Ok(Encoded::Whole(text.to_cow()?.as_bytes().to_vec())),
                Err(_) => Err(wrong_type("str", value)),
            },
            Self::Bytes => {
                if let Ok(bytes) = value.cast::<PyBytes>() {
                    return Ok(Encoded::bytes(&[], bytes));
                }
                let buffer = PyBuffer::<u8>::get(value).map_err(|_| wrong_type("bytes", value))?;
                buffer.to_vec(value.py()).map(Encoded::Whole)
            }
        }
    }

    /// Makes the object of a message, with views of the queue's memory for its large buffers.
    pub(crate) fn view<'py>(self, py: Python<'py>, message: View) -> PyResult<Bound<'py, PyAny>> {
        let lies = message.message();
        let (len, tag) = (lies.len(), if self == Self::Objects { lies.get(0) } else { None });
        let begin = match (self, tag) {
            (Self::Bytes, _) if len >= LARGE => 0,
            (_, Some(BYTES)) if len >= LARGE => 1,
            (_, Some(BUFFERS)) => {
                // Whatever another process writes meanwhile: the places are those of one look.
                let mut head = room(head_len(lies)?)?;
                copy(lies, 0, &mut head)?;
                let places = places(&head, len)?;
                return with_buffers(py, places, Bound::new(py, message)?.as_any());
            }
            _ => {
                let mut bytes = room(len)?;
                py.detach(|| copy(lies, 0, &mut bytes))?;
                return self.decode(py, bytes);
            }
        };
        let view = PyMemoryView::from(Bound::new(py, message)?.as_any())?;
        view.get_item(PySlice::new(py, begin, len as isize, 1))
    }

    /// Makes the object of a message that is in the queue's memory.
    pub(crate) fn take<'py>(self, py: Python<'py>, message: Borrowed<'_, u8>) -> PyResult<Bound<'py, PyAny>> {
        let len = message.len();
        if len <= SMALL {
            let mut bytes = [0; SMALL];
            copy(&message, 0, &mut bytes[..len])?;
            drop(message);
            return self.decode_slice(py, &bytes[..len]);
        }
        let tag = if self == Self::Objects { message.get(0) } else { None };
        match (self, tag) {
            (Self::Bytes, _) => bytes_from(py, message, 0).map(Bound::into_any),
            (_, Some(BYTES)) => bytes_from(py, message, 1).map(Bound::into_any),
            (_, Some(PICKLE)) => loads(py)?.call1((bytes_from(py, message, 1)?,)),
            _ => {
                let mut bytes = room(len)?;
                py.detach(|| {
                    let done = copy(&message, 0, &mut bytes);
                    drop(message);
                    done
                })?;
                self.decode(py, bytes)
            }
        }
    }

    pub(crate) fn decode<'py>(self, py: Python<'py>, bytes: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Objects if bytes.first() == Some(&BUFFERS) => over_buffers(py, bytes),
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

/// A message on its way into a queue.
pub(crate) enum Encoded<'py> {
    Whole(Vec<u8>),
    Parts(Parts<'py>),
}

/// A large message that is put together in the queue's memory.
pub(crate) struct Parts<'py> {
    head: Vec<u8>,
    /// Each with its place in the message.
    rest: Vec<(usize, Part<'py>)>,
    pub(crate) len: usize,
}

enum Part<'py> {
    Bytes(Bound<'py, PyBytes>),
    Buffer(PyBuffer<u8>),
}

impl<'py> Encoded<'py> {
    fn bytes(head: &[u8], content: &Bound<'py, PyBytes>) -> Self {
        let len = head.len() + content.as_bytes().len();
        if len < LARGE {
            return Self::Whole([head, content.as_bytes()].concat());
        }
        Self::Parts(Parts { head: head.to_vec(), rest: vec![(head.len(), Part::Bytes(content.clone()))], len })
    }

    /// In parts if the message is large, else in one piece.
    fn if_large(self, py: Python<'_>) -> PyResult<Self> {
        let is_small = matches!(&self, Self::Parts(parts) if parts.len < LARGE);
        if is_small { self.into_vec(py).map(Self::Whole) } else { Ok(self) }
    }

    /// The message as one piece.
    pub(crate) fn into_vec(self, py: Python<'_>) -> PyResult<Vec<u8>> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Parts(parts) => {
                let mut bytes = room(parts.len)?;
                parts.write(py, |at, part| bytes.get_mut(at..at + part.len()).map(|to| to.copy_from_slice(part)).is_some())?;
                Ok(bytes)
            }
        }
    }
}

impl Parts<'_> {
    pub(crate) fn write_to(&self, py: Python<'_>, loan: &Loan<'_, u8>) -> PyResult<()> {
        self.write(py, |at, part| loan.copy_from(at, part))
    }

    /// Hands each part to `write`, with its place.
    fn write(&self, py: Python<'_>, mut write: impl FnMut(usize, &[u8]) -> bool + Send) -> PyResult<()> {
        let mut done = write(0, &self.head);
        for (at, part) in &self.rest {
            done &= match part {
                Part::Bytes(bytes) => {
                    // Nobody changes bytes: others may run meanwhile.
                    let bytes = bytes.as_bytes();
                    py.detach(|| write(*at, bytes))
                }
                Part::Buffer(buffer) => {
                    let (begin, len) = (buffer.buf_ptr().cast::<u8>(), buffer.item_count());
                    // SAFETY: the buffer is contiguous, as `raw` of a pickle's buffer is and as bytes are, and lives as long as its
                    // view, which `part` has. No Python code runs meanwhile that could write to it.
                    len == 0 || write(*at, unsafe { std::slice::from_raw_parts(begin, len) })
                }
            };
        }
        if done {
            Ok(())
        } else {
            Err(PyRuntimeError::new_err(
                "a message changed its size while it was put, or this is a forked copy that has no part in it",
            ))
        }
    }
}

/// So many zeros.
fn room(len: usize) -> PyResult<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|error| PyMemoryError::new_err(error.to_string()))?;
    bytes.resize(len, 0);
    Ok(bytes)
}

fn copy(message: &Borrowed<'_, u8>, first: usize, target: &mut [u8]) -> PyResult<()> {
    match target.is_empty() || message.copy_to(first, target) {
        true => Ok(()),
        false => Err(PyRuntimeError::new_err("a forked copy of a process has no part in the messages of its parent")),
    }
}

/// The bytes of a message from here on.
fn bytes_from<'py>(py: Python<'py>, message: Borrowed<'_, u8>, first: usize) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, message.len().saturating_sub(first), |target| py.detach(|| copy(&message, first, target)))
}

fn wrong_type(wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let found = value.get_type();
    PyTypeError::new_err(format!("this queue carries {wanted}, not {found}"))
}

fn encode<'py>(value: &Bound<'py, PyAny>) -> PyResult<Encoded<'py>> {
    if let Ok(value) = value.cast_exact::<PyBytes>() {
        return Ok(Encoded::bytes(&[BYTES], value));
    }
    match encode_plain(value)? {
        Some(bytes) => Ok(Encoded::Whole(bytes)),
        None => encode_any(value),
    }
}

/// `None`: it is nothing plain.
fn encode_plain(value: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    let encoded = if value.is_none() {
        vec![NONE]
    } else if let Ok(value) = value.cast_exact::<PyBool>() {
        vec![if value.is_true() { TRUE } else { FALSE }]
    } else if let Some(number) = value.cast_exact::<PyInt>().ok().and_then(|value| value.extract::<i64>().ok()) {
        tagged(INT, &number.to_le_bytes())
    } else if let Ok(value) = value.cast_exact::<PyFloat>() {
        tagged(FLOAT, &value.value().to_le_bytes())
    } else if let Some(text) = value.cast_exact::<PyString>().ok().and_then(|value| value.to_cow().ok()) {
        tagged(STR, text.as_bytes())
    } else if is_plain(value, PLAIN_DEPTH) {
        pickle_plain(value)?
    } else {
        return Ok(None);
    };
    Ok(Some(encoded))
}

fn encode_any<'py>(value: &Bound<'py, PyAny>) -> PyResult<Encoded<'py>> {
    let py = value.py();
    static DUMPS: Imported = Imported::new();
    let pickled = DUMPS.get(py, "multiproc._pickle", "dumps")?.call1((value,))?;
    let (pickle, buffers) = pickled.extract::<(Bound<'_, PyAny>, Bound<'_, PyList>)>()?;
    let pickle = PyBuffer::<u8>::get(&pickle)?;
    if buffers.is_empty() {
        let len = pickle.item_count() + 1;
        let parts = Parts { head: vec![PICKLE], rest: vec![(1, Part::Buffer(pickle))], len };
        return Encoded::Parts(parts).if_large(py);
    }
    let mut parts = vec![pickle];
    for buffer in &buffers {
        parts.push(PyBuffer::<u8>::get(&buffer.call_method0("raw")?)?);
    }
    let (mut head, mut rest) = (vec![BUFFERS], Vec::new());
    head.extend_from_slice(&(buffers.len() as u64).to_le_bytes());
    parts.iter().for_each(|part| head.extend_from_slice(&(part.item_count() as u64).to_le_bytes()));
    let mut len = head.len();
    for part in parts {
        let at = len.next_multiple_of(ALIGN);
        len = at.saturating_add(part.item_count());
        rest.push((at, Part::Buffer(part)));
    }
    Encoded::Parts(Parts { head, rest, len }).if_large(py)
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
    static DUMPS: Imported = Imported::new();
    let pickle = DUMPS.get(value.py(), "pickle", "dumps")?.call1((value, 5))?;
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
        (BUFFERS, _) => over_buffers(py, bytes.to_vec()),
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
    static LOADS: Imported = Imported::new();
    LOADS.get(py, "pickle", "loads")
}

/// How many bytes at the beginning of a message say where its buffers lie.
fn head_len(message: &Borrowed<'_, u8>) -> PyResult<usize> {
    let mut count = [0; 8];
    if message.len() < 9 {
        return Err(unknown());
    }
    copy(message, 1, &mut count)?;
    let words = usize::try_from(u64::from_le_bytes(count)).ok().and_then(|count| count.checked_add(2));
    let len = words.and_then(|words| words.checked_mul(8)).and_then(|len| len.checked_add(1));
    len.filter(|&len| len <= message.len()).ok_or_else(unknown)
}

/// Where the pickle and its buffers lie in a message of `len` bytes that begins with `head`.
fn places(head: &[u8], len: usize) -> PyResult<Vec<(isize, isize)>> {
    let number = |at: usize| -> PyResult<usize> {
        let field = at.checked_add(8).and_then(|end| head.get(at..end)).ok_or_else(unknown)?;
        let field = <[u8; 8]>::try_from(field).map_err(|_| unknown())?;
        usize::try_from(u64::from_le_bytes(field)).map_err(|_| unknown())
    };
    let count = number(1)?;
    let mut end = count.checked_add(2).and_then(|words| words.checked_mul(8)).and_then(|len| len.checked_add(1));
    let mut places = Vec::new();
    for index in 0..=count {
        let at = end.and_then(|end| end.checked_next_multiple_of(ALIGN)).ok_or_else(unknown)?;
        let until = at.checked_add(number(9 + 8 * index)?).filter(|&until| until <= len).ok_or_else(unknown)?;
        places.push((at as isize, until as isize));
        end = Some(until);
    }
    Ok(places)
}

/// An object whose buffers are views into the message itself.
fn with_buffers<'py>(py: Python<'py>, places: Vec<(isize, isize)>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let view = PyMemoryView::from(message)?;
    let mut views = places.into_iter().map(|(at, until)| view.get_item(PySlice::new(py, at, until, 1)));
    let pickle = views.next().ok_or_else(|| PyBufferError::new_err("a message has no pickle"))??;
    let buffers = PyList::empty(py);
    for view in views {
        buffers.append(view?)?;
    }
    let named = PyDict::new(py);
    named.set_item("buffers", buffers)?;
    loads(py)?.call((pickle,), Some(&named))
}

fn over_buffers<'py>(py: Python<'py>, bytes: Vec<u8>) -> PyResult<Bound<'py, PyAny>> {
    let places = places(&bytes, bytes.len())?;
    with_buffers(py, places, Bound::new(py, Memory::new(bytes))?.as_any())
}
