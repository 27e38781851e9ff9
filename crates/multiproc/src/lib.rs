#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[doc = include_str!("../GUIDE.md")]
pub mod guide {}

pub use multiproc_pipe::{
    Connection, PipeEnd, PipeError, Receiver, RecvError, RecvIntoError, SendError, Sender, Standby, StandbyError, pipe,
    pipe_oneway,
};
pub use multiproc_process::{
    Current, Exit, JoinError, Main, Outcome, Process, ProcessBuilder, SignalError, SpawnError, active_children, current_process,
    init,
};
pub use multiproc_queue::{
    Borrowed, Builder, DeadLetter, Delivery, GetError, GetManyError, Iter, JoinThreadError, JoinableQueue, Loan, OpenError,
    PutError, PutManyError, Queue, QueueJoinError, RemoveError, SimpleQueue, TaskDoneError, remove as remove_queue,
};
pub use multiproc_travel::pass::{DecodeError, Descriptor, EncodeError};

/// Everything that a program with processes, queues and pipes names.
pub mod prelude {
    pub use crate::{
        Connection, Exit, GetError, JoinableQueue, Process, PutError, Queue, Receiver, RecvError, Sender, SimpleQueue, Standby,
        active_children, current_process, pipe, pipe_oneway,
    };
}
