#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connection;
mod end;
mod error;
mod handle;
mod layout;
mod oneway;
mod slot;
mod standby;

pub use connection::{Connection, pipe};
pub use error::{PipeError, RecvError, RecvIntoError, SendError, StandbyError};
pub use oneway::{Receiver, Sender, pipe_oneway};
pub use standby::{PipeEnd, Standby};

/// Bytes of room in each direction: a message that is longer streams through.
pub const CAPACITY: usize = 64 << 10;

/// Longest message in bytes: 1 GiB. A longer one is refused when it is sent.
pub const MAX_MESSAGE: usize = 1 << 30;
