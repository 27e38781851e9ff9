//! Gets and puts that wait for asyncio: no thread waits with them.

use crate::delivery::RawDelivery;
use crate::errors;
use crate::queue::{Kind, RawQueue};
use multiproc::{Delivery, GetError, PutError};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// What a wait came to.
enum Came {
    Message(Result<Vec<u8>, GetError>),
    InHand(Result<Delivery<Vec<u8>>, GetError>),
    Put(Result<(), PutError<Vec<u8>>>),
}

type Coming = Pin<Box<dyn Future<Output = Came> + Send>>;

/// A get or a put that may have to wait. It is tried by `poll`, again whenever `fileno()` is readable. One that is dropped has taken and put
/// nothing.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct Pending {
    queue: Py<RawQueue>,
    /// Whether a value in hand becomes a delivery, not the value alone.
    delivers: bool,
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
    fn new(queue: &Bound<'_, RawQueue>, delivers: bool, coming: Coming) -> PyResult<Self> {
        let bell = Bell::new().map_err(|error| PyOSError::new_err(format!("can't wait for the queue: {error}")))?;
        Ok(Self { queue: queue.clone().unbind(), delivers, coming: Mutex::new(Some(coming)), bell: Arc::new(bell) })
    }

    pub(crate) fn get(queue: &Bound<'_, RawQueue>, delivers: bool) -> PyResult<Self> {
        let coming: Coming = match &queue.get().kind {
            Kind::Plain(queue) => {
                let queue = queue.clone();
                Box::pin(async move { Came::Message(queue.get_async().await) })
            }
            Kind::Joinable(queue, _) => {
                let queue = queue.clone();
                Box::pin(async move { Came::InHand(queue.get_delivery_async().await) })
            }
        };
        Self::new(queue, delivers, coming)
    }

    pub(crate) fn put(queue: &Bound<'_, RawQueue>, message: Vec<u8>) -> PyResult<Self> {
        let coming: Coming = match &queue.get().kind {
            Kind::Plain(queue) => {
                let queue = queue.clone();
                Box::pin(async move { Came::Put(queue.put_async(message).await) })
            }
            Kind::Joinable(queue, _) => {
                let queue = queue.clone();
                Box::pin(async move { Came::Put(queue.put_async(message).await) })
            }
        };
        Self::new(queue, false, coming)
    }

    fn next(&self) -> PyResult<Option<Came>> {
        let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
        let future = coming.as_mut().ok_or_else(|| PyValueError::new_err("this wait is over"))?;
        self.bell.hush();
        let waker = Waker::from(Arc::clone(&self.bell));
        let Poll::Ready(came) = future.as_mut().poll(&mut Context::from_waker(&waker)) else { return Ok(None) };
        *coming = None;
        Ok(Some(came))
    }
}

#[pymethods]
impl Pending {
    /// Tries it. `None`: not yet. A tuple of one: what came.
    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
        let Some(came) = self.next()? else { return Ok(None) };
        let queue = self.queue.get();
        let got = match came {
            Came::Put(Ok(())) => Ok(py.None().into_bound(py)),
            Came::Put(Err(error)) => Err(errors::put(py, &error)),
            Came::Message(Ok(message)) => queue.content.decode(py, message),
            Came::Message(Err(error)) | Came::InHand(Err(error)) => Err(errors::get(py, &error)),
            Came::InHand(Ok(delivery)) if self.delivers => {
                Ok(Bound::new(py, RawDelivery::new(delivery, queue.content))?.into_any())
            }
            Came::InHand(Ok(delivery)) => queue.keep(py, delivery),
        };
        got.map(|got| Some((got,)))
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
