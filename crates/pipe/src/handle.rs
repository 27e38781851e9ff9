//! What the handles of users have in common: an end in its slot, and the descriptor that others wait for.

use crate::MAX_MESSAGE;
use crate::end::{End, Waiting};
use crate::error::{RecvError, RecvIntoError, SendError, StandbyError};
use crate::slot::{Gone, Slot};
use multiproc_prim::Deadline;
use multiproc_travel::{Readiness, pass};
use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};
use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Handle {
    slot: Slot<End>,
    /// The end has it too. It is here so that it can be lent, and outlives an end that is sent.
    readiness: OnceCell<Arc<Readiness>>,
}

impl Handle {
    pub(crate) fn new(end: End) -> Self {
        Self::of(Slot::new(end))
    }

    fn of(slot: Slot<End>) -> Self {
        Self { slot, readiness: OnceCell::new() }
    }

    /// The handle of an end that travelled, if it sends and receives as it should.
    pub(crate) fn arrived<'de, D: Deserializer<'de>>(ways: (bool, bool), otherwise: &str, from: D) -> Result<Self, D::Error> {
        Slot::arrived(ways, otherwise, from).map(Self::of)
    }

    /// One for each direction.
    pub(crate) fn split(self) -> (Self, Self) {
        match self.slot.take() {
            Ok(end) => {
                let (sends, receives) = end.split();
                (Self::new(sends), Self { slot: Slot::new(receives), readiness: self.readiness })
            }
            // Both say that the end has moved.
            Err(Gone) => (Self { slot: Slot::gone(), readiness: OnceCell::new() }, self),
        }
    }

    pub(crate) fn stand_by(&self) -> Result<Waiting, StandbyError> {
        self.slot.with(End::stand_by)?
    }

    #[inline]
    pub(crate) fn send_bytes(&self, bytes: &[u8], deadline: Deadline) -> Result<(), SendError> {
        self.slot.with(|end| end.send(bytes, &[], deadline))?
    }

    pub(crate) fn send<T: Serialize + DeserializeOwned>(&self, value: &T, deadline: Deadline) -> Result<(), SendError> {
        if !self.slot.is_here() {
            return Err(SendError::Moved);
        }
        // Encoding calls the value's code, which may use this end, and so comes first.
        let parcel = pass::encode(value)?;
        let sent = self.slot.with(|end| end.send(&parcel.bytes, &parcel.descriptors, deadline));
        sent.map_err(|Gone| SendError::ThroughItself)??;
        parcel.sent();
        Ok(())
    }

    pub(crate) fn recv<T: DeserializeOwned>(&self, deadline: Deadline) -> Result<T, RecvError> {
        let (bytes, descriptors) = self.slot.with(|end| end.recv(MAX_MESSAGE, true, deadline))??;
        Ok(pass::decode(&bytes, descriptors)?)
    }

    pub(crate) fn recv_timeout<T: DeserializeOwned>(&self, timeout: Duration) -> Result<T, RecvError> {
        self.recv(Deadline::after(timeout)).map_err(timed_out)
    }

    pub(crate) fn recv_bytes(&self, max: usize, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        self.slot.with(|end| end.recv(max, false, deadline))?.map(|(bytes, _)| bytes)
    }

    pub(crate) fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
        self.recv_bytes(MAX_MESSAGE, Deadline::after(timeout)).map_err(timed_out)
    }

    #[inline]
    pub(crate) fn recv_bytes_into(&self, buffer: &mut [u8]) -> Result<usize, RecvIntoError> {
        if let Ok(Some(len)) = self.slot.with(|end| end.recv_into(buffer)) {
            return Ok(len);
        }
        let message = self.recv_bytes(MAX_MESSAGE, Deadline::NEVER)?;
        match buffer.get_mut(..message.len()) {
            Some(target) => {
                target.copy_from_slice(&message);
                Ok(message.len())
            }
            None => Err(RecvIntoError::TooShort { buffer: buffer.len(), message }),
        }
    }

    pub(crate) fn poll(&self, timeout: Option<Duration>) -> Result<bool, RecvError> {
        let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
        self.slot.with(|end| end.poll(deadline))?
    }

    pub(crate) fn readiness(&self) -> std::io::Result<BorrowedFd<'_>> {
        if let Some(known) = self.readiness.get() {
            return Ok((**known).as_fd());
        }
        let new = self.slot.with(End::readiness).map_err(|Gone| std::io::Error::other(RecvError::Moved))??;
        Ok((**self.readiness.get_or_init(|| new)).as_fd())
    }

    pub(crate) fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.slot.serialize(serializer)
    }
}

fn timed_out(error: RecvError) -> RecvError {
    match error {
        RecvError::Empty => RecvError::Timeout,
        other => other,
    }
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
