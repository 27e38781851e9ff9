#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// Each module knows only those above it.
mod error;
mod layout;
mod ownership;

mod incoming;
mod outgoing;

mod end;
mod takeover;

mod holder;

mod handle;
mod moving;

mod descriptor;
mod standby;
mod verbs;

mod oneway;

mod connection;

#[cfg(feature = "async")]
mod futures;

pub use connection::{Connection, pipe};
pub use error::{DescriptorError, PipeError, RecvError, RecvIntoError, SendError, StandbyError};
#[cfg(feature = "async")]
pub use futures::{MessageSink, Messages};
pub use layout::{CAPACITY, MAX_MESSAGE};
pub use multiproc_shm::{AttachError, CreateError, Flaw, NameError};
pub use multiproc_sync::{ChannelError, LayoutError, OutOfBounds, SpscError};
pub use multiproc_travel::pass::{DecodeError, Descriptor, EncodeError, Lends};
pub use oneway::{Receiver, Sender, pipe_oneway};
pub use standby::{PipeEnd, Standby};
