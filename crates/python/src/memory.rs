//! A message's bytes, lent to Python without a copy.

use multiproc::{Borrowed, Queue};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes of a message that was got. A memoryview of it can be written to: nobody else has these bytes.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct Memory {
    at: *mut u8,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns the bytes, as the vector did that it was made of. Rust reads and writes them nowhere after that.
unsafe impl Send for Memory {}
// SAFETY: as above. Accesses by Python code are ordered as those to any bytearray.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = std::mem::ManuallyDrop::new(bytes);
        Self { at: bytes.as_mut_ptr(), len: bytes.len(), capacity: bytes.capacity() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the parts of the vector that `new` took apart. No buffer is left: each one owns a reference to this object.
        drop(unsafe { Vec::from_raw_parts(self.at, self.len, self.capacity) });
    }
}

#[pymethods]
impl Memory {
    fn __len__(&self) -> usize {
        self.len
    }

    /// # Safety
    ///
    /// Called by the interpreter alone, with a view to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let own = slf.get();
        // SAFETY: as the interpreter promises. The bytes stay where they are as long as this object lives.
        unsafe { fill(&slf, view, own.at, own.len, false, flags) }
    }
}

/// Fills the interpreter's view.
///
/// # Safety
///
/// The view is valid or null, and the bytes stay where they are as long as `owner` lives.
unsafe fn fill<T>(
    owner: &Bound<'_, T>,
    view: *mut ffi::Py_buffer,
    at: *mut u8,
    len: usize,
    read_only: bool,
    flags: c_int,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("no view was given"));
    }
    // SAFETY: the caller's promises. The view gets a reference to the owner.
    match unsafe {
        ffi::PyBuffer_FillInfo(view, owner.as_ptr(), at.cast::<c_void>(), len as ffi::Py_ssize_t, read_only.into(), flags)
    } {
        0 => Ok(()),
        _ => Err(PyErr::fetch(owner.py())),
    }
}

/// A message where it lies in the queue's memory, to be read alone. It is out of the queue, and its memory is in use as long as this lives.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct View {
    /// `None`: it is so small that it has no place of its own.
    at: Option<NonNull<u8>>,
    // Dropped in this order.
    message: Borrowed<'static, u8>,
    _queue: Arc<Queue<Vec<u8>>>,
}

// SAFETY: the pointer is read by Python code alone, and what it points to is in use as long as the message is held.
unsafe impl Send for View {}
// SAFETY: as above. Nobody writes through it.
unsafe impl Sync for View {}

impl View {
    /// Takes a message by `borrow`.
    pub(crate) fn take<E>(
        queue: &Queue<Vec<u8>>,
        borrow: impl for<'q> FnOnce(&'q Queue<Vec<u8>>) -> Result<Borrowed<'q, u8>, E>,
    ) -> Result<Self, E> {
        let queue = Arc::new(queue.clone());
        // SAFETY: the handle is shared, so it stays where it is as long as the message, whose field is dropped first.
        let lent = unsafe { &*Arc::as_ptr(&queue) };
        let message = borrow(lent)?;
        Ok(Self { at: message.as_ptr(), message, _queue: queue })
    }

    /// The message itself.
    pub(crate) fn message(&self) -> &Borrowed<'static, u8> {
        &self.message
    }
}

#[pymethods]
impl View {
    fn __len__(&self) -> usize {
        self.message.len()
    }

    /// # Safety
    ///
    /// Called by the interpreter alone, with a view to be filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let own = slf.get();
        let at = own.at.ok_or_else(|| PyBufferError::new_err("a message of a few bytes has no place of its own"))?;
        // SAFETY: as the interpreter promises. The bytes stay where they are as long as this object lives.
        unsafe { fill(&slf, view, at.as_ptr(), own.message.len(), true, flags) }
    }
}
