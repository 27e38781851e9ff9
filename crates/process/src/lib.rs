#![doc = include_str!("../README.md")]

mod before_main;
mod builder;
mod current;
mod daemon;
mod error;
mod exit;
mod family;
mod handle;
mod hello;
mod image;
mod init;
mod orders;
mod record;
mod rights;
mod say;
mod signals;
mod start;
mod surroundings;
mod target;

pub use builder::ProcessBuilder;
pub use current::{Current, current_process};
pub use error::{JoinError, SignalError, SpawnError, SpawnErrorKind};
pub use exit::Exit;
pub use handle::{Process, active_children};
pub use init::{Main, init};
pub use multiproc_travel::pass::{Descriptor, EncodeError};
pub use target::{Captureless, Ending, Outcome, Target};

/// Every handle and error can go to another thread, and be used by several.
const _: () = {
    const fn is_shared<T: Send + Sync + std::fmt::Debug>() {}
    is_shared::<(Process, ProcessBuilder, Current, Exit, Main)>();
    is_shared::<(SpawnErrorKind, JoinError, SignalError)>();
    is_shared::<SpawnError<std::cell::Cell<u8>>>();
};
