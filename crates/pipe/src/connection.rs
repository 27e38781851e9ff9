//! `Connection`: an end that sends and receives.

use crate::MAX_MESSAGE;
use crate::end::End;
use crate::error::{PipeError, RecvError, RecvIntoError, SendError, StandbyError};
use crate::handle::Handle;
use crate::oneway::{Receiver, Sender};
use crate::standby::Standby;
use multiproc_prim::Deadline;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A pair of connected ends, each of which sends and receives `T` (Python: `Pipe()`). For ends whose ways carry different types see
/// [`Connection::pair`].
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
/// The system has no memory or descriptors left. Each end takes two descriptors.
pub fn pipe<T>() -> Result<(Connection<T>, Connection<T>), PipeError> {
    Connection::pair()
}

/// One end of a pipe, which sends `Tx` and receives `Rx`, or bytes (Python: `multiprocessing.connection.Connection`).
///
/// An end is one owner's. One thread uses it at a time, which the compiler sees to; [`split`](Self::split) gives its two directions to two
/// threads. It is moved when it is sent to another process, as an argument or through another pipe: from then on this handle says
/// [`Moved`](SendError::Moved). If it could not be sent, it is still here. After a `fork` the first process that uses the end has it, and
/// the other one gets an error (Python: the data becomes corrupted); dropping a copy that was never used changes nothing.
///
/// Values may hold handles and descriptors, which travel along.
#[derive(Debug)]
pub struct Connection<Tx, Rx = Tx>(Handle, PhantomData<fn(Tx) -> Rx>);

static_assertions::assert_impl_all!(Connection<u8>: Send);
static_assertions::assert_not_impl_any!(Connection<u8>: Sync, Clone);

impl<Tx, Rx> Connection<Tx, Rx> {
    /// A pair of connected ends: the first one sends `Tx` and receives `Rx`, the second one the other way round (Python: `Pipe()`).
    ///
    /// ```
    /// use multiproc_pipe::Connection;
    ///
    /// let (client, server) = Connection::<String, usize>::pair()?;
    /// client.send(&"hello".into())?;
    /// server.send(&server.recv()?.len())?;
    /// assert_eq!(client.recv()?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The system has no memory or descriptors left. Each end takes two descriptors.
    pub fn pair() -> Result<(Self, Connection<Rx, Tx>), PipeError> {
        let (a, b) = End::pair(true)?;
        Ok((Self::from_end(a), Connection::from_end(b)))
    }

    pub(crate) fn from_end(end: End) -> Self {
        Self(Handle::new(end), PhantomData)
    }

    /// The two directions, for two threads. When one of them is dropped, its direction is closed, unless the end has a stand-by, which may
    /// still take over. Python has nothing like it.
    ///
    /// Halves stay in their process. Only a whole end can be sent on or be given a stand-by.
    ///
    /// ```
    /// let (a, b) = multiproc_pipe::pipe()?;
    /// let (sender, receiver) = a.split();
    /// let echo = std::thread::spawn(move || b.send(&b.recv().unwrap()));
    /// let reader = std::thread::spawn(move || receiver.recv());
    /// sender.send(&1)?;
    /// assert_eq!(reader.join().unwrap()?, 1);
    /// # echo.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (Sender<Tx>, Receiver<Rx>) {
        let (sends, receives) = self.0.split();
        (Sender::from_handle(sends), Receiver::from_handle(receives))
    }

    /// A stand-by for this end, which can wait in another process until this one is gone, and take over then. Python has nothing like it.
    ///
    /// # Errors
    ///
    /// There is one already, or the end has moved, is in use by another process, or is split.
    pub fn standby(&self) -> Result<Standby<Self>, StandbyError> {
        self.0.stand_by().map(Standby::new)
    }

    /// Sends bytes as they are (Python: `send_bytes`). Waits while the pipe is full.
    ///
    /// # Errors
    ///
    /// The other end is closed or its process is dead, the message is longer than [`MAX_MESSAGE`], or this end is another process's.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.0.send_bytes(bytes, Deadline::NEVER)
    }

    /// Sends bytes as they are, without waiting for the other end. Python has nothing like it. A message of more than about 32 KiB goes in a
    /// memory file of its own.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], or as [`send_bytes`](Self::send_bytes). Nothing was sent then.
    pub fn try_send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.0.send_bytes(bytes, Deadline::NOW)
    }

    /// Sends bytes as they are; waits at most `timeout` for room. Python has nothing like it. The other end never sees a part of a message;
    /// but after a time-out in the middle of a large one, what was written of it takes up room until the other end receives again.
    ///
    /// # Errors
    ///
    /// [`SendError::Timeout`], or as [`send_bytes`](Self::send_bytes). Nothing was sent then.
    pub fn send_bytes_timeout(&self, bytes: &[u8], timeout: Duration) -> Result<(), SendError> {
        self.0.send_bytes(bytes, Deadline::after(timeout))
    }

    /// Receives the bytes of one message, up to [`MAX_MESSAGE`] of them (Python: `recv_bytes`). Waits for one. Descriptors that came with
    /// it are dropped.
    ///
    /// # Errors
    ///
    /// There never will be one, or it is too long.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes(MAX_MESSAGE, Deadline::NEVER)
    }

    /// Receives the bytes of one message if one is there now (Python: `poll()` and `recv_bytes`).
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or as [`recv_bytes`](Self::recv_bytes).
    pub fn try_recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes(MAX_MESSAGE, Deadline::NOW)
    }

    /// Receives the bytes of one message; waits at most `timeout` (Python: `poll(timeout)` and `recv_bytes`).
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`], or as [`recv_bytes`](Self::recv_bytes).
    pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes_timeout(timeout)
    }

    /// Receives the bytes of one message, up to `max` of them (Python: `recv_bytes(maxlength)`). Waits for one. A longer message is
    /// skipped, and the connection goes on; Python's is unusable then.
    ///
    /// # Errors
    ///
    /// There never will be one, or it is too long.
    pub fn recv_bytes_max(&self, max: usize) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes(max, Deadline::NEVER)
    }

    /// Receives one message into `buffer`; returns its length (Python: `recv_bytes_into`). Waits for one.
    ///
    /// # Errors
    ///
    /// There never will be one; or the buffer is too short, and the error holds the message.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        self.0.recv_bytes_into(buffer)
    }

    /// Whether there is something to receive, or comes within `timeout`; `None` waits for ever (Python: `poll`). True at the end too, since
    /// `recv` does not wait then.
    ///
    /// A message of more than about 16 KiB comes in parts. The first one makes this true, as in Python; `recv` then waits for the others,
    /// and [`recv_timeout`](Self::recv_timeout) for no longer than it is told.
    ///
    /// # Errors
    ///
    /// The pipe is corrupt, or this end is another process's.
    pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, RecvError> {
        self.0.poll(timeout.into())
    }

    /// A descriptor that is readable while there is something to receive, for `epoll`, `poll` and `select` (Python: `fileno`, for
    /// `multiprocessing.connection.wait`). That may be a part of a message, as for [`poll`](Self::poll). Only wait for it; reading it breaks
    /// the promise.
    ///
    /// From the first call on each message costs its sender a system call more, and the end takes two descriptors more.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left, or this end has moved.
    pub fn readiness(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.0.readiness()
    }
}

impl<Tx: Serialize + DeserializeOwned, Rx> Connection<Tx, Rx> {
    /// Sends a value (Python: `send`). Waits while the pipe is full; a value larger than the pipe streams through it.
    ///
    /// # Errors
    ///
    /// The other end is closed or its process is dead, the value refuses to be encoded or is longer than [`MAX_MESSAGE`], or this end is
    /// another process's. Nothing was sent, and ends of pipes inside the value are still here.
    pub fn send(&self, value: &Tx) -> Result<(), SendError> {
        self.0.send(value, Deadline::NEVER)
    }

    /// Sends a value of any size, without waiting for the other end. Python has nothing like it. A value of more than about 32 KiB goes in a
    /// memory file of its own.
    ///
    /// # Errors
    ///
    /// [`SendError::Full`], or as [`send`](Self::send). Nothing was sent then.
    pub fn try_send(&self, value: &Tx) -> Result<(), SendError> {
        self.0.send(value, Deadline::NOW)
    }

    /// Sends a value of any size; waits at most `timeout` for room. Python has nothing like it. The other end never sees a part of a value;
    /// but after a time-out in the middle of a large one, what was written of it takes up room until the other end receives again.
    ///
    /// # Errors
    ///
    /// [`SendError::Timeout`], or as [`send`](Self::send). Nothing was sent then.
    pub fn send_timeout(&self, value: &Tx, timeout: Duration) -> Result<(), SendError> {
        self.0.send(value, Deadline::after(timeout))
    }
}

impl<Tx, Rx: Serialize + DeserializeOwned> Connection<Tx, Rx> {
    /// Receives a value (Python: `recv`). Waits for one.
    ///
    /// # Errors
    ///
    /// There never will be one, the message makes no `Rx`, or this process has no room for its descriptors: then it stays in the pipe.
    pub fn recv(&self) -> Result<Rx, RecvError> {
        self.0.recv(Deadline::NEVER)
    }

    /// Receives a value if one is there now (Python: `poll()` and `recv`).
    ///
    /// # Errors
    ///
    /// [`RecvError::Empty`], or as [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Rx, RecvError> {
        self.0.recv(Deadline::NOW)
    }

    /// Receives a value; waits at most `timeout` (Python: `poll(timeout)` and `recv`).
    ///
    /// # Errors
    ///
    /// [`RecvError::Timeout`], or as [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Rx, RecvError> {
        self.0.recv_timeout(timeout)
    }
}

impl<Tx, Rx> Serialize for Connection<Tx, Rx> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, Tx, Rx> Deserialize<'de> for Connection<Tx, Rx> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Handle::arrived((true, true), "this end of a pipe goes one way", deserializer)?, PhantomData))
    }
}
