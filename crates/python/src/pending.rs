//! Gets and puts that wait for asyncio: no thread waits with them.

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Makes an object, or an exception, of what came.
pub(crate) type Landing = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

type Coming = Pin<Box<dyn Future<Output = Landing> + Send>>;

/// A get or a put that may have to wait. It is tried by `poll`, again whenever `fileno()` is readable. What one that is dropped has taken and
/// put is for its future to say.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct Pending {
    /// `None`: it is over.
    coming: Mutex<Option<Coming>>,
    bell: Arc<Bell>,
}

/// Readable after a wake-up.
struct Bell {
    bell: UnixStream,
    ringer: UnixStream,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // It is full only of rings that nobody heard yet.
        let _ = (&self.ringer).write(&[0]);
    }
}

impl Bell {
    fn new() -> std::io::Result<Self> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        Ok(Self { bell, ringer })
    }

    fn hush(&self) {
        let mut rings = [0; 64];
        while (&self.bell).read(&mut rings).is_ok_and(|len| len == rings.len()) {}
    }
}

impl Pending {
    pub(crate) fn new(coming: impl Future<Output = Landing> + Send + 'static) -> PyResult<Self> {
        let bell = Bell::new().map_err(|error| PyOSError::new_err(format!("can't wait for the queue: {error}")))?;
        Ok(Self { coming: Mutex::new(Some(Box::pin(coming))), bell: Arc::new(bell) })
    }

    fn next(&self) -> PyResult<Option<Landing>> {
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let future = coming.as_mut().ok_or_else(|| PyValueError::new_err("this wait is over"))?;
        self.bell.hush();
        let waker = Waker::from(Arc::clone(&self.bell));
        let Poll::Ready(landing) = future.as_mut().poll(&mut Context::from_waker(&waker)) else { return Ok(None) };
        *coming = None;
        Ok(Some(landing))
    }
}

#[pymethods]
impl Pending {
    /// Tries it. `None`: not yet. A tuple of one: what came.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        match self.next()? {
            Some(landing) => landing(py).map(|came| Some((came,))),
            None => Ok(None),
        }
    }

    /// Gives it up: it does not wait any more, even while something refers to it.
    fn close(&self) {
        *self.coming.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The descriptor that is readable when it is time to try again.
    fn fileno(&self) -> i32 {
        self.bell.bell.as_raw_fd()
    }
}
