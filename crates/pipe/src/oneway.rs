//! `Sender` and `Receiver`: ends that go one way, and the halves of an end that goes both ways.

use crate::descriptor;
use crate::end::End;
use crate::error::{DescriptorError, PipeError, RecvError, RecvIntoError, SendError, StandbyError};
use crate::handle::{Handle, deadline};
use crate::layout::MAX_MESSAGE;
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

/// A receiving and a sending end (Python: `Pipe(duplex=False)`, in the same order).
///
/// ```
/// # use multiproc_pipe as multiproc;
/// let (receiver, sender) = multiproc::pipe_oneway::<u32>()?;
/// sender.send(&1)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 1);
/// assert!(receiver.recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The system has no memory or descriptors left. Each end takes two descriptors.
pub fn pipe_oneway<T>() -> Result<(Receiver<T>, Sender<T>), PipeError> {
    let (sends, receives) = End::pair(false)?;
    Ok((Receiver::from_handle(Handle::new(receives)), Sender::from_handle(Handle::new(sends))))
}

/// The end of a one-way pipe that receives, or the receiving half of a [`Connection`](crate::Connection) that was split. Only whole ends can
/// be sent to another process, which moves them as it moves a connection.
#[must_use = "dropping an end closes it"]
#[derive(Debug)]
pub struct Receiver<T>(Handle, PhantomData<fn() -> T>);

/// The end of a one-way pipe that sends, or the sending half of a [`Connection`](crate::Connection) that was split. Only whole ends can be
/// sent to another process, which moves them as it moves a connection.
#[must_use = "dropping an end closes it"]
#[derive(Debug)]
pub struct Sender<T>(Handle, PhantomData<fn(T)>);

static_assertions::assert_impl_all!(Receiver<u8>: Send, std::fmt::Debug);
static_assertions::assert_impl_all!(Sender<u8>: Send, std::fmt::Debug);
static_assertions::assert_not_impl_any!(Receiver<u8>: Sync, Clone);
static_assertions::assert_not_impl_any!(Sender<u8>: Sync, Clone);

impl<T> Receiver<T> {
    verbs::own!();
    verbs::recv_bytes!();
}

impl<T: DeserializeOwned> Receiver<T> {
    verbs::recv_values!(T);
    verbs::in_descriptor!(T);
}

impl<T> AsFd for Receiver<T> {
    /// The descriptor of [`readiness`](Self::readiness). Where there is none (the process has no descriptors left), this is an ordinary file: `poll` finds it readable, and `epoll` refuses it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<T> Sender<T> {
    verbs::own!();
    verbs::send_bytes!();
}

impl<T: Serialize + DeserializeOwned> Sender<T> {
    verbs::send_values!(T);
}

impl<T: DeserializeOwned> Sender<T> {
    verbs::in_descriptor!(T);
}

/// Ready while there is something to receive, and at the end. It uses [`readiness`](Self::readiness), and costs what that costs.
impl<T> Source for Receiver<T> {
    fn awaited(&self) -> Awaited<'_> {
        Awaited::Descriptor(self.as_fd(), Direction::Read)
    }
}

impl<T> PipeEnd for Receiver<T> {}

impl<T> FromHandle for Receiver<T> {
    const WAYS: (bool, bool) = (false, true);
    fn from_handle(handle: Handle) -> Self {
        Self(handle, PhantomData)
    }
}

impl<T> PipeEnd for Sender<T> {}

impl<T> FromHandle for Sender<T> {
    const WAYS: (bool, bool) = (true, false);
    fn from_handle(handle: Handle) -> Self {
        Self(handle, PhantomData)
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
        Handle::arrived((false, true), "this end of a pipe sends", deserializer).map(Self::from_handle)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Handle::arrived((true, false), "this end of a pipe receives", deserializer).map(Self::from_handle)
    }
}
