//! What the handles of users have in common: an end in its holder, and the descriptor that users wait for.

use crate::end::End;
use crate::error::{RecvError, RecvIntoError, SendError, StandbyError};
use crate::holder::{Gone, Holder};
use crate::incoming::unready;
use crate::layout::MAX_MESSAGE;
use crate::takeover::Waiting;
use multiproc_prim::Deadline;
use multiproc_travel::{Readiness, pass};
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};
use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Handle {
    holder: Holder<End>,
    /// The end has it too. Here it can be lent, and it outlives an end that is sent.
    readiness: OnceCell<Arc<Readiness>>,
}

impl Handle {
    pub(crate) fn new(end: End) -> Self {
        Self::of(Holder::new(end))
    }

    fn of(holder: Holder<End>) -> Self {
        Self { holder, readiness: OnceCell::new() }
    }

    /// The handle of an end that travelled, if it sends and receives as it should.
    pub(crate) fn arrived<'de, D: Deserializer<'de>>(ways: (bool, bool), otherwise: &str, from: D) -> Result<Self, D::Error> {
        Holder::arrived(ways, otherwise, from).map(Self::of)
    }

    #[cfg(feature = "async")]
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut End) -> R) -> Result<R, Gone> {
        self.holder.with(work)
    }

    /// One for each direction.
    pub(crate) fn split(self) -> (Self, Self) {
        match self.holder.take() {
            Ok(end) => {
                let (sends, receives) = end.split();
                (Self::new(sends), Self { holder: Holder::new(receives), readiness: self.readiness })
            }
            // Both say that the end has moved.
            Err(Gone) => (Self { holder: Holder::gone(), readiness: OnceCell::new() }, self),
        }
    }

    pub(crate) fn stand_by(&self) -> Result<Waiting, StandbyError> {
        self.holder.with(Waiting::of)?
    }

    #[inline]
    pub(crate) fn send_bytes(&self, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        if self.send_at_once(bytes) {
            return Ok(());
        }
        self.holder.with(|end| end.send(bytes, &[], deadline))?
    }

    /// Sends a message if that is quickly done; otherwise nothing is sent.
    #[inline]
    fn send_at_once(&self, bytes: &[u8]) -> bool {
        matches!(self.holder.with(|end| end.send_at_once(bytes)), Ok(true))
    }

    pub(crate) fn send<T, Q>(&self, value: &Q, deadline: Deadline) -> Result<(), SendError>
    where
        T: Serialize + DeserializeOwned + pass::Lends<Q>,
        Q: Serialize + ?Sized,
    {
        if !self.holder.is_here() {
            return Err(SendError::Moved);
        }
        // Encoding comes first: it calls the value's code, which may use this end.
        let parcel = pass::encode_as::<T, Q>(value)?;
        if !parcel.descriptors.is_empty() || !self.send_at_once(&parcel.bytes) {
            let sent = self.holder.with(|end| end.send(&parcel.bytes, &parcel.descriptors, deadline));
            sent.map_err(|Gone| SendError::ThroughItself)??;
        }
        parcel.sent();
        Ok(())
    }

    pub(crate) fn recv<T: DeserializeOwned>(&self, deadline: Deadline) -> Result<T, RecvError> {
        let (bytes, descriptors) = self.holder.with(|end| end.recv(MAX_MESSAGE, true, deadline))?.map_err(late(deadline))?;
        Ok(pass::decode(&bytes, descriptors)?)
    }

    pub(crate) fn recv_bytes(&self, max: usize, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.holder.with(|end| end.recv(max, false, deadline))?.map(|(bytes, _)| bytes).map_err(late(deadline))
    }

    #[inline]
    pub(crate) fn recv_bytes_into(&self, buffer: &mut [u8], deadline: Deadline) -> Result<usize, RecvIntoError> {
        if let Ok(Some(len)) = self.holder.with(|end| end.recv_into(buffer, deadline)) {
            return Ok(len);
        }
        let message = self.recv_bytes(MAX_MESSAGE, deadline)?;
        match buffer.get_mut(..message.len()) {
            Some(target) => {
                target.copy_from_slice(&message);
                Ok(message.len())
            }
            None => Err(RecvIntoError::TooShort { buffer: buffer.len(), message }),
        }
    }

    pub(crate) fn poll(&self, deadline: Deadline) -> Result<bool, RecvError> {
        self.holder.with(|end| end.poll(deadline))?
    }

    pub(crate) fn readiness(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(known) = self.readiness.get() {
            return Ok((**known).as_fd());
        }
        let new = self.holder.with(End::readiness).map_err(|Gone| io::Error::other(RecvError::Moved))??;
        Ok((**self.readiness.get_or_init(|| new)).as_fd())
    }

    /// As [`readiness`](Self::readiness), but it always gives a descriptor.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        // Every receiving end makes the other descriptor when it is made, so it is there.
        self.readiness().or_else(|_| unready()).expect("an end that receives has made it")
    }

    pub(crate) fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.holder.serialize(serializer)
    }
}

/// What a call with this deadline says if nothing came.
fn late(deadline: Deadline) -> impl FnOnce(RecvError) -> RecvError {
    move |error| match error {
        RecvError::Empty if deadline != Deadline::NOW => RecvError::Timeout,
        other => other,
    }
}

/// The deadline of a call that waits for a time, or for ever.
pub(crate) fn deadline(timeout: impl Into<Option<Duration>>) -> Deadline {
    timeout.into().map_or(Deadline::NEVER, Deadline::after)
}

impl From<Gone> for SendError {
    fn from(_: Gone) -> Self {
        Self::Moved
    }
}

impl From<Gone> for RecvError {
    fn from(_: Gone) -> Self {
        Self::Moved
    }
}

impl From<Gone> for StandbyError {
    fn from(_: Gone) -> Self {
        Self::Moved
    }
}
