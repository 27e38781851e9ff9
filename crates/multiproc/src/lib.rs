//! [`Queue`]: crate::Queue
//! [`JoinableQueue`]: crate::JoinableQueue
//! [`SimpleQueue`]: crate::SimpleQueue
//! [`pipe`]: crate::pipe()
//! [`pipe_oneway`]: crate::pipe_oneway
//! [`Process`]: crate::Process
//! [`Pool`]: crate::Pool
//! [`Workers`]: crate::Workers
//! [guide]: crate::guide
//! [examples]: https://github.com/multiproc/multiproc/tree/main/crates/multiproc/examples
// Of two definitions of a link the first one counts. Those above lead to rustdoc's pages, those in the file to GitHub's.
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// [`init`]: crate::init
/// [`Queue`]: crate::Queue
/// [`JoinableQueue`]: crate::JoinableQueue
/// [`SimpleQueue`]: crate::SimpleQueue
/// [`Connection`]: crate::Connection
/// [`Process`]: crate::Process
/// [`Pool`]: crate::Pool
/// [`Workers`]: crate::Workers
/// [`TaskError`]: crate::TaskError
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

pub use multiproc_pipe::{
    Connection, DescriptorError, PipeEnd, PipeError, RecvIntoError, Standby, StandbyError, pipe, pipe_oneway,
};
#[cfg(feature = "async")]
pub use multiproc_pipe::{MessageSink, Messages};
#[cfg(feature = "async")]
pub use multiproc_pool::TaskFuture;
pub use multiproc_pool::{
    Function, Imap, Initialized, JoinPoolError, MapError, Pool, PoolBuilder, StartError, SubmitError, Task, TaskError, WorkerEnd,
    Workers, WorkersBuilder, WorkersError,
};
pub use multiproc_process::{
    Captureless, Current, Ending, Exit, JoinError, Main, Outcome, Process, ProcessBuilder, SignalError, SpawnError,
    SpawnErrorKind, Target, active_children, current_process, init,
};
pub use multiproc_queue::{
    AllDone, AttachError, Borrowed, Builder, ChannelError, CreateError, DeadLetter, Delivery, Flaw, GetError, GetManyError,
    Glimpse, Holder, Iter, JoinThreadError, JoinableQueue, LayoutError, Loan, MessageId, MessageIdError, NameError, OpenError,
    OutOfBounds, Overview, ParticipantError, ParticipantInfo, Place, PutError, PutManyError, Queue, QueueJoinError, QueueKind,
    RemoveError, Returned, Room, SimpleQueue, SpscError, TaskDoneError, Unfinished, WorkDelivery, WorkError, WorkErrorKind,
    WorkQueue, queue_names, remove_queue,
};
#[cfg(feature = "async")]
pub use multiproc_queue::{DeliveryStream, QueueSink, QueueStream, SimpleQueueStream};
pub use multiproc_sync::{Awaited, Direction, Readable, Selector, Source, WaitError, Writable, wait};
pub use multiproc_travel::bytemuck;
pub use multiproc_travel::pass::{DecodeError, Descriptor, EncodeError, Lends, Plain, PlainVec};

/// The sender and the receiver of a pipe. Each has one owner, and messages of any length go from the one to the other.
///
/// [`pipe_oneway`] makes them, and [`Connection::split`]. They are here, and not beside [`Connection`], since a queue has a sender
/// and a receiver, too: those of [`queue`].
pub mod pipe {
    pub use multiproc_pipe::{Receiver, RecvError, SendError, Sender};
}

/// The senders and receivers of a queue. Each is cheap to clone, and each value goes to one receiver.
///
/// [`Queue::split`] makes them. Those of a pipe are in [`pipe`](mod@pipe).
pub mod queue {
    pub use multiproc_queue::{Received, Receiver, RecvError, SendError, Sender};
}

/// What a program with processes, queues and pipes names: `use multiproc::prelude::*`.
///
/// It has names of one meaning only. `Sender` and `Receiver`, `SendError` and `RecvError` come with the module that says whose they
/// are: `queue::Sender`, `pipe::Sender`.
pub mod prelude {
    pub use crate::{
        Connection, DeadLetter, Delivery, Exit, GetError, JoinableQueue, MapError, OpenError, Pool, Process, PutError, Queue,
        Readable, Selector, SimpleQueue, SpawnError, Standby, Task, TaskError, Workers, Writable, active_children,
        current_process, init, pipe, pipe_oneway, queue, remove_queue, wait,
    };
}
