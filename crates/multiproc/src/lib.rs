//! [`Queue`]: crate::Queue
//! [`JoinableQueue`]: crate::JoinableQueue
//! [`SimpleQueue`]: crate::SimpleQueue
//! [`pipe`]: crate::pipe()
//! [`pipe_oneway`]: crate::pipe_oneway
//! [`Process`]: crate::Process
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
#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

pub use multiproc_pipe::{
    Connection, DescriptorError, PipeEnd, PipeError, Receiver, RecvError, RecvIntoError, SendError, Sender, Standby,
    StandbyError, pipe, pipe_oneway,
};
#[cfg(feature = "async")]
pub use multiproc_pipe::{MessageSink, Messages};
pub use multiproc_process::{
    Captureless, Current, Ending, Exit, JoinError, Main, Outcome, Process, ProcessBuilder, SignalError, SpawnError,
    SpawnErrorKind, Target, active_children, current_process, init,
};
pub use multiproc_queue::{
    AllDone, AttachError, Borrowed, Builder, ChannelError, CreateError, DeadLetter, Delivery, Flaw, GetError, GetManyError, Iter,
    JoinThreadError, JoinableQueue, LayoutError, Loan, NameError, OpenError, OutOfBounds, ParticipantError, PutError,
    PutManyError, Queue, QueueJoinError, RemoveError, Room, SimpleQueue, SpscError, TaskDoneError, remove_queue,
};
#[cfg(feature = "async")]
pub use multiproc_queue::{DeliveryStream, QueueSink, QueueStream, SimpleQueueStream};
pub use multiproc_sync::{Awaited, Direction, Readable, Selector, Source, WaitError, Writable, wait};
pub use multiproc_travel::bytemuck;
pub use multiproc_travel::pass::{DecodeError, Descriptor, EncodeError, Lends, Plain, PlainVec};

/// What a program with processes, queues and pipes names: `use multiproc::prelude::*`.
///
/// A program that also uses the `Sender` or `Receiver` of `std::sync::mpsc` names those explicitly, which takes precedence.
pub mod prelude {
    pub use crate::{
        Connection, DeadLetter, Delivery, Exit, GetError, JoinableQueue, OpenError, Process, PutError, Queue, Readable, Receiver,
        RecvError, Selector, SendError, Sender, SimpleQueue, SpawnError, Standby, Writable, active_children, current_process,
        init, pipe, pipe_oneway, remove_queue, wait,
    };
}
