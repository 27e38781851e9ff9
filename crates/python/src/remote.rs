//! A work queue on a NATS server, past one machine.

use crate::codec::Content;
use crate::delivery::{InHand, Open};
use crate::errors;
use crate::pending::{Landing, Pending};
use crate::queue::content;
use crate::remote_errors::{connect_error, done_error, failed, get_error, put_error, server};
use crate::until::{Until, is_over, until, wait_in};
use multiproc_nats::{DeadLetter, Delivery, GetError, JoinError, PutError, RemoteQueue, ServerError};
use multiproc_travel::pass;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

type Remote = RemoteQueue<Vec<u8>>;

/// How long a wait goes on before it looks for signals. A server that is busy answers in less.
const SLICE: Duration = Duration::from_secs(1);
/// A wait is not begun with less time than this: then one try is made, which ends when the server has answered.
const TOO_LATE: Duration = Duration::from_millis(250);
/// Values of a `put_many` that are encoded and put together.
const BATCH: usize = 256;

/// A queue of objects on a server. `RemoteQueue` of the package wraps it.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct RawRemote {
    content: Content,
    /// The process that has the handle's connection, and the handle.
    queue: Mutex<(u32, Remote)>,
    in_hand: InHand<Delivery<Vec<u8>>>,
    /// What another process, or a forked copy of this one, makes its handle of. An error: secrets were given as such, and don't travel.
    travel: Result<Vec<u8>, String>,
}

impl RawRemote {
    fn of(queue: Remote, content: Content) -> Self {
        let travel = pass::encode(&queue).map_err(|error| error.to_string()).map(|mut parcel| {
            let bytes = std::mem::take(&mut parcel.bytes);
            parcel.sent();
            bytes
        });
        Self { content, queue: Mutex::new((std::process::id(), queue)), in_hand: InHand::default(), travel }
    }

    /// This process's handle. A forked copy makes one of its own.
    // Only with the interpreter attached, so no thread holds it while another one forks.
    fn queue(&self, _py: Python<'_>) -> PyResult<Remote> {
        let mut own = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        if own.0 != process {
            let queue = arrived(self.travelling()?)?;
            // The threads of the other one are the parent's.
            std::mem::forget(std::mem::replace(&mut *own, (process, queue)));
        }
        Ok(own.1.clone())
    }

    fn travelling(&self) -> PyResult<&[u8]> {
        let refused = |why: &String| PyValueError::new_err(format!("{why}: name a file of secrets, or connect in each process"));
        self.travel.as_deref().map_err(refused)
    }

    fn deliver(&self, py: Python<'_>, until: Until) -> PyResult<Delivery<Vec<u8>>> {
        let queue = self.queue(py)?;
        let came = |got| match got {
            Err(GetError::Empty | GetError::Timeout) => None,
            got => Some(got),
        };
        let got = match is_over(until) {
            true => py.detach(|| came(queue.try_get_delivery())),
            false => wait_in(py, SLICE, until, |left| came(queue.get_delivery_timeout(left)))?,
        };
        got.ok_or_else(|| errors::empty(py))?.map_err(|error| get_error(py, &error))
    }

    /// The value, in hand of this process.
    fn keep<'py>(&self, py: Python<'py>, delivery: Delivery<Vec<u8>>) -> PyResult<Bound<'py, PyAny>> {
        let value = self.content.decode_slice(py, &delivery);
        // Whatever became of it: it is not done before somebody says so.
        self.in_hand.keep(py, delivery);
        value
    }

    fn remote_delivery(&self, delivery: Delivery<Vec<u8>>) -> RemoteDelivery {
        let (count, id) = (delivery.count(), delivery.id().to_string());
        RemoteDelivery { delivery: Open::new(delivery), content: self.content, count, id }
    }

    /// Puts messages, and counts those that were put.
    fn put_batch(&self, py: Python<'_>, queue: &Remote, messages: Vec<Vec<u8>>, until: Until, count: &mut usize) -> PyResult<()> {
        let mut left = messages;
        let mut step = |time: Option<Duration>| {
            let messages = std::mem::take(&mut left);
            let put = match time.filter(|&time| may_wait(time)) {
                None => queue.try_put_many(messages),
                Some(time) => queue.put_many_timeout(messages, time),
            };
            let error = match put {
                Ok(put) => {
                    *count += put;
                    return Some(Ok(()));
                }
                Err(error) => error,
            };
            *count += error.put;
            for failed in error.failed {
                match failed {
                    PutError::Full(message) | PutError::Timeout(message) => left.push(message),
                    failed => return Some(Err(failed.split().1)),
                }
            }
            left.extend(error.rest);
            None
        };
        let done = match py.detach(|| step(None)) {
            None if !is_over(until) => wait_in(py, SLICE, until, |time| step(Some(time)))?,
            done => done,
        };
        done.ok_or_else(|| errors::full(py))?.map_err(|error| put_error(py, &error))
    }

    /// Asks the server something.
    fn ask<R: Send>(&self, py: Python<'_>, question: impl FnOnce(Remote) -> Result<R, ServerError> + Send) -> PyResult<R> {
        let queue = self.queue(py)?;
        py.detach(|| question(queue)).map_err(|error| server(&error))
    }
}

/// A time-out as Python has it. `None`: forever.
fn time(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    Ok(until(timeout)?.map(|until| until.saturating_duration_since(Instant::now())))
}

/// Whether a put has time to wait for room. If not, it waits here, and is then tried once: with less time the server's answer could come too
/// late, and nobody would know whether it put the value.
fn may_wait(left: Duration) -> bool {
    let enough = left >= TOO_LATE;
    if !enough {
        std::thread::sleep(left);
    }
    enough
}

fn arrived(travel: &[u8]) -> PyResult<Remote> {
    pass::decode(travel, Vec::new()).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// What can be asked for when a queue is opened, as the package's `connect` names it.
#[derive(FromPyObject)]
struct Choices {
    #[pyo3(item)]
    maxsize: u64,
    #[pyo3(item)]
    max_deliveries: u16,
    #[pyo3(item)]
    lease: Option<f64>,
    #[pyo3(item)]
    prefetch: usize,
    #[pyo3(item)]
    replicas: Option<u8>,
    #[pyo3(item)]
    credentials_file: Option<String>,
    #[pyo3(item)]
    token_file: Option<String>,
    #[pyo3(item)]
    password_file: Option<(String, String)>,
    #[pyo3(item)]
    nkey_file: Option<String>,
    #[pyo3(item)]
    root_certificates: Option<String>,
    #[pyo3(item)]
    client_certificate: Option<(String, String)>,
}

#[pymethods]
impl RawRemote {
    #[staticmethod]
    fn connect(py: Python<'_>, address: &str, content: &str, choices: Choices) -> PyResult<Self> {
        let content = self::content(content)?;
        let mut builder = Remote::builder().prefetch(choices.prefetch);
        if choices.maxsize > 0 {
            builder = builder.bounded(choices.maxsize);
        }
        if choices.max_deliveries > 0 {
            builder = builder.max_deliveries(choices.max_deliveries);
        }
        if let Some(seconds) = choices.lease {
            let lease = Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
            builder = builder.lease(lease);
        }
        if let Some(replicas) = choices.replicas {
            builder = builder.replicas(replicas);
        }
        if let Some(path) = choices.credentials_file {
            builder = builder.credentials_file(path);
        }
        if let Some(path) = choices.token_file {
            builder = builder.token_file(path);
        }
        if let Some((user, path)) = choices.password_file {
            builder = builder.password_file(user, path);
        }
        if let Some(path) = choices.nkey_file {
            builder = builder.nkey_file(path);
        }
        if let Some(path) = choices.root_certificates {
            builder = builder.root_certificates(path);
        }
        if let Some((certificate, key)) = choices.client_certificate {
            builder = builder.client_certificate(certificate, key);
        }
        let queue = py.detach(|| builder.connect(address)).map_err(|error| connect_error(&error))?;
        Ok(Self::of(queue, content))
    }

    fn travel<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.travelling()?))
    }

    /// The handle that `travel` described. It connects at its first use.
    #[staticmethod]
    fn arrive(content: &str, travel: &[u8]) -> PyResult<Self> {
        Ok(Self::of(arrived(travel)?, self::content(content)?))
    }

    /// The server and the queue, without secrets.
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.queue(py)?.address().to_string())
    }

    #[pyo3(signature = (value, timeout))]
    fn put(&self, value: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<()> {
        let (py, until) = (value.py(), until(timeout)?);
        let mut message = Some(self.content.encode(value)?.into_vec(py)?);
        let queue = self.queue(py)?;
        let mut step = |left: Option<Duration>| {
            let put = match left.filter(|&left| may_wait(left)) {
                None => queue.try_put(message.take()?),
                Some(left) => queue.put_timeout(message.take()?, left),
            };
            match put {
                Err(PutError::Full(value) | PutError::Timeout(value)) => {
                    message = Some(value);
                    None
                }
                done => Some(done.map_err(|error| error.split().1)),
            }
        };
        let done = match py.detach(|| step(None)) {
            None if !is_over(until) => wait_in(py, SLICE, until, |left| step(Some(left)))?,
            done => done,
        };
        done.ok_or_else(|| errors::full(py))?.map_err(|error| put_error(py, &error))
    }

    /// Puts all values, many on their way to the server at once. The exception says in `put` how many were put.
    #[pyo3(signature = (values, timeout))]
    fn put_many(&self, values: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<usize> {
        let (py, until) = (values.py(), until(timeout)?);
        let queue = self.queue(py)?;
        let mut values = values.try_iter()?;
        let mut count = 0;
        loop {
            let mut messages = Vec::new();
            let mut wrong = None;
            for value in values.by_ref().take(BATCH) {
                match value.and_then(|value| self.content.encode(&value)?.into_vec(py)) {
                    Ok(message) => messages.push(message),
                    Err(error) => {
                        wrong = Some(error);
                        break;
                    }
                }
            }
            let is_last = messages.len() < BATCH;
            let put = self.put_batch(py, &queue, messages, until, &mut count);
            if let Err(error) = put.and(wrong.map_or(Ok(()), Err)) {
                error.value(py).setattr("put", count)?;
                return Err(error);
            }
            if is_last {
                return Ok(count);
            }
        }
    }

    #[pyo3(signature = (timeout))]
    fn get<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        self.keep(py, self.deliver(py, until(timeout)?)?)
    }

    /// Waits for one value, then takes what is there. The exception has in `values` what was got before it.
    #[pyo3(signature = (max, timeout))]
    fn get_many<'py>(&self, py: Python<'py>, max: usize, timeout: Option<f64>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut values = Vec::new();
        if max == 0 {
            return Ok(values);
        }
        values.push(self.get(py, timeout)?);
        let queue = self.queue(py)?;
        // What is there now: producers may be so fast that it never ends.
        let max = max.min(self.qsize(py)?.saturating_add(1));
        while values.len() < max {
            let got = match py.detach(|| queue.try_get_delivery()) {
                Ok(delivery) => self.keep(py, delivery),
                Err(GetError::Empty | GetError::ShutDown) => break,
                Err(error) => Err(get_error(py, &error)),
            };
            if let Err(error) = got.map(|value| values.push(value)).and_then(|()| py.check_signals()) {
                error.value(py).setattr("values", values)?;
                return Err(error);
            }
        }
        Ok(values)
    }

    /// A put that may wait, for asyncio. If it is dropped it may have put the value.
    #[pyo3(signature = (value, timeout))]
    fn pending_put(&self, value: &Bound<'_, PyAny>, timeout: Option<f64>) -> PyResult<Pending> {
        let (py, time) = (value.py(), time(timeout)?);
        let (message, queue) = (self.content.encode(value)?.into_vec(py)?, self.queue(py)?);
        Pending::new(async move {
            let put = match time {
                None => queue.put_async(message).await,
                Some(time) if time < TOO_LATE => queue.try_put_async(message).await,
                Some(time) => queue.put_timeout_async(message, time).await,
            };
            let landing: Landing = Box::new(move |py| put.map(|()| py.None()).map_err(|error| put_error(py, &error)));
            landing
        })
    }

    /// A get that may wait, for asyncio. `delivers`: it comes to a delivery. One that is dropped has taken nothing.
    #[pyo3(signature = (delivers, timeout))]
    fn pending_get(slf: &Bound<'_, Self>, delivers: bool, timeout: Option<f64>) -> PyResult<Pending> {
        let (queue, raw, time) = (slf.get().queue(slf.py())?, slf.clone().unbind(), time(timeout)?);
        Pending::new(async move {
            let got = match time {
                None => queue.get_delivery_async().await,
                Some(time) if time < TOO_LATE => queue.try_get_delivery_async().await,
                Some(time) => queue.get_delivery_timeout_async(time).await,
            };
            let landing: Landing = Box::new(move |py| {
                let delivery = got.map_err(|error| get_error(py, &error))?;
                match delivers {
                    true => Ok(Py::new(py, raw.get().remote_delivery(delivery))?.into_any()),
                    false => raw.get().keep(py, delivery).map(Bound::unbind),
                }
            });
            landing
        })
    }

    #[pyo3(signature = (timeout))]
    fn get_delivery(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<RemoteDelivery> {
        Ok(self.remote_delivery(self.deliver(py, until(timeout)?)?))
    }

    fn task_done(&self, py: Python<'_>) -> PyResult<()> {
        let delivery = self.in_hand.take_oldest(py)?;
        py.detach(|| delivery.done().map(drop)).map_err(|error| done_error(&error))
    }

    /// Waits until everything is done. `False`: the time is over.
    #[pyo3(signature = (timeout))]
    fn join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let queue = self.queue(py)?;
        let step = |left| match queue.join_timeout(left) {
            Err(JoinError::Timeout { .. }) => None,
            joined => Some(joined),
        };
        match wait_in(py, SLICE, until(timeout)?, step)? {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(JoinError::Server(why))) => Err(server(&why)),
            Some(Err(error)) => Err(failed(&error)),
        }
    }

    fn unfinished(&self, py: Python<'_>) -> PyResult<usize> {
        self.ask(py, |queue| queue.unfinished())
    }

    fn qsize(&self, py: Python<'_>) -> PyResult<usize> {
        self.ask(py, |queue| queue.len())
    }

    fn capacity(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        self.ask(py, |queue| queue.capacity())
    }

    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        self.ask(py, |queue| queue.shutdown())
    }

    fn dead_len(&self, py: Python<'_>) -> PyResult<usize> {
        self.ask(py, |queue| queue.dead_len())
    }

    /// The oldest dead letter and its deliveries and id; it is off the server then. `None`: there is none.
    fn dead<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyAny>, u16, String)>> {
        let queue = self.queue(py)?;
        let letter: DeadLetter<Vec<u8>> = match py.detach(|| queue.try_get_dead()) {
            Ok(letter) => letter,
            Err(GetError::Empty) => return Ok(None),
            Err(error) => return Err(get_error(py, &error)),
        };
        let (count, id) = (letter.count(), letter.id().to_string());
        let value = match self.content.decode_slice(py, &letter) {
            Ok(value) => value,
            Err(error) => {
                py.detach(|| letter.leave());
                return Err(error);
            }
        };
        py.detach(|| letter.into_inner().map(drop)).map_err(|error| done_error(&error))?;
        Ok(Some((value, count, id)))
    }
}

/// A value that was got from a server and is not done.
#[pyclass(frozen, module = "multiproc._multiproc")]
pub(crate) struct RemoteDelivery {
    delivery: Open<Delivery<Vec<u8>>>,
    content: Content,
    #[pyo3(get)]
    count: u16,
    #[pyo3(get)]
    id: String,
}

#[pymethods]
impl RemoteDelivery {
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.delivery.value(py, self.content)
    }

    fn done(&self, py: Python<'_>) -> PyResult<()> {
        let delivery = self.delivery.take()?;
        py.detach(|| delivery.done().map(drop)).map_err(|error| done_error(&error))
    }

    /// Gives the value to another consumer, after so many seconds.
    #[pyo3(signature = (delay=None))]
    fn give_back(&self, py: Python<'_>, delay: Option<f64>) -> PyResult<()> {
        let wrong = |error: std::time::TryFromFloatSecsError| PyValueError::new_err(error.to_string());
        let delay = Duration::try_from_secs_f64(delay.unwrap_or(0.0)).map_err(wrong)?;
        let delivery = self.delivery.take()?;
        py.detach(|| delivery.give_back_after(delay));
        Ok(())
    }

    fn put_aside(&self, py: Python<'_>, _note: u32) -> PyResult<()> {
        let delivery = self.delivery.take()?;
        py.detach(|| delivery.put_aside()).map_err(|error| done_error(&error))
    }

    fn is_open(&self) -> bool {
        self.delivery.is_open()
    }
}
