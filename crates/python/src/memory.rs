//! A message's bytes, lent to Python without a copy.

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};

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
        if view.is_null() {
            return Err(PyBufferError::new_err("no view was given"));
        }
        let (at, len) = (slf.get().at.cast::<c_void>(), slf.get().len as ffi::Py_ssize_t);
        // SAFETY: the view is the interpreter's, and valid. The bytes stay where they are as long as this object lives, and the
        // view gets a reference to it.
        match unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), at, len, 0, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}
