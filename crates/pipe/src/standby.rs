//! `Standby`: waits in another process, and takes over when an end's user is gone.

use crate::error::StandbyError;
use crate::handle::Handle;
use crate::holder::Holder;
use crate::takeover::Waiting;
use multiproc_prim::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::time::Duration;

/// A stand-by of the end `E` of a pipe. Python has nothing like it.
///
/// A stand-by can neither send nor receive. It keeps the other side connected, and takes over when the user of the end has dropped it or
/// died. So a server can be replaced while its clients stay connected. The successor receives what waits in the pipe; the part of a message
/// that the old user had received is lost. An end has at most one stand-by. Like an end, it moves when it is sent to another process.
///
/// ```
/// # use multiproc_pipe as multiproc;
/// let (client, old_server) = multiproc::pipe::<String>()?;
/// let standby = old_server.standby()?;
/// client.send("request")?;
/// assert!(standby.try_take_over().is_err());
/// drop(old_server);
/// let new_server = standby.take_over()?;
/// assert_eq!(new_server.recv()?, "request");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a stand-by leaves the end without one"]
#[derive(Debug)]
pub struct Standby<E>(Holder<Waiting>, PhantomData<fn() -> E>);

static_assertions::assert_impl_all!(Standby<u8>: Send, std::fmt::Debug);
static_assertions::assert_not_impl_any!(Standby<u8>: Sync, Clone);

impl<E> Standby<E> {
    pub(crate) fn new(waiting: Waiting) -> Self {
        Self(Holder::new(waiting), PhantomData)
    }
}

impl<E: PipeEnd> Standby<E> {
    /// Waits until the user of the end is gone, and gives the end.
    ///
    /// # Errors
    ///
    /// This stand-by has moved or has taken over before, or the system has no memory for the end.
    pub fn take_over(&self) -> Result<E, StandbyError> {
        self.take_over_by(Deadline::NEVER)
    }

    /// Gives the end if its user is gone now.
    ///
    /// # Errors
    ///
    /// [`StandbyError::InUse`], or as [`take_over`](Self::take_over).
    pub fn try_take_over(&self) -> Result<E, StandbyError> {
        self.take_over_by(Deadline::NOW)
    }

    /// Waits until the user of the end is gone, for at most `timeout`, and gives the end.
    ///
    /// # Errors
    ///
    /// [`StandbyError::InUse`], or as [`take_over`](Self::take_over).
    pub fn take_over_timeout(&self, timeout: Duration) -> Result<E, StandbyError> {
        self.take_over_by(Deadline::after(timeout))
    }

    fn take_over_by(&self, deadline: Deadline) -> Result<E, StandbyError> {
        let end = self.0.with(|waiting| waiting.take_over(deadline))??;
        let _ = self.0.take();
        Ok(E::from_handle(Handle::new(end)))
    }
}

/// An end of a pipe: a [`Connection`](crate::Connection), [`Sender`](crate::Sender) or [`Receiver`](crate::Receiver).
#[expect(private_bounds, reason = "nobody else makes ends")]
pub trait PipeEnd: FromHandle {}

/// How a stand-by makes its end.
pub(crate) trait FromHandle: Sized {
    /// Whether it sends, and whether it receives.
    const WAYS: (bool, bool);
    fn from_handle(handle: Handle) -> Self;
}

impl<E> Serialize for Standby<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, E: PipeEnd> Deserialize<'de> for Standby<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Holder::arrived(E::WAYS, "this is the stand-by of another kind of end", deserializer)?, PhantomData))
    }
}
