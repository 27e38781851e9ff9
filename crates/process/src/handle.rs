//! `Process`: the handle of a child process.

use crate::error::{JoinError, SignalError};
use crate::exit::Exit;
use crate::family;
use crate::record::Record;
use multiproc_prim::{Deadline, Direction};
#[cfg(feature = "async")]
use multiproc_sync::poll_descriptor;
use multiproc_sync::{Awaited, Source};
use rustix::process::Signal;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// A child process (Python: `multiprocessing.Process`, already started).
///
/// A handle is cheap to clone. Dropping it neither ends the process nor waits for it. When the main process ends normally, it
/// waits for its children first: see [`init`](crate::init).
#[derive(Clone)]
pub struct Process(pub(crate) Arc<Record>);

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { name, pid, daemon, .. } = &*self.0;
        f.debug_struct("Process")
            .field("name", name)
            .field("pid", pid)
            .field("daemon", daemon)
            .field("exit", &self.exit_code())
            .finish()
    }
}

impl Process {
    /// Its name (Python: `name`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its process id (Python: `pid`).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether it ends with this process (Python: `daemon`).
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Waits until the process has ended; returns how (Python: `join`, and `exitcode`).
    ///
    /// # Errors
    ///
    /// It is not a child of this process, or the system refuses.
    pub fn join(&self) -> Result<Exit, JoinError> {
        // Without a deadline `wait` returns only when the child has ended.
        family::wait(&self.0, Deadline::NEVER).map(|exit| exit.unwrap_or(Exit::Unknown))
    }

    /// Waits until the process has ended, for at most `timeout`; `None` if it still runs then (Python: `join(timeout)`).
    ///
    /// # Errors
    ///
    /// It is not a child of this process, or the system refuses.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<Exit>, JoinError> {
        family::wait(&self.0, Deadline::after(timeout))
    }

    /// Waits until the process has ended, in a future; returns how (Python: `join`, in `loop.run_in_executor`).
    ///
    /// It takes one descriptor while it waits.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped at any time. The next wait tells how the process ended.
    ///
    /// # Errors
    ///
    /// It is not a child of this process, or the system refuses.
    #[cfg(feature = "async")]
    pub async fn wait_async(&self) -> Result<Exit, JoinError> {
        let mut polled = None;
        std::future::poll_fn(|context| {
            let ended = || family::wait(&self.0, Deadline::NOW).transpose();
            let waiting = poll_descriptor(&mut polled, self.sentinel(), Direction::Read, context.waker(), ended);
            waiting.map(|waited| waited.unwrap_or_else(|source| Err(JoinError::System { name: self.0.name.clone(), source })))
        })
        .await
    }

    /// Whether the process still runs (Python: `is_alive`).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exit_code().is_none()
    }

    /// How the process ended; `None` while it runs (Python: `exitcode`, negative for signals).
    ///
    /// A forked copy of the parent learns that the process has ended, but not how: [`Exit::Unknown`].
    #[must_use]
    pub fn exit_code(&self) -> Option<Exit> {
        match family::wait(&self.0, Deadline::NOW) {
            Ok(exit) => exit,
            Err(_) => self.0.has_ended().then_some(Exit::Unknown),
        }
    }

    /// Asks the process to end, by `SIGTERM` (Python: `terminate`). Nothing happens if it has ended.
    ///
    /// The first process of a pid namespace (after `unshare(CLONE_NEWPID)`) ignores the signal, unless it handles it.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn terminate(&self) -> Result<(), SignalError> {
        self.0.signal(Signal::TERM)
    }

    /// Ends the process at once, by `SIGKILL` (Python: `kill`). Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn kill(&self) -> Result<(), SignalError> {
        self.0.signal(Signal::KILL)
    }

    /// A descriptor that becomes readable when the process ends, for `epoll`, `poll` and `select` (Python: `sentinel`).
    ///
    /// It is a pidfd. Where the system refuses those (before Linux 5.3, in some sandboxes) it belongs to a thread in the background that
    /// waits for the process.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.sentinel()
    }
}

/// The [`sentinel`](Process::sentinel).
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

/// Ready once the process has ended.
impl Source for Process {
    fn awaited(&self) -> Awaited<'_> {
        Awaited::Descriptor(self.sentinel(), Direction::Read)
    }
}

/// The children that still run (Python: `active_children`). Those that have ended are waited for, so that no zombie is left.
pub fn active_children() -> Vec<Process> {
    family::running().into_iter().map(Process).collect()
}
