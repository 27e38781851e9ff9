//! One error per operation.

use crate::handle::Exit;
use multiproc_travel::pass::EncodeError;
use std::fmt;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a process was not started.
#[derive(Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// An argument refuses to be encoded.
    #[error("can't start {name:?}: {source}")]
    Encode {
        /// The process.
        name: String,
        /// Why.
        source: EncodeError,
    },
    /// The new process could not decode the arguments.
    #[error("{name:?} could not decode its arguments: {why}")]
    Decode {
        /// The process.
        name: String,
        /// Why, in the new process's words.
        why: String,
    },
    /// The function is in a shared library or made at run time.
    #[error("can't start {name:?}: its function is not part of this program's executable file (a shared library's can't be run)")]
    NotInImage {
        /// The process.
        name: String,
    },
    /// The encoded arguments are more than a new process takes.
    #[error("can't start {name:?}: its arguments take {len} bytes of at most {max}: pass the rest through a queue or a pipe")]
    TooLarge {
        /// The process.
        name: String,
        /// Bytes of the encoded arguments.
        len: usize,
        /// Bytes that it may take.
        max: usize,
    },
    /// The arguments hold more descriptors than a new process takes.
    #[error("can't start {name:?}: its arguments hold {count} descriptors of at most {max}")]
    TooManyDescriptors {
        /// The process.
        name: String,
        /// Descriptors in the arguments.
        count: usize,
        /// Descriptors that there may be.
        max: usize,
    },
    /// The name is longer than a new process takes.
    #[error("a process can't be started with a name of {len} bytes: {max} at most")]
    NameTooLong {
        /// Bytes of the name.
        len: usize,
        /// Bytes that it may take.
        max: usize,
    },
    /// To run the file of this process again would run another program.
    #[error(
        "can't start {name:?}: /proc/self/exe is not the file of this program (a loader such as ld.so started it, or a packer): \
         start the program's own file"
    )]
    OtherProgram {
        /// The process.
        name: String,
    },
    /// The new process would not or could not begin: it has other rights than this one, or its system calls failed.
    #[error("{name:?} did not begin: {why}")]
    Refused {
        /// The process.
        name: String,
        /// Why, in the new process's words.
        why: String,
    },
    /// The new process ended before it ran the function.
    #[error(
        "{name:?} ended before it ran its function ({exit}): unless something else ended it, does main call multiproc::init() \
         first, on every path and in every process?"
    )]
    EndedEarly {
        /// The process.
        name: String,
        /// How it ended: by a signal, maybe.
        exit: Exit,
    },
    /// The new process closed the descriptors that it had before it ran the function.
    #[error(
        "{name:?} closed its connection to this process before it ran its function, and was killed: call multiproc::init() first"
    )]
    HungUp {
        /// The process.
        name: String,
    },
    /// The new process was not ready for its function in time: it was stopped, is very slow, or did not come to `init()`.
    #[error(
        "{name:?} was not ready to run its function after {waited:?} and was killed: unless it was stopped, or needs a longer \
         start_timeout, does main call multiproc::init() first?"
    )]
    NotReached {
        /// The process.
        name: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// This is itself a new process that has not reached `init()` yet.
    #[error("can't start {name:?} before multiproc::init(): call it first in main, or the new process would start itself again")]
    BeforeInit {
        /// The process.
        name: String,
    },
    /// Daemons have no children, as in Python: nobody would end them.
    #[error("can't start {name:?}: a daemon can't have child processes")]
    InDaemon {
        /// The process.
        name: String,
    },
    /// The system refused.
    #[error("can't start {name:?}: can't {what}: {source}")]
    System {
        /// The process.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The message: it is what a `main` that returns the error prints.
impl fmt::Debug for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpawnError: {self}")
    }
}

/// Why a process could not be waited for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The process is not a child of this one: it was forked meanwhile.
    #[error("{name:?} is not a child of this process (it was started before a fork)")]
    NotOurs {
        /// The process.
        name: String,
    },
    /// The system refused.
    #[error("can't wait for {name:?}: {source}")]
    System {
        /// The process.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a signal was not sent.
#[derive(Debug, Error)]
#[error("can't signal {name:?}: {source}")]
pub struct SignalError {
    /// The process.
    pub name: String,
    /// What the system said.
    pub source: io::Error,
}
