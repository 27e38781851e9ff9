#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod core;
mod dead;
mod delivery;
mod error;
mod hold;
mod lease;
mod link;
mod options;
#[cfg(feature = "pool")]
mod pool;
mod prefetch;
mod pull;
mod put;
mod queue;
mod report;
mod runtime;
mod stream;
mod tidy;
mod until;
mod work;

pub use address::Address;
pub use dead::{DeadLetter, ListedLetter};
pub use delivery::Delivery;
pub use error::{AddressError, ConnectError, DoneError, GetError, JoinError, PutError, PutManyError, ServerError, TaskDoneError};
pub use options::Builder;
#[cfg(feature = "pool")]
pub use pool::{Call, RemoteImap, RemoteMapError, RemotePool, RemoteSubmitError, RemoteTask, RemoteTaskError, ServeError, Tasks};
pub use queue::RemoteQueue;
pub use report::{JetStreamReport, QueueReport, ServerReport};

// What errors hold, and what a program names that runs on one machine or on many.
pub use multiproc_queue::{DecodeError, EncodeError, WorkDelivery, WorkError, WorkErrorKind, WorkQueue};
