#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod block;
mod census;
mod channel;
mod error;
mod event;
mod looked;
mod memory;
mod poller;
mod reactor;
mod selector;
mod source;
mod stream;
mod wait;
mod waitlist;

pub use block::ChannelBlock;
pub use census::Census;
pub use channel::{Channel, ChannelEvent, Quiet, Told, channel_len, fixed_channel_len};
pub use error::{ChannelError, ChannelPopError, ChannelPushError, StreamRecvError, StreamSendError};
pub use event::{BusyEvent, Event, EventCount, Pace, SLICE};
pub use poller::{Polled, poll_descriptor};
pub use reactor::{Reactor, Station};
pub use selector::{Selector, WaitError, wait};
pub use source::{Awaited, Condition, Readable, Source, Writable};
pub use stream::{StreamEvent, StreamReceiver, StreamRecord, StreamSender, stream_len};
pub use wait::{Look, Wait};
pub use waitlist::{WaitList, Waiter, call};

pub use multiproc_prim::{Bytes, Deadline, Direction, Heap, Memory, OutOfBounds, Place, Region};
pub use multiproc_ring::mpmc::{LayoutError, Refused};
pub use multiproc_ring::spsc::SpscError;
pub use multiproc_ring::{mpmc, spsc};
