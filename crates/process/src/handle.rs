//! `Process`: a child process as its parent sees it.

use crate::builder::ProcessBuilder;
use crate::error::{JoinError, SignalError, SpawnError};
use crate::family;
use crate::image::Outcome;
use multiproc_prim::Deadline;
use multiproc_prim::descriptor::is_ready;
use multiproc_prim::stamp;
use multiproc_travel::Link;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_send_signal, waitid};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// It returned or exited: 0 is success, 101 a panic.
    Code(i32),
    /// A signal ended it (Python: the negative exit code).
    Signal(i32),
    /// Nobody knows: other code waited for it, or this process is a forked copy of its parent.
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
    pub(crate) pid: u32,
    watch: Watch,
    /// Known from the moment at which it was waited for. Reading it never waits.
    exit: OnceLock<Exit>,
    /// Held while it is waited for, and while it is named by its number, which the system may use again afterwards. Only the process
    /// that started it takes this lock: in a forked copy nobody might be there to give it back.
    reaping: Mutex<()>,
    /// The process that started it.
    stamp: u64,
}

/// What tells of a child's end.
pub(crate) enum Watch {
    /// Names this very process, whatever the number is used for later.
    Pidfd(OwnedFd),
    /// Where the system refuses pidfds: the child keeps the other end open until it ends.
    Connection(Arc<Link>),
}

impl Watch {
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pidfd(pidfd) => pidfd.as_fd(),
            Self::Connection(link) => link.as_fd(),
        }
    }
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
    ///
    /// A forked copy of its parent learns that it has ended, and no more: [`Exit::Unknown`].
    pub fn exit_code(&self) -> Option<Exit> {
        match self.0.wait(Deadline::NOW) {
            Ok(exit) => exit,
            Err(_) => self.0.has_ended().then_some(Exit::Unknown),
        }
    }

    /// Asks it to end, by `SIGTERM` (Python: `terminate`). Nothing happens if it has ended.
    ///
    /// The first process of a pid namespace (after `unshare(CLONE_NEWPID)`) does not hear it, unless it handles the signal.
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
    ///
    /// It is a pidfd. Where the system refuses those (before Linux 5.3, in some sandboxes), it is a socket, as in Python a pipe: it becomes
    /// readable when the process and all copies that it forked have ended or run another program.
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.watch.descriptor()
    }
}

impl Child {
    /// Takes charge of a child that has just been started, and was not waited for.
    pub(crate) fn adopt(pid: u32, name: String, daemon: bool, watch: Watch) -> Arc<Self> {
        let child = Self { name, daemon, pid, watch, exit: OnceLock::new(), reaping: Mutex::new(()), stamp: stamp() };
        let child = Arc::new(child);
        family::add(&child);
        child
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
            self.doze(deadline).map_err(|error| self.join_error(error))?;
        }
    }

    /// Waits for its end, or less.
    fn doze(&self, deadline: Deadline) -> Result<(), Errno> {
        let (limit, is_certain) = match self.watch {
            Watch::Pidfd(_) => (deadline.remaining(), true),
            // A copy that it forked may keep its end open.
            Watch::Connection(_) => (Some(deadline.within(PERIOD)), false),
        };
        let limit = limit.map(|limit| Timespec::try_from(limit).unwrap_or(FAR));
        let mut entry = [PollFd::from_borrowed_fd(self.watch.descriptor(), PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut entry, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => {
                if !is_certain {
                    // It may close its end and go on.
                    std::thread::sleep(deadline.within(Duration::from_millis(1)));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Its exit status, if it has ended. The system tells it once, so it is kept.
    fn reap(&self) -> Result<Option<Exit>, JoinError> {
        if let Some(exit) = self.exit.get() {
            return Ok(Some(*exit));
        }
        if !self.is_ours() {
            return Err(JoinError::NotOurs { name: self.name.clone() });
        }
        let _reaping = self.reaping();
        if let Some(exit) = self.exit.get() {
            return Ok(Some(*exit));
        }
        let exit = match self.ask(WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => return Ok(None),
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (_, Some(signal)) => Exit::Signal(signal),
                _ => Exit::Unknown,
            },
            Err(Errno::CHILD) => Exit::Unknown,
            Err(error) => return Err(self.join_error(error)),
        };
        let _ = self.exit.set(exit);
        Ok(Some(exit))
    }

    /// Asks the system for its status, by the number where the pidfd is refused.
    fn ask(&self, options: WaitIdOptions) -> Result<Option<WaitIdStatus>, Errno> {
        if let Watch::Pidfd(pidfd) = &self.watch {
            match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
                // Not before Linux 5.4.
                Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {}
                answer => return answer,
            }
        }
        waitid(WaitId::Pid(self.number()?), options)
    }

    /// Whether what tells of its end says so: to any process, and without its exit status. A connection tells also when it runs another
    /// program.
    fn has_ended(&self) -> bool {
        is_ready(self.watch.descriptor(), PollFlags::IN | PollFlags::RDHUP)
    }

    fn reaping(&self) -> MutexGuard<'_, ()> {
        self.reaping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> Result<Pid, Errno> {
        Pid::from_raw(self.pid as i32).ok_or(Errno::SRCH)
    }

    fn join_error(&self, error: Errno) -> JoinError {
        JoinError::System { name: self.name.clone(), source: error.into() }
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        let sent = match &self.watch {
            Watch::Pidfd(pidfd) => match pidfd_send_signal(pidfd, signal) {
                Err(Errno::NOSYS | Errno::PERM) => self.signal_by_number(signal),
                sent => sent,
            },
            Watch::Connection(_) => self.signal_by_number(signal),
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(SignalError { name: self.name.clone(), source: error.into() }),
        }
    }

    /// The number is the child's until it is waited for, which nobody does meanwhile.
    fn signal_by_number(&self, signal: Signal) -> Result<(), Errno> {
        if !self.is_ours() {
            return Err(Errno::CHILD);
        }
        let _reaping = self.reaping();
        if self.exit.get().is_some() {
            return Ok(());
        }
        match self.ask(WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT) {
            // Other code has waited for it.
            Err(Errno::CHILD) => Ok(()),
            _ => kill_process(self.number()?, signal),
        }
    }

    fn is_ours(&self) -> bool {
        self.stamp == stamp()
    }
}

const FAR: Timespec = Timespec { tv_sec: i64::MAX / 4, tv_nsec: 0 };

/// How often to look for the end of a child that nothing may tell of.
const PERIOD: Duration = Duration::from_millis(20);
