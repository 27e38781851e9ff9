#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connection;
mod end;
mod error;
mod layout;
mod oneway;

pub use connection::{Connection, pipe};
pub use error::{PipeError, RecvError, RecvIntoError, SendError};
pub use oneway::{Receiver, Sender, pipe_oneway};

/// Bytes of room in each direction: a message that is longer streams through.
pub const CAPACITY: usize = 64 << 10;

/// Longest message that is received unless a call says otherwise: 1 GiB.
pub const MAX_MESSAGE: usize = 1 << 30;
