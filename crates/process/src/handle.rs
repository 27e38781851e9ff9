//! `Process`: a child process as its parent sees it.

use crate::builder::ProcessBuilder;
use crate::error::{JoinError, SignalError, SpawnError};
use crate::family;
use crate::image::Outcome;
use multiproc_prim::Deadline;
use multiproc_shm::stamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// It returned or exited: 0 is success, 101 a panic.
    Code(i32),
    /// A signal ended it (Python: the negative exit code).
    Signal(i32),
    /// Someone else waited for it, and nobody knows.
    Unknown,
}

impl Exit {
    /// Whether it ended with exit code 0.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}

/// A child process (Python: `multiprocessing.Process`, already started).
///
/// A handle is cheap to clone; dropping it neither ends nor waits for the process. When the main process ends normally, it
/// waits for its children first: see [`init`](crate::init).
#[derive(Clone)]
pub struct Process(pub(crate) Arc<Child>);

pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pid: u32,
    /// Names this very process, whatever the number is used for later.
    pidfd: OwnedFd,
    exit: Mutex<Option<Exit>>,
    /// The process that started it.
    stamp: u64,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Child { name, pid, daemon, .. } = &*self.0;
        f.debug_struct("Process")
            .field("name", name)
            .field("pid", pid)
            .field("daemon", daemon)
            .field("exit", &self.exit_code())
            .finish()
    }
}

impl Process {
    /// Runs `target` with `args` in a new process (Python: `Process(target=…, args=…)` and `start`).
    ///
    /// The arguments are serialised; queues, connections and descriptors may be anywhere inside them. It returns when the new
    /// process has decoded them and is about to call the function.
    ///
    /// # Errors
    ///
    /// The arguments can't be encoded or decoded, the function is not in the executable file, or the system refuses.
    pub fn spawn<A, R>(target: fn(A) -> R, args: A) -> Result<Self, SpawnError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Outcome + 'static,
    {
        Self::builder().spawn(target, args)
    }

    /// For a name of its own, or a daemon.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }

    /// Its name (Python: `name`).
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its process id (Python: `pid`).
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// Whether it ends with this process (Python: `daemon`).
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// Waits until it has ended; returns how (Python: `join`, and `exitcode`).
    ///
    /// # Errors
    ///
    /// It is not a child of this process.
    pub fn join(&self) -> Result<Exit, JoinError> {
        // Without a deadline it ends in one way only.
        self.0.wait(Deadline::NEVER).map(|exit| exit.unwrap_or(Exit::Unknown))
    }

    /// Waits until it has ended, for at most `timeout`; `None` if it still runs then (Python: `join(timeout)`).
    ///
    /// # Errors
    ///
    /// It is not a child of this process.
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<Exit>, JoinError> {
        self.0.wait(Deadline::after(timeout))
    }

    /// Whether it still runs (Python: `is_alive`).
    pub fn is_alive(&self) -> bool {
        self.exit_code().is_none()
    }

    /// How it ended, `None` while it runs (Python: `exitcode`, negative for signals).
    pub fn exit_code(&self) -> Option<Exit> {
        self.0.wait(Deadline::NOW).unwrap_or(None)
    }

    /// Asks it to end, by `SIGTERM` (Python: `terminate`). Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn terminate(&self) -> Result<(), SignalError> {
        self.0.signal(Signal::TERM)
    }

    /// Ends it at once, by `SIGKILL` (Python: `kill`). Nothing happens if it has ended.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn kill(&self) -> Result<(), SignalError> {
        self.0.signal(Signal::KILL)
    }

    /// A descriptor that becomes readable when it ends, for `epoll`, `poll` and `select` (Python: `sentinel`).
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }
}

impl Child {
    /// Takes charge of a child that has just been started, and was not waited for.
    pub(crate) fn adopt(pid: u32, name: String, daemon: bool) -> std::io::Result<Arc<Self>> {
        let number = Pid::from_raw(pid as i32).ok_or(Errno::SRCH)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty())?;
        let child = Arc::new(Self { name, daemon, pid, pidfd, exit: Mutex::new(None), stamp: stamp() });
        family::add(&child);
        Ok(child)
    }

    pub(crate) fn wait(&self, deadline: Deadline) -> Result<Option<Exit>, JoinError> {
        loop {
            if let Some(exit) = self.reap()? {
                family::remove(self);
                return Ok(Some(exit));
            }
            if deadline.is_over() {
                return Ok(None);
            }
            let limit = deadline.remaining().map(|left| Timespec::try_from(left).unwrap_or(FAR));
            let mut entry = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match poll(&mut entry, limit.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.join_error(error)),
            }
        }
    }

    /// Its exit status, if it has ended. The system tells it once, so it is kept.
    fn reap(&self) -> Result<Option<Exit>, JoinError> {
        let mut known = self.exit.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = match waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(None) | Err(Errno::INTR) => None,
                Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code),
                    (_, Some(signal)) => Exit::Signal(signal),
                    _ => Exit::Unknown,
                }),
                Err(Errno::CHILD) if self.stamp != stamp() => {
                    return Err(JoinError::NotOurs { name: self.name.clone() });
                }
                Err(Errno::CHILD) => Some(Exit::Unknown),
                Err(error) => return Err(self.join_error(error)),
            };
        }
        Ok(*known)
    }

    fn join_error(&self, error: Errno) -> JoinError {
        JoinError::System { name: self.name.clone(), source: error.into() }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(SignalError { name: self.name.clone(), source: error.into() }),
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.stamp == stamp()
    }
}

const FAR: Timespec = Timespec { tv_sec: i64::MAX / 4, tv_nsec: 0 };
