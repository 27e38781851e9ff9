//! `Sender` and `Receiver`: ends that go one way.

use crate::connection::Connection;
use crate::end::End;
use crate::error::{PipeError, RecvError, RecvIntoError, SendError};
use multiproc_shm::pass;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A receiving and a sending end (Python: `Pipe(duplex=False)`, in the same order).
///
/// ```
/// let (receiver, sender) = multiproc_pipe::pipe_oneway()?;
/// sender.send(&1)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 1);
/// assert!(receiver.recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The system has no memory or descriptors left.
pub fn pipe_oneway<T>() -> Result<(Receiver<T>, Sender<T>), PipeError> {
    let (sends, receives) = End::pair(false)?;
    let wrong = |why: &'static str| PipeError::System(std::io::Error::other(why));
    let receiver = Connection::from_end(receives, |end| !end.sends()).map_err(wrong)?;
    let sender = Connection::from_end(sends, End::sends).map_err(wrong)?;
    Ok((Receiver(receiver), Sender(sender)))
}

/// The end of a one-way pipe that receives. Its methods are those of [`Connection`].
#[derive(Debug)]
pub struct Receiver<T>(Connection<T>);

/// The end of a one-way pipe that sends. Its methods are those of [`Connection`].
#[derive(Debug)]
pub struct Sender<T>(Connection<T>);

impl<T> Receiver<T> {
    /// As [`Connection::recv_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes()
    }

    /// As [`Connection::recv_bytes_max`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_bytes_max(&self, max: usize) -> Result<Vec<u8>, RecvError> {
        self.0.recv_bytes_max(max)
    }

    /// As [`Connection::recv_bytes_into`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        self.0.recv_bytes_into(buffer)
    }

    /// As [`Connection::poll`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn poll(&self, timeout: impl Into<Option<Duration>>) -> Result<bool, RecvError> {
        self.0.poll(timeout)
    }

    /// As [`Connection::readiness`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn readiness(&self) -> std::io::Result<BorrowedFd<'_>> {
        self.0.readiness()
    }
}

impl<T: Serialize + DeserializeOwned> Receiver<T> {
    /// As [`Connection::recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv(&self) -> Result<T, RecvError> {
        self.0.recv()
    }

    /// As [`Connection::try_recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv(&self) -> Result<T, RecvError> {
        self.0.try_recv()
    }

    /// As [`Connection::recv_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvError> {
        self.0.recv_timeout(timeout)
    }
}

impl<T> Sender<T> {
    /// As [`Connection::send_bytes`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError> {
        self.0.send_bytes(bytes)
    }
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    /// As [`Connection::send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn send(&self, value: &T) -> Result<(), SendError> {
        self.0.send(value)
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = End::deserialize(deserializer)?;
        Ok(Self(Connection::from_end(end, |end| !end.sends()).map_err(pass::refuse)?))
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let end = End::deserialize(deserializer)?;
        Ok(Self(Connection::from_end(end, |end| end.sends() && !end.is_duplex()).map_err(pass::refuse)?))
    }
}
