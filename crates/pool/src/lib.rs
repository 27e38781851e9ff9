#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod board;
mod builder;
mod collect;
mod error;
#[allow(unsafe_code)]
mod function;
mod gather;
mod group;
mod imap;
mod ledger;
mod map;
mod member;
mod message;
mod policy;
mod pool;
mod task;
mod worker;
mod workers;

pub use builder::PoolBuilder;
pub use error::{JoinPoolError, MapError, StartError, SubmitError, TaskError, WorkersError};
pub use function::Function;
pub use group::WorkerEnd;
pub use imap::Imap;
pub use pool::Pool;
pub use task::Task;
#[cfg(feature = "async")]
pub use task::TaskFuture;
pub use worker::Initialized;
pub use workers::{Workers, WorkersBuilder};
