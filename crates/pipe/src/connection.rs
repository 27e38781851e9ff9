//! `Connection`: an end that sends and receives.

use crate::MAX_MESSAGE;
use crate::end::End;
use crate::error::{PipeError, RecvError, RecvIntoError, SendError};
use multiproc_prim::Deadline;
use multiproc_shm::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A pair of connected ends, each of which sends and receives (Python: `Pipe()`).
///
/// ```
/// let (a, b) = multiproc_pipe::pipe()?;
/// a.send(&"hello".to_string())?;
/// assert_eq!(b.recv()?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The system has no memory or descriptors left. Each end takes four descriptors.
pub fn pipe<T>() -> Result<(Connection<T>, Connection<T>), PipeError> {
    let (a, b) = End::pair(true)?;
    Ok((Connection(a, PhantomData), Connection(b, PhantomData)))
}

/// One end of a pipe for messages of `T`, or of bytes (Python: `multiprocessing.connection.Connection`).
///
/// It belongs to one process at a time: using a copy that another process has too is an error, where Python's data would be
/// corrupted. Threads may share it. Values may hold handles and descriptors, which travel along.
#[derive(Debug)]
pub struct Connection<T>(pub(crate) End, PhantomData<fn(T) -> T>);

impl<T> Connection<T> {
    /// Sends bytes as they are (Python: `send_bytes`). Waits while the pipe is full.
    ///
    /// # Errors
    ///
    /// The other end is closed, its process is dead, or another process uses this end.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.0.send_parts(bytes, &[])
    }

    /// Receives the bytes of one message, up to [`MAX_MESSAGE`] of them (Python: `recv_bytes`). Waits for one.
    ///
    /// # Errors
    ///
    /// There never will be one, or it is too long.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes_max(MAX_MESSAGE)
    }

    /// As [`recv_bytes`](Self::recv_bytes), for at most `max` bytes (Python: `recv_bytes(maxlength)`). A longer message is
    /// skipped, and the connection goes on; Python's is unusable then.
    ///
    /// # Errors
    ///
    /// As `recv_bytes`.
    pub fn recv_bytes_max(&self, max: usize) -> Result<Vec<u8>, RecvError> {
        self.0.recv(max, Deadline::NEVER).map(|(bytes, _)| bytes)
    }

    /// Receives one message into `buffer`; returns its length (Python: `recv_bytes_into`).
    ///
    /// # Errors
    ///
    /// As [`recv_bytes`](Self::recv_bytes); and if the buffer is too short, an error that holds the message.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        if let Some(len) = self.0.recv_into(buffer) {
            return Ok(len);
        }
        let message = self.recv_bytes()?;
        match buffer.get_mut(..message.len()) {
            Some(target) => {
                target.copy_from_slice(&message);
                Ok(message.len())
            }
            None => Err(RecvIntoError::TooShort { buffer: buffer.len(), message }),
        }
    }

    /// Whether a message is there, or comes within `timeout`; `None` waits for ever (Python: `poll`). True at the end too, since
    /// `recv` does not wait then.
    ///
    /// # Errors
    ///
    /// The pipe is corrupt, or another process uses this end.
    pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, RecvError> {
        self.0.poll(timeout.into().map_or(Deadline::NEVER, Deadline::after))
    }

    /// A descriptor that is readable while `recv` would not wait, for `epoll`, `poll` and `select` (Python: `fileno`, for
    /// `multiprocessing.connection.wait`). Only wait for it; reading it breaks the promise.
    ///
    /// From the first call on each message costs its sender a system call more.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left.
    pub fn readiness(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.0.readiness()
    }
}

impl<T: Serialize + DeserializeOwned> Connection<T> {
    /// Sends a value (Python: `send`). Waits while the pipe is full; a value larger than the pipe streams through it.
    ///
    /// # Errors
    ///
    /// The other end is closed, its process is dead, another process uses this end, or the value refuses to be encoded.
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.0.send(&pass::encode(value)?)
    }

    /// Receives a value (Python: `recv`). Waits for one.
    ///
    /// # Errors
    ///
    /// There never will be one, or the message makes no `T`.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_by(Deadline::NEVER)
    }

    /// Receives a value if one is there now (Python: `poll()` and `recv`).
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.recv_by(Deadline::NOW)
    }

    /// Receives a value; waits at most `timeout` (Python: `poll(timeout)` and `recv`).
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`], or as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_by(Deadline::after(timeout)).map_err(|error| match error {
            RecvError::Empty => RecvError::Timeout,
            other => other,
        })
    }

    fn recv_by(&self, deadline: Deadline) -> Result<T, RecvError> {
        let (bytes, descriptors) = self.0.recv(MAX_MESSAGE, deadline)?;
        Ok(pass::decode(&bytes, descriptors)?)
    }
}

impl<T> Serialize for Connection<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Connection<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_end(End::deserialize(deserializer)?, End::is_duplex).map_err(pass::refuse)
    }
}

impl<T> Connection<T> {
    pub(crate) fn from_end(end: End, fits: fn(&End) -> bool) -> Result<Self, &'static str> {
        if fits(&end) { Ok(Self(end, PhantomData)) } else { Err("this end of a pipe goes the other way") }
    }
}
