//! `RemoteQueue` as a `WorkQueue`, for programs that run on one machine or on many.

use crate::delivery::Delivery;
use crate::error::{DoneError, GetError, JoinError, PutError, ServerError};
use crate::queue::RemoteQueue;
use multiproc_queue::{Returned, WorkDelivery, WorkError, WorkErrorKind, WorkQueue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

impl<T: Serialize + DeserializeOwned + 'static> WorkQueue<T> for RemoteQueue<T> {
    type Delivery = Delivery<T>;
    type PutError = PutError<()>;
    type GetError = GetError;
    type JoinError = JoinError;
    type Error = ServerError;

    fn put(&self, value: T) -> Result<(), Returned<T, PutError<()>>> {
        returned(Self::put(self, value))
    }

    fn try_put(&self, value: T) -> Result<(), Returned<T, PutError<()>>> {
        returned(Self::try_put(self, value))
    }

    fn put_timeout(&self, value: T, timeout: Duration) -> Result<(), Returned<T, PutError<()>>> {
        returned(Self::put_timeout(self, value, timeout))
    }

    fn get_delivery(&self) -> Result<Delivery<T>, GetError> {
        Self::get_delivery(self)
    }

    fn try_get_delivery(&self) -> Result<Delivery<T>, GetError> {
        Self::try_get_delivery(self)
    }

    fn get_delivery_timeout(&self, timeout: Duration) -> Result<Delivery<T>, GetError> {
        Self::get_delivery_timeout(self, timeout)
    }

    fn join(&self) -> Result<(), JoinError> {
        Self::join(self)
    }

    fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        Self::join_timeout(self, timeout)
    }

    fn unfinished(&self) -> Result<usize, ServerError> {
        Self::unfinished(self)
    }

    fn shutdown(&self) -> Result<(), ServerError> {
        Self::shutdown(self)
    }
}

fn returned<T>(put: Result<(), PutError<T>>) -> Result<(), Returned<T, PutError<()>>> {
    put.map_err(|error| {
        let (value, why) = error.split();
        Returned { value, why }
    })
}

impl<T> WorkDelivery<T> for Delivery<T> {
    type DoneError = DoneError<()>;

    fn count(&self) -> u16 {
        Self::count(self)
    }

    fn done(self) -> Result<T, Returned<T, DoneError<()>>> {
        Self::done(self).map_err(|error| match error {
            DoneError::LeaseLost { value, lease } => Returned { value, why: DoneError::LeaseLost { value: (), lease } },
            DoneError::Server { value, why } => Returned { value, why: DoneError::Server { value: (), why } },
        })
    }

    fn give_back(self) {
        Self::give_back(self);
    }
}

impl WorkError for PutError<()> {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::Full(()) => WorkErrorKind::Full,
            Self::Timeout(()) => WorkErrorKind::Timeout,
            Self::ShutDown(()) => WorkErrorKind::ShutDown,
            Self::TooLong { .. } | Self::Encode { .. } => WorkErrorKind::Value,
            Self::Server { .. } => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for GetError {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::Empty => WorkErrorKind::Empty,
            Self::Timeout => WorkErrorKind::Timeout,
            Self::ShutDown => WorkErrorKind::ShutDown,
            Self::Decode(_) => WorkErrorKind::Value,
            Self::Server(_) => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for DoneError<()> {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::LeaseLost { .. } => WorkErrorKind::LeaseLost,
            Self::Server { .. } => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for JoinError {
    fn kind(&self) -> WorkErrorKind {
        match self {
            Self::Timeout { .. } => WorkErrorKind::Timeout,
            Self::Server(_) => WorkErrorKind::Queue,
        }
    }
}

impl WorkError for ServerError {
    fn kind(&self) -> WorkErrorKind {
        WorkErrorKind::Queue
    }
}
