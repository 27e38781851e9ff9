//! Exit codes, and what is said on standard error: in one place, for all commands.

use crate::text::shown;
use anyhow::Context;
use indicatif::ProgressBar;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// How the command ends. `multiproc help` and the README list the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything that was asked for is done.
    Done,
    /// There was nothing to get, to list or to change.
    Nothing,
    /// Jobs failed, with the code that tells of them.
    Failed(u8),
    /// The arguments make no sense, or an error ended the command.
    Usage,
    /// A wait ended at its `--timeout`.
    TimedOut,
    /// The reader of standard output left.
    Closed,
    /// A signal ended the command.
    Signal(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Nothing => 1,
            Self::Failed(code) => code,
            Self::Usage => 2,
            Self::TimedOut => 124,
            // As the shell counts a SIGPIPE.
            Self::Closed => 128 + 13,
            Self::Signal(number) => 128 + number,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// How a command goes on after it has written to standard output: [`Exit::Done`], or [`Exit::Closed`] where its reader left.
pub(crate) fn written(result: io::Result<()>) -> anyhow::Result<Exit> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Closed),
        other => other.map(|()| Exit::Done).context("can't write to standard output"),
    }
}

/// Why a command stops in the middle, without an error of its own. It goes up to `main` as an error does, so that everything in
/// hand is given back on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A signal asks for the end.
    Signal(u8),
    /// The reader of standard output left.
    Closed,
}

impl From<Stop> for Exit {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Signal(number) => Self::Signal(number),
            Stop::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(number) => write!(f, "interrupted by signal {number}"),
            Self::Closed => f.write_str("standard output was closed"),
        }
    }
}

impl std::error::Error for Stop {}

/// The line on standard error that shows how far the command is. What is said goes above it.
static LINE: OnceLock<ProgressBar> = OnceLock::new();

/// Makes this the command's line.
pub(crate) fn has_line(line: &ProgressBar) {
    let _ = LINE.set(line.clone());
}

/// Says something on standard error, in one line and without anything that a terminal obeys. Where that is closed or full, nobody can be told, and the command goes on.
pub(crate) fn tell(text: fmt::Arguments<'_>) {
    let text = shown(&text.to_string());
    let write = || std::io::stderr().lock().write_all(format!("multiproc: {text}\n").as_bytes());
    let _ = LINE.get().map_or_else(write, |line| line.suspend(write));
}

/// [`tell`] with the arguments of `format!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::exit::tell(format_args!($($text)*)) };
}
pub(crate) use say;
