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
    Connection, DescriptorError, PipeEnd, PipeError, Receiver, RecvError, RecvIntoError, SendError, Sender, Standby,
    StandbyError, pipe, pipe_oneway,
};
pub use multiproc_pool::{
    Function, Imap, Initialized, JoinPoolError, MapError, Pool, PoolBuilder, StartError, SubmitError, Task, TaskError, WorkerEnd,
    Workers, WorkersBuilder, WorkersError,
};
pub use multiproc_process::{
    Captureless, Current, Ending, Exit, JoinError, Main, Outcome, Process, ProcessBuilder, SignalError, SpawnError,
    SpawnErrorKind, Target, active_children, current_process, init,
};
pub use multiproc_queue::{
    AttachError, Borrowed, Builder, ChannelError, CreateError, DeadLetter, Delivery, Flaw, GetError, GetManyError, Iter,
    JoinThreadError, JoinableQueue, LayoutError, Loan, NameError, OpenError, OutOfBounds, ParticipantError, PutError,
    PutManyError, Queue, QueueJoinError, RemoveError, SimpleQueue, SpscError, TaskDoneError, remove_queue,
};
pub use multiproc_travel::bytemuck;
pub use multiproc_travel::pass::{DecodeError, Descriptor, EncodeError, Lends, Plain, PlainVec};

/// What a program with processes, queues and pipes names: `use multiproc::prelude::*`.
///
/// A program that also uses the `Sender` or `Receiver` of `std::sync::mpsc` names those explicitly, which takes precedence.
pub mod prelude {
    pub use crate::{
        Connection, DeadLetter, Delivery, Exit, GetError, JoinableQueue, MapError, OpenError, Pool, Process, PutError, Queue,
        Receiver, RecvError, SendError, Sender, SimpleQueue, SpawnError, Standby, Task, TaskError, Workers, active_children,
        current_process, init, pipe, pipe_oneway, remove_queue,
    };
}
