#![doc = include_str!("../README.md")]

mod channel;
mod error;
mod event;
mod stream;

pub use channel::{Channel, channel_len, fixed_channel_len};
pub use error::{ChannelError, GetError, PutError, RecvError, SendError};
pub use event::{BusyEvent, EventCount, Pace, SLICE};
pub use stream::{StreamReceiver, StreamSender, stream_len};
