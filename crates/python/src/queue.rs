//! A queue as Python sees it: objects in and out, waits that let other threads run and that Ctrl-C ends.

use crate::codec::Content;
use crate::delivery::{Dead, InHand, RawDelivery, dead};
use crate::errors;
use crate::memory::View;
use crate::pending::{Landing, Pending};
use crate::until::{Until, is_over, until, wait};
use multiproc::{Delivery, GetError, JoinableQueue, PutError, Queue, QueueJoinError};
use multiproc_travel::pass;
use pyo3::exceptions::{PyOSError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A value as it was got.
type Got = Delivery<Vec<u8>>;

pub(crate) enum Kind {
    Plain(Queue<Vec<u8>>),
    Joinable(JoinableQueue<Vec<u8>>, InHand<Got>),
}

/// The same for both kinds.
macro_rules! either {
    ($kind:expr, $queue:ident => $work:expr) => {
        match $kind {
            Kind::Plain($queue) => $work,
            Kind::Joinable($queue, _) => $work,
        }
    };
}
pub(crate) use either;

/// A queue of objects. The classes of the package add what `multiprocessing` has around it.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct RawQueue {
    pub(crate) kind: Kind,
    pub(crate) content: Content,
    /// What another process makes its handle of. Made once, and open as long as this handle.
    travel: OnceLock<(Vec<u8>, OwnedFd)>,
    /// Whether anything was put through this handle.
    pub(crate) used: OnceLock<()>,
}

impl RawQueue {
    fn of(kind: Kind, content: Content) -> Self {
        Self { kind, content, travel: OnceLock::new(), used: OnceLock::new() }
    }

    fn get_by<R: Send>(
        &self,
        py: Python<'_>,
        until: Until,
        get: impl Fn(Option<Duration>) -> Result<R, GetError> + Send + Sync,
    ) -> PyResult<R> {
        let step = |left| match get(left) {
            Err(GetError::Empty | GetError::Timeout) => None,
            got => Some(got),
        };
        match step(None) {
            Some(got) => got.map_err(|error| errors::get(py, &error)),
            None if is_over(until) => Err(errors::empty(py)),
            None => match wait(py, until, |left| step(Some(left)))? {
                Some(got) => got.map_err(|error| errors::get(py, &error)),
                None => Err(errors::empty(py)),
            },
        }
    }

    fn get_view<'py>(&self, py: Python<'py>, queue: &Queue<Vec<u8>>, until: Until) -> PyResult<Bound<'py, PyAny>> {
        let take = |left: Option<Duration>| {
            View::take(queue, |queue| match left {
                Some(left) => queue.borrow_bytes_timeout(left),
                None => queue.try_borrow_bytes(),
            })
        };
        let message = self.get_by(py, until, take)?;
        self.content.view(py, message)
    }

    fn get_object<'py>(&self, py: Python<'py>, until: Until) -> PyResult<Bound<'py, PyAny>> {
        match &self.kind {
            Kind::Plain(queue) => {
                let borrow = |left: Option<Duration>| match left {
                    Some(left) => queue.borrow_bytes_timeout(left),
                    None => queue.try_borrow_bytes(),
                };
                let message = self.get_by(py, until, borrow)?;
                self.content.take(py, message)
            }
            Kind::Joinable(queue, _) => {
                let delivery = self.get_by(py, until, |left| deliver(queue, left))?;
                self.keep(py, delivery)
            }
        }
    }

    /// Keeps a value in hand, and returns it.
    pub(crate) fn keep<'py>(&self, py: Python<'py>, delivery: Got) -> PyResult<Bound<'py, PyAny>> {
        let value = self.content.decode_slice(py, &delivery);
        // Whatever became of it: it is not done before somebody says so.
        self.joinable()?.1.keep(py, delivery);
        value
    }

    fn joinable(&self) -> PyResult<(&JoinableQueue<Vec<u8>>, &InHand<Got>)> {
        match &self.kind {
            Kind::Joinable(queue, in_hand) => Ok((queue, in_hand)),
            Kind::Plain(_) => Err(PyValueError::new_err("this queue is no JoinableQueue")),
        }
    }

    fn travelling(&self) -> PyResult<&(Vec<u8>, OwnedFd)> {
        if let Some(travel) = self.travel.get() {
            return Ok(travel);
        }
        let parcel = either!(&self.kind, queue => pass::encode(queue));
        let mut parcel = parcel.map_err(|error| PyOSError::new_err(error.to_string()))?;
        let descriptor = parcel.descriptors.pop().filter(|_| parcel.descriptors.is_empty());
        let descriptor = descriptor.ok_or_else(|| PyOSError::new_err("a queue travels by one descriptor"))?;
        let bytes = std::mem::take(&mut parcel.bytes);
        parcel.sent();
        Ok(self.travel.get_or_init(|| (bytes, descriptor)))
    }
}

fn deliver(queue: &JoinableQueue<Vec<u8>>, left: Option<Duration>) -> Result<Got, GetError> {
    left.map_or_else(|| queue.try_get_delivery(), |left| queue.get_delivery_timeout(left))
}

pub(crate) fn content(name: &str) -> PyResult<Content> {
    match name {
        "object" => Ok(Content::Objects),
        "bytes" => Ok(Content::Bytes),
        "str" => Ok(Content::Text),
        _ => Err(PyValueError::new_err(format!("content is object, bytes or str, not {name}"))),
    }
}

/// What a queue is made with, in the library's words.
macro_rules! make {
    ($Kind:ty, $maxsize:expr, $name:expr, $max_message:expr, $exist_ok:expr $(, $more:ident($value:expr))?) => {{
        let mut builder = <$Kind>::builder();
        if $maxsize > 0 {
            builder = builder.bounded($maxsize);
        }
        if let Some(bytes) = $max_message {
            builder = builder.max_message(bytes);
        }
        $(builder = builder.$more($value);)?
        match $name {
            Some(name) if $exist_ok => builder.named(name).open_or_create(),
            Some(name) => builder.named(name).build(),
            None => builder.build(),
        }
    }};
}

#[pymethods]
impl RawQueue {
    #[staticmethod]
    #[pyo3(signature = (joinable, maxsize, *, content="object", name=None, exist_ok=false, max_deliveries=0, max_message=None))]
    fn create(
        joinable: bool,
        maxsize: i64,
        content: &str,
        name: Option<&str>,
        exist_ok: bool,
        max_deliveries: u16,
        max_message: Option<u64>,
    ) -> PyResult<Self> {
        let content = self::content(content)?;
        let maxsize = u32::try_from(maxsize.max(0)).map_err(|_| PyOverflowError::new_err("maxsize is too large"))?;
        // Texts are made as such, so that a program that reads texts may trust them, and opened as their bytes.
        let text = name.filter(|_| content == Content::Text);
        let kind = match (joinable, text) {
            (false, None) => {
                Kind::Plain(make!(Queue<Vec<u8>>, maxsize, name, max_message, exist_ok).map_err(|error| errors::open(&error))?)
            }
            (false, Some(text)) => {
                let made = make!(Queue<String>, maxsize, name, max_message, exist_ok).map_err(|error| errors::open(&error))?;
                let queue = Queue::open(text).map_err(|error| errors::open(&error))?;
                drop(made);
                Kind::Plain(queue)
            }
            (true, None) => {
                let made = make!(JoinableQueue<Vec<u8>>, maxsize, name, max_message, exist_ok, max_deliveries(max_deliveries));
                Kind::Joinable(made.map_err(|error| errors::open(&error))?, InHand::default())
            }
            (true, Some(text)) => {
                let made = make!(JoinableQueue<String>, maxsize, name, max_message, exist_ok, max_deliveries(max_deliveries));
                let made = made.map_err(|error| errors::open(&error))?;
                let queue = JoinableQueue::open(text).map_err(|error| errors::open(&error))?;
                drop(made);
                Kind::Joinable(queue, InHand::default())
            }
        };
        Ok(Self::of(kind, content))
    }

    #[staticmethod]
    fn open(joinable: bool, name: &str, content: &str) -> PyResult<Self> {
        let content = self::content(content)?;
        let kind = match joinable {
            false => Kind::Plain(Queue::open(name).map_err(|error| errors::open(&error))?),
            true => Kind::Joinable(JoinableQueue::open(name).map_err(|error| errors::open(&error))?, InHand::default()),
        };
        Ok(Self::of(kind, content))
    }

    /// The bytes of the handle, and the number of the descriptor that goes with them, open as long as this handle.
    fn travel<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyBytes>, i32)> {
        let (bytes, descriptor) = self.travelling()?;
        Ok((PyBytes::new(py, bytes), descriptor.as_raw_fd()))
    }

    /// The handle that `travel` described, with a descriptor that is this process's own from now on.
    #[staticmethod]
    fn arrive(joinable: bool, content: &str, bytes: &[u8], descriptor: i32) -> PyResult<Self> {
        if descriptor < 0 {
            return Err(PyValueError::new_err("no descriptor came with the queue"));
        }
        // SAFETY: the caller, `__setstate__`, has detached it from multiprocessing's DupFd, so nobody else closes it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let content = self::content(content)?;
        let refused = |error: pass::DecodeError| PyOSError::new_err(error.to_string());
        let kind = match joinable {
            false => Kind::Plain(pass::decode(bytes, vec![descriptor]).map_err(refused)?),
            true => Kind::Joinable(pass::decode(bytes, vec![descriptor]).map_err(refused)?, InHand::default()),
        };
        Ok(Self::of(kind, content))
    }

    #[pyo3(signature = (value, timeout))]
    fn put(&self, value: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<()> {
        let until = until(timeout)?;
        self.put_encoded(value.py(), self.content.encode(value)?, until)
    }

    /// A put that may wait, for asyncio.
    fn pending_put(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Pending> {
        slf.get().used.get_or_init(|| ());
        let message = slf.get().content.encode(value)?.into_vec(slf.py())?;
        let landing = |put: Result<(), PutError<Vec<u8>>>| -> Landing {
            Box::new(move |py| put.map(|()| py.None()).map_err(|error| errors::put(py, &error)))
        };
        either!(&slf.get().kind, queue => {
            let queue = queue.clone();
            Pending::new(async move { landing(queue.put_async(message).await) })
        })
    }

    /// A get that may wait, for asyncio. `delivers`: it comes to a delivery.
    fn pending_get(slf: &Bound<'_, Self>, delivers: bool) -> PyResult<Pending> {
        if delivers {
            slf.get().joinable()?;
        }
        let content = slf.get().content;
        match &slf.get().kind {
            Kind::Plain(queue) => {
                let queue = queue.clone();
                Pending::new(async move {
                    let got = queue.get_async().await;
                    let landing: Landing = Box::new(move |py| {
                        let message = got.map_err(|error| errors::get(py, &error))?;
                        content.decode(py, message).map(Bound::unbind)
                    });
                    landing
                })
            }
            Kind::Joinable(queue, _) => {
                let (queue, raw) = (queue.clone(), slf.clone().unbind());
                Pending::new(async move {
                    let got = queue.get_delivery_async().await;
                    let landing: Landing = Box::new(move |py| {
                        let delivery = got.map_err(|error| errors::get(py, &error))?;
                        match delivers {
                            true => Ok(Py::new(py, RawDelivery::new(delivery, content))?.into_any()),
                            false => raw.get().keep(py, delivery).map(Bound::unbind),
                        }
                    });
                    landing
                })
            }
        }
    }

    /// Puts all values. The exception says in `put` how many were put before it.
    #[pyo3(signature = (values, timeout))]
    fn put_many(&self, values: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<usize> {
        let (py, until) = (values.py(), until(timeout)?);
        let mut count = 0;
        for value in values.try_iter()? {
            let done = value.and_then(|value| self.put_encoded(py, self.content.encode(&value)?, until));
            if let Err(error) = done {
                error.value(py).setattr("put", count)?;
                return Err(error);
            }
            count += 1;
        }
        Ok(count)
    }

    #[pyo3(signature = (timeout, copy=true))]
    fn get<'py>(&self, py: Python<'py>, timeout: Option<f64>, copy: bool) -> PyResult<Bound<'py, PyAny>> {
        match &self.kind {
            Kind::Plain(queue) if !copy => self.get_view(py, queue, until(timeout)?),
            _ => self.get_object(py, until(timeout)?),
        }
    }

    /// Waits for one value, then takes what is there. The exception has in `values` what was got before it.
    #[pyo3(signature = (max, timeout))]
    fn get_many<'py>(&self, py: Python<'py>, max: usize, timeout: Option<f64>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut values = Vec::new();
        if max == 0 {
            return Ok(values);
        }
        values.push(self.get_object(py, until(timeout)?)?);
        // What is there now: producers may be so fast that it never ends.
        let now = Some(Instant::now());
        let most = max.min(self.qsize().saturating_add(1));
        while values.len() < most {
            match self.get_object(py, now) {
                Ok(value) => values.push(value),
                Err(error) if error.is_instance(py, errors::empty(py).get_type(py).as_any()) => break,
                Err(error) if error.is_instance(py, errors::shut_down(py).get_type(py).as_any()) => break,
                Err(error) => {
                    error.value(py).setattr("values", values)?;
                    return Err(error);
                }
            }
        }
        Ok(values)
    }

    #[pyo3(signature = (timeout))]
    fn get_delivery(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<RawDelivery> {
        let (queue, _) = self.joinable()?;
        let delivery = self.get_by(py, until(timeout)?, |left| deliver(queue, left))?;
        Ok(RawDelivery::new(delivery, self.content))
    }

    /// The oldest dead letter, which is out of the queue then. `None`: there is none.
    fn dead<'py>(&self, py: Python<'py>) -> PyResult<Option<Dead<'py>>> {
        match self.joinable()?.0.try_get_dead() {
            Ok(letter) => dead(py, letter, self.content).map(Some),
            Err(GetError::Empty) => Ok(None),
            Err(error) => Err(errors::get(py, &error)),
        }
    }

    fn dead_len(&self) -> PyResult<usize> {
        Ok(self.joinable()?.0.dead_len())
    }

    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        self.joinable()?.1.take_oldest(py).map(|delivery| drop(delivery.done()))
    }

    /// Waits until everything is done. `False`: the time is over.
    #[pyo3(signature = (timeout))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let (queue, _) = self.joinable()?;
        let step = |left| match queue.join_timeout(left) {
            Err(QueueJoinError::Timeout { .. }) => None,
            joined => Some(joined),
        };
        match wait(py, until(timeout)?, step)? {
            Some(joined) => joined.map(|()| true).map_err(|error| PyOSError::new_err(error.to_string())),
            None => Ok(false),
        }
    }

    fn unfinished(&self) -> PyResult<usize> {
        Ok(self.joinable()?.0.unfinished())
    }

    fn qsize(&self) -> usize {
        either!(&self.kind, queue => queue.len())
    }

    fn empty(&self) -> bool {
        either!(&self.kind, queue => queue.is_empty())
    }

    fn was_used(&self) -> bool {
        self.used.get().is_some()
    }

    fn full(&self) -> bool {
        either!(&self.kind, queue => queue.is_full())
    }

    fn capacity(&self) -> Option<usize> {
        either!(&self.kind, queue => queue.capacity())
    }

    fn shutdown(&self) {
        either!(&self.kind, queue => queue.shutdown());
    }

    /// Takes the oldest value out without making an object of it. It is done then.
    fn skip(&self, py: Python<'_>) -> PyResult<()> {
        match &self.kind {
            Kind::Plain(queue) => queue.try_get().map(drop),
            Kind::Joinable(queue, _) => queue.try_get_delivery().map(|delivery| drop(delivery.done())),
        }
        .map_err(|error| errors::get(py, &error))
    }

    fn is_shut_down(&self) -> bool {
        either!(&self.kind, queue => queue.is_shut_down())
    }
}

/// Takes a queue's name away. Processes that have it open keep it.
#[pyfunction]
pub(crate) fn remove(name: &str) -> PyResult<()> {
    multiproc::remove_queue(name).map_err(|error| errors::remove(&error))
}
