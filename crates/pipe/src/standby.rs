//! `Standby`: an end that waits for its turn.

use crate::connection::Connection;
use crate::end::{End, Waiting};
use crate::error::StandbyError;
use crate::handle::Handle;
use crate::oneway::{Receiver, Sender};
use crate::slot::Slot;
use multiproc_prim::Deadline;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::time::Duration;

/// A stand-by of the end `E` of a pipe. Python has nothing like it.
///
/// It can neither send nor receive. It keeps the other side connected, and takes over when the user of the end is gone: the user has
/// dropped it, or died. What waits in the pipe then is the successor's to receive; what the user had received of a message that was not
/// whole is lost. So a server can be replaced while its clients stay connected. An end has at most one stand-by. Like an end, it moves when it
/// is sent to another process.
///
/// ```
/// let (client, old_server) = multiproc_pipe::pipe()?;
/// let standby = old_server.standby()?;
/// client.send(&"request".to_string())?;
/// assert!(standby.try_take_over().is_err());
/// drop(old_server);
/// let new_server = standby.take_over()?;
/// assert_eq!(new_server.recv()?, "request");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Standby<E>(Slot<Waiting>, PhantomData<fn() -> E>);

static_assertions::assert_impl_all!(Standby<Connection<u8>>: Send);
static_assertions::assert_not_impl_any!(Standby<Connection<u8>>: Sync, Clone);

impl<E> Standby<E> {
    pub(crate) fn new(waiting: Waiting) -> Self {
        Self(Slot::new(waiting), PhantomData)
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
        // Nothing is left to stand by for.
        let _ = self.0.take();
        Ok(E::from_end(end))
    }
}

/// An end of a pipe: [`Connection`], [`Sender`] or [`Receiver`].
pub trait PipeEnd: sealed::FromEnd {}

impl<E: sealed::FromEnd> PipeEnd for E {}

mod sealed {
    use super::{Connection, End, Handle, Receiver, Sender};

    pub trait FromEnd {
        /// Whether it sends, and whether it receives.
        const WAYS: (bool, bool);
        #[expect(private_interfaces, reason = "the trait is sealed")]
        fn from_end(end: End) -> Self;
    }

    impl<Tx, Rx> FromEnd for Connection<Tx, Rx> {
        const WAYS: (bool, bool) = (true, true);
        #[expect(private_interfaces, reason = "the trait is sealed")]
        fn from_end(end: End) -> Self {
            Self::from_end(end)
        }
    }

    impl<T> FromEnd for Sender<T> {
        const WAYS: (bool, bool) = (true, false);
        #[expect(private_interfaces, reason = "the trait is sealed")]
        fn from_end(end: End) -> Self {
            Self::from_handle(Handle::new(end))
        }
    }

    impl<T> FromEnd for Receiver<T> {
        const WAYS: (bool, bool) = (false, true);
        #[expect(private_interfaces, reason = "the trait is sealed")]
        fn from_end(end: End) -> Self {
            Self::from_handle(Handle::new(end))
        }
    }
}

impl<E> Serialize for Standby<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, E: PipeEnd> Deserialize<'de> for Standby<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Slot::arrived(E::WAYS, "this is the stand-by of another kind of end", deserializer)?, PhantomData))
    }
}
