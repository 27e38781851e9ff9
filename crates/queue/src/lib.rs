#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attachment;
mod builder;
mod delivery;
mod done;
mod ending;
mod ends;
mod error;
#[cfg(feature = "async")]
mod futures;
mod holders;
mod iter;
mod joinable;
mod layout;
mod loan;
mod methods;
mod overview;
mod queue;
mod registry;
mod sides;
mod simple;
mod sweep;
mod waiting;
mod watch;
mod work;

pub use builder::{Builder, Typed, remove_queue};
pub use delivery::{DeadLetter, Delivery};
pub use ends::{Received, Receiver, Sender};
pub use error::{
    GetError, GetManyError, JoinThreadError, OpenError, PutError, PutManyError, QueueJoinError, RecvError, RemoveError,
    SendError, TaskDoneError,
};
#[cfg(feature = "async")]
pub use futures::{DeliveryStream, QueueSink, QueueStream, SimpleQueueStream};
pub use holders::Holder;
pub use iter::Iter;
pub use joinable::JoinableQueue;
pub use loan::{Borrowed, Loan};
pub use overview::{Glimpse, Overview, ParticipantInfo, Place, QueueKind, queue_names};
pub use queue::Queue;
pub use simple::SimpleQueue;
pub use waiting::{AllDone, Room};
pub use work::{Returned, WorkDelivery, WorkError, WorkErrorKind, WorkQueue};

// What errors, and dead letters, hold.
pub use multiproc_ring::mpmc::{MessageId, MessageIdError, Unfinished};
pub use multiproc_shm::{AttachError, CreateError, Flaw, NameError, ParticipantError};
pub use multiproc_sync::{ChannelError, LayoutError, OutOfBounds, SpscError};
pub use multiproc_travel::pass::{DecodeError, EncodeError};
