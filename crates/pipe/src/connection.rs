//! `Connection`: an end that sends and receives.

use crate::descriptor;
use crate::end::End;
use crate::error::{DescriptorError, PipeError, RecvError, RecvIntoError, SendError, StandbyError};
use crate::handle::{Handle, deadline};
use crate::layout::MAX_MESSAGE;
use crate::oneway::{Receiver, Sender};
use crate::standby::{FromHandle, PipeEnd, Standby};
use crate::verbs;
use multiproc_prim::{Deadline, Direction};
use multiproc_sync::{Awaited, Source};
use multiproc_travel::pass::Lends;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A pair of connected ends, each of which sends and receives `T` (Python: `Pipe()`). For ends whose ways carry different types see
/// [`Connection::pair`].
///
/// ```
/// # use multiproc_pipe as multiproc;
/// let (a, b) = multiproc::pipe::<String>()?;
/// a.send("hello")?;
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
/// An end has one owner. One thread uses it at a time, which the compiler checks; [`split`](Self::split) gives its two directions to two
/// threads. Sending an end to another process moves it, as an argument, through another pipe or in a
/// [descriptor](Self::to_descriptor). From then on this handle says [`Moved`](SendError::Moved). An end that could not be sent is still
/// here.
///
/// After a `fork` both processes have a copy. The first one that uses the end has it, and the other one gets an error (Python: the data
/// becomes corrupted). Dropping a copy that was never used changes nothing, and every process should drop the copies that it does not need:
/// if the end's user dies, a copy elsewhere may still go on with the end, so the other side keeps waiting for it.
///
/// Values may hold handles and descriptors, which travel along. The compiler can't tell the type of a pipe from what is sent, since a `str`
/// may stand for a `String`: name it, as in `pipe::<String>()`.
#[must_use = "dropping an end closes it"]
#[derive(Debug)]
pub struct Connection<Tx, Rx = Tx>(Handle, PhantomData<fn(Tx) -> Rx>);

static_assertions::assert_impl_all!(Connection<u8>: Send, std::fmt::Debug);
static_assertions::assert_not_impl_any!(Connection<u8>: Sync, Clone);

impl<Tx, Rx> Connection<Tx, Rx> {
    /// A pair of connected ends: the first one sends `Tx` and receives `Rx`, the second one the other way round (Python: `Pipe()`).
    ///
    /// ```
    /// # use multiproc_pipe as multiproc;
    /// use multiproc::Connection;
    ///
    /// let (client, server) = Connection::<String, usize>::pair()?;
    /// client.send("hello")?;
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
        Ok((Self::from_handle(Handle::new(a)), Connection::from_handle(Handle::new(b))))
    }

    /// Gives the two directions to two threads. Python has nothing like it.
    ///
    /// Dropping a half closes its direction. It stays open if the end has a stand-by, which may still take over: if that vanishes, the
    /// direction is closed only when the other half is dropped too. Halves stay in their process; only a whole end can be sent on or be
    /// given a stand-by.
    ///
    /// ```
    /// # use multiproc_pipe as multiproc;
    /// let (a, b) = multiproc::pipe::<i32>()?;
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

    verbs::own!();
    verbs::send_bytes!();
    verbs::recv_bytes!();
}

impl<Tx: Serialize + DeserializeOwned, Rx> Connection<Tx, Rx> {
    verbs::send_values!(Tx);
}

impl<Tx, Rx: DeserializeOwned> Connection<Tx, Rx> {
    verbs::recv_values!(Rx);
}

impl<Tx: DeserializeOwned, Rx: DeserializeOwned> Connection<Tx, Rx> {
    verbs::in_descriptor!((Tx, Rx));
}

impl<Tx, Rx> AsFd for Connection<Tx, Rx> {
    /// The descriptor of [`readiness`](Self::readiness). Where there is none (the process has no descriptors left), this is an ordinary file: `poll` finds it readable, and `epoll` refuses it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Ready while there is something to receive, and at the end. It uses [`readiness`](Self::readiness), and costs what that costs.
impl<Tx, Rx> Source for Connection<Tx, Rx> {
    fn awaited(&self) -> Awaited<'_> {
        Awaited::Descriptor(self.as_fd(), Direction::Read)
    }
}

impl<Tx, Rx> PipeEnd for Connection<Tx, Rx> {}

impl<Tx, Rx> FromHandle for Connection<Tx, Rx> {
    const WAYS: (bool, bool) = (true, true);
    fn from_handle(handle: Handle) -> Self {
        Self(handle, PhantomData)
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
