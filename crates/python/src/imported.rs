//! What the module takes from Python's modules, imported once.

use pyo3::prelude::*;
use std::sync::OnceLock;

/// Something of a Python module.
///
/// No thread waits for another one that imports it. An import lets other threads run, and one of them may fork: in the child the thread that
/// imports is not there. Where two import at once, the first one's counts.
pub(crate) struct Imported(OnceLock<Py<PyAny>>);

impl Imported {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub(crate) fn get<'py>(&'static self, py: Python<'py>, module: &str, name: &str) -> PyResult<&'py Bound<'py, PyAny>> {
        if self.0.get().is_none() {
            let found = py.import(module)?.getattr(name)?.unbind();
            // With the interpreter attached all the while, so no thread forks in the middle.
            let _ = self.0.set(found);
        }
        let found =
            self.0.get().ok_or_else(|| pyo3::exceptions::PyImportError::new_err(format!("{module}.{name} is not there")))?;
        Ok(found.bind(py))
    }
}
