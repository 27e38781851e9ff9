//! One error per operation.

use crate::exit::Exit;
use multiproc_prim::{error_debug, error_equal, fmt_refusal};
use multiproc_travel::pass::EncodeError;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a process was not started. It gives the arguments back: [`into_args`](Self::into_args).
///
/// Handles among the arguments are as they were before the call: an end of a pipe can be used, or sent again.
///
/// ```
/// # use multiproc_process as multiproc;
/// use multiproc::{Process, SpawnErrorKind};
///
/// fn work(_: Vec<u8>) {}
///
/// let error = Process::builder().name("n".repeat(1 << 20)).spawn(work, vec![7]).unwrap_err();
/// assert!(matches!(error.kind(), SpawnErrorKind::NameTooLong { .. }));
/// assert_eq!(error.into_args(), [7]);
/// ```
pub struct SpawnError<A>(Box<Failure<A>>);

struct Failure<A> {
    name: String,
    kind: SpawnErrorKind,
    /// Nobody locks it. It makes the error `Sync` whatever the arguments are, as `anyhow` and others ask of an error.
    args: Mutex<A>,
}

impl<A> SpawnError<A> {
    pub(crate) fn new(name: String, kind: SpawnErrorKind, args: A) -> Self {
        Self(Box::new(Failure { name, kind, args: Mutex::new(args) }))
    }

    /// The name that the process was to have.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> &SpawnErrorKind {
        &self.0.kind
    }

    /// Gives the arguments back.
    #[must_use]
    pub fn into_args(self) -> A {
        self.0.args.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> fmt::Display for SpawnError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name may be what is wrong: it can be a megabyte long.
        let name: String = self.0.name.chars().take(100).collect();
        write!(f, "can't start {name:?}: ")?;
        fmt::Display::fmt(&self.0.kind, f)
    }
}

/// As [`error_debug`] has it, with the variant of the kind.
impl<A> fmt::Debug for SpawnError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: String = self.0.name.chars().take(100).collect();
        write!(f, "SpawnError: can't start {name:?}: {:?}", self.0.kind)
    }
}

impl<A> Error for SpawnError<A> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.kind.source()
    }
}

/// The reason of a [`SpawnError`].
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SpawnErrorKind {
    /// An argument refuses to be encoded.
    #[error("{0}")]
    Encode(EncodeError),
    /// The new process could not decode the arguments.
    #[error("it could not decode its arguments: {why}")]
    Decode {
        /// Why, in the new process's words.
        why: String,
    },
    /// The function pointer leads to a shared library or to code that was made at run time, or is not a plain `fn(A) -> R`; or the function is
    /// a closure that captures something.
    #[error(
        "its function is not part of this program's executable file: a shared library's can't be run, nor a closure that captures \
         something"
    )]
    NotInImage,
    /// The encoded arguments are longer than a new process takes.
    #[error("its arguments take {len} bytes of at most {max}: pass the rest through a queue or a pipe")]
    TooLarge {
        /// Bytes of the encoded arguments.
        len: usize,
        /// Bytes that they may take.
        max: usize,
    },
    /// The arguments hold more descriptors than a new process takes.
    #[error("its arguments hold {count} descriptors of at most {max}")]
    TooManyDescriptors {
        /// Descriptors in the arguments.
        count: usize,
        /// Descriptors that there may be.
        max: usize,
    },
    /// The name is longer than a new process takes.
    #[error("its name has {len} bytes of at most {max}")]
    NameTooLong {
        /// Bytes of the name.
        len: usize,
        /// Bytes that it may have.
        max: usize,
    },
    /// To run the file of this process again would run another program.
    #[error(
        "/proc/self/exe is not the file of this program (a loader such as ld.so started it, or a packer): start the program's own \
         file"
    )]
    OtherProgram,
    /// The new process would not or could not begin: it has other rights than this one, or its system calls failed.
    #[error("it did not begin: {why}")]
    Refused {
        /// Why, in the new process's words.
        why: String,
    },
    /// The new process ended before it ran the function.
    #[error(
        "it ended before it ran its function ({exit}): unless something else ended it, does main call multiproc::init() first, on \
         every path and in every process?"
    )]
    EndedEarly {
        /// How it ended: by a signal, maybe.
        exit: Exit,
    },
    /// The new process closed the descriptors that it had before it ran the function.
    #[error("it closed its connection to this process before it ran its function, and was killed: call multiproc::init() first")]
    HungUp,
    /// The new process was not ready for its function in time: it was stopped, is very slow, or did not come to `init()`.
    #[error(
        "it was not ready to run its function after {waited:?} and was killed: unless it was stopped, or needs a longer \
         start_timeout, does main call multiproc::init() first?"
    )]
    NotReached {
        /// How long this process waited for it.
        waited: Duration,
    },
    /// This is itself a new process that has not reached `init()` yet.
    #[error("main has not called multiproc::init() yet: call it first, or the new process would start itself again")]
    BeforeInit,
    /// A daemon has no children, as in Python: nobody would end them.
    #[error("a daemon can't have child processes")]
    InDaemon,
    /// The system refused.
    #[error(fmt = not_started)]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why nobody can wait for a process.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The process is not a child of this one: this process is a forked copy of the parent.
    #[error("{name:?} is not a child of this process (it was started before a fork)")]
    NotOurs {
        /// The name of the process.
        name: String,
    },
    /// The system refused.
    #[error(fmt = not_joined)]
    System {
        /// The name of the process.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a signal was not sent.
#[non_exhaustive]
pub struct SignalError {
    /// The name of the process.
    pub name: String,
    /// What the system said.
    pub source: io::Error,
}

fn not_started(what: &str, source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't {what}"), source)
}

fn not_joined(name: &str, source: &io::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt_refusal(f, format_args!("can't wait for {name:?}"), source)
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_refusal(f, format_args!("can't signal {:?}", self.name), &self.source)
    }
}

impl Error for SignalError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

error_debug! {
    SpawnErrorKind {
        Encode, Decode, NotInImage, TooLarge, TooManyDescriptors, NameTooLong, OtherProgram, Refused, EndedEarly, HungUp, NotReached,
        BeforeInit, InDaemon, System,
    }
    JoinError { NotOurs, System }
    SignalError
}

error_equal! { SpawnErrorKind JoinError SignalError }
