#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod attachment;
mod builder;
mod delivery;
mod done;
mod ending;
mod error;
mod joinable;
mod layout;
mod loan;
mod queue;
mod registry;
mod simple;
mod watch;

pub use builder::{Builder, Typed};
pub use delivery::{DeadLetter, Delivery};
pub use error::{GetError, GetManyError, JoinThreadError, OpenError, PutError, PutManyError, QueueJoinError, TaskDoneError};
pub use joinable::JoinableQueue;
pub use loan::{Borrowed, Loan};
pub use queue::Queue;
pub use simple::SimpleQueue;
