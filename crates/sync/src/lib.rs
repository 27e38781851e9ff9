#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod block;
mod census;
mod channel;
mod error;
mod event;
mod looked;
mod memory;
mod stream;
mod wait;

pub use block::ChannelBlock;
pub use census::Census;
pub use channel::{Channel, channel_len, fixed_channel_len};
pub use error::{ChannelError, ChannelPopError, ChannelPushError, StreamRecvError, StreamSendError};
pub use event::{BusyEvent, EventCount, Pace, SLICE};
pub use stream::{StreamReceiver, StreamRecord, StreamSender, stream_len};
pub use wait::{Look, Wait};

pub use multiproc_prim::{Bytes, Deadline, Heap, Memory, OutOfBounds, Place, Region};
pub use multiproc_ring::mpmc::{LayoutError, Refused};
pub use multiproc_ring::spsc::SpscError;
pub use multiproc_ring::{mpmc, spsc};
