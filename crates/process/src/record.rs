//! What a parent knows of one child: its name, how to signal it, how it ended.

use crate::error::{JoinError, SignalError};
use crate::exit::Exit;
use crate::family;
use multiproc_prim::descriptor::{is_ready, timespec};
use multiproc_prim::{Deadline, Signal as Told, background, stamp};
use multiproc_travel::Link;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_send_signal, waitid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How often to look for the end of a child where no descriptor is certain to tell of it.
const PERIOD: Duration = Duration::from_millis(20);

/// A parent's record of one child.
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    pub(crate) pid: u32,
    watch: Watch,
    /// Where the system refuses pidfds, and a user asks for a descriptor: readable once the child has ended.
    ended: OnceLock<Told>,
    /// Set when the child was waited for. Reading it never waits.
    exit: OnceLock<Exit>,
    /// Held while the child is waited for, and while it is named by its number, which the system may use again afterwards. Only the parent
    /// takes this lock: in a forked copy, the thread that held it does not exist.
    reaping: Mutex<()>,
    /// The parent.
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

impl Record {
    /// A child that this process has just started, and has not waited for.
    pub(crate) fn new(pid: u32, name: String, daemon: bool, watch: Watch) -> Self {
        Self { name, daemon, pid, watch, ended: OnceLock::new(), exit: OnceLock::new(), reaping: Mutex::new(()), stamp: stamp() }
    }

    /// Waits for the child's end; `None` if the deadline passed first.
    pub(crate) fn wait(&self, deadline: Deadline) -> Result<Option<Exit>, JoinError> {
        loop {
            if let Some(exit) = self.reap()? {
                return Ok(Some(exit));
            }
            if deadline.is_over() {
                return Ok(None);
            }
            self.doze(deadline).map_err(|error| self.join_error(error))?;
        }
    }

    /// Waits for the child's end, or returns early.
    fn doze(&self, deadline: Deadline) -> Result<(), Errno> {
        let (limit, is_certain) = match self.watch {
            Watch::Pidfd(_) => (deadline.remaining(), true),
            // A process that the child forked may keep the other end open.
            Watch::Connection(_) => (Some(deadline.within(PERIOD)), false),
        };
        let limit = limit.map(timespec);
        let mut entry = [PollFd::from_borrowed_fd(self.descriptor(), PollFlags::IN | PollFlags::RDHUP)];
        match poll(&mut entry, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => {
                if !is_certain {
                    // The child may have closed its end and gone on.
                    std::thread::sleep(deadline.within(Duration::from_millis(1)));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The child's exit status, if it has ended. The system tells it once, so it is kept.
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
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // A look first: where this process traces the child, each stop answers too, and belongs to the tracer.
        let exit = match self.ask(ended | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) if !is_an_end(&status) => return Ok(None),
            Ok(Some(_)) => self.ask(ended),
            other => other,
        };
        let exit = match exit {
            Ok(None) | Err(Errno::INTR) => return Ok(None),
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (_, Some(signal)) => Exit::Signal(signal),
                _ => Exit::Unknown,
            },
            // Other code has waited for it.
            Err(Errno::CHILD) => Exit::Unknown,
            Err(error) => return Err(self.join_error(error)),
        };
        let _ = self.exit.set(exit);
        Ok(Some(exit))
    }

    /// Asks the system for the child's status, by its number where the pidfd is refused.
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

    /// Becomes readable when the child ends.
    ///
    /// A connection alone would tell too early where the child closes it, and too late where a copy of the child keeps it. So a thread
    /// waits for the child instead.
    pub(crate) fn sentinel(self: &Arc<Self>) -> BorrowedFd<'_> {
        if matches!(self.watch, Watch::Pidfd(_)) {
            return self.descriptor();
        }
        if self.ended.get().is_none() {
            if let Ok(told) = Told::new() {
                let theirs = Arc::clone(self);
                let waits = move || {
                    let _ = family::wait(&theirs, Deadline::NEVER);
                    theirs.ended.get().inspect(|ended| ended.set());
                };
                if self.ended.set(told).is_ok() && background("multiproc-join", waits).is_err() {
                    // Without a thread it is readable at once, and the user asks again and again.
                    self.ended.get().inspect(|ended| ended.set());
                }
            }
        }
        self.ended.get().map_or(self.descriptor(), |ended| ended.as_fd())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.watch.descriptor()
    }

    /// Whether the descriptor says that the child has ended. Any process may ask. A connection says so too when the child runs another
    /// program.
    pub(crate) fn has_ended(&self) -> bool {
        is_ready(self.descriptor(), PollFlags::IN | PollFlags::RDHUP)
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

    /// Sends a signal; nothing happens if the child has ended.
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

    /// The number is the child's until this process waits for it, which the lock rules out meanwhile.
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

fn is_an_end(status: &WaitIdStatus) -> bool {
    status.exited() || status.killed() || status.dumped()
}
