//! Starting a process.
//!
//! The executable file is run again (`/proc/self/exe`, so the very same file even if it was replaced on disk). One descriptor
//! is inherited, as standard input: the socket through which the new process gets everything else. No code of ours runs
//! between fork and exec.

use crate::current::{current_process, next_child};
use crate::error::SpawnError;
use crate::family::active_children;
use crate::handle::{Child, Exit, Process, Watch};
use crate::image::{EXECUTABLE, Outcome, Target};
use crate::main_guard;
use crate::orders::{Hello, MAX_ARGS, MAX_DESCRIPTORS, MAX_NAME, MAX_REPLY, Reply, WELCOME};
use crate::rights::{CHILD_VARIABLE, mark};
use crate::signals::Blocked;
use multiproc_prim::Deadline;
use multiproc_prim::descriptor::apart;
use multiproc_travel::Link;
use multiproc_travel::pass::{self, Parcel};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long each step of a new process may take on its way to `init()`, unless the builder says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest time-out that the system takes for a socket, or nearly.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Builds a [`Process`] with a name of its own, a daemon, or a worker that ignores Ctrl-C.
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing before spawn()"]
pub struct ProcessBuilder {
    name: Option<String>,
    daemon: bool,
    ignore_interrupts: bool,
    patience: Duration,
}

impl ProcessBuilder {
    pub(crate) fn new() -> Self {
        Self { name: None, daemon: false, ignore_interrupts: false, patience: PATIENCE }
    }

    /// A name other than `Process-N` (Python: `name=`).
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether it ends with this process, however that ends (Python: `daemon=`).
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Whether it ignores `SIGINT` from its first moment, before any of its code runs (Python: `signal.signal(SIGINT, SIG_IGN)` in a pool's
    /// initializer). Ctrl-C in a terminal goes to every process of a program, and its main process should decide what happens.
    ///
    /// The programs and processes that it starts inherit that. Without it, a signal that comes while the process starts ends it, and
    /// `spawn` says [`EndedEarly`](SpawnError::EndedEarly) with that signal.
    pub fn ignore_interrupts(mut self, ignore: bool) -> Self {
        self.ignore_interrupts = ignore;
        self
    }

    /// How long the process may take for each step of its start: to come up, to take its arguments on, to reach
    /// [`init`](crate::init). It is killed then. 60 seconds if nothing is said (Python: no limit).
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.patience = limit.clamp(Duration::from_millis(1), YEAR);
        self
    }

    /// Starts the process with the builder's settings; otherwise as [`Process::spawn`] (Python: `start`).
    ///
    /// # Errors
    ///
    /// The arguments can't be encoded or decoded, or are too long; the function is not in the executable file; the new process has other
    /// rights than this one; it ends or hangs before it runs the function; the system refuses.
    pub fn spawn<A, R>(self, target: fn(A) -> R, args: A) -> Result<Process, SpawnError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Outcome + 'static,
    {
        // Children that have ended are waited for here, as Python does, so that no zombies gather.
        let _ = active_children();
        let (numbers, usual) = next_child();
        let name = self.name.clone().unwrap_or(usual);
        if name.len() > MAX_NAME {
            return Err(SpawnError::NameTooLong { len: name.len(), max: MAX_NAME });
        }
        if main_guard::is_waiting_for_init() {
            return Err(SpawnError::BeforeInit { name });
        }
        if current_process().is_daemon() {
            return Err(SpawnError::InDaemon { name });
        }
        let target = match Target::new(target) {
            Ok(Some(target)) => target,
            Ok(None) => return Err(SpawnError::NotInImage { name }),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(SpawnError::OtherProgram { name }),
            Err(source) => {
                return Err(SpawnError::System { name, what: "look at this program's file (/proc/self/exe)", source });
            }
        };
        let parcel = match pass::encode(&args) {
            Ok(parcel) => parcel,
            Err(source) => return Err(SpawnError::Encode { name, source }),
        };
        let (len, count) = (parcel.bytes.len(), parcel.descriptors.len());
        if len > MAX_ARGS {
            return Err(SpawnError::TooLarge { name, len, max: MAX_ARGS });
        }
        if count > MAX_DESCRIPTORS {
            return Err(SpawnError::TooManyDescriptors { name, count, max: MAX_DESCRIPTORS });
        }
        let hello = Hello {
            target,
            early: !main_guard::was_called(),
            daemon: self.daemon,
            ignore_interrupts: self.ignore_interrupts,
            stay_connected: false,
            parent: std::process::id(),
            name,
            numbers,
        };
        let process = start(hello, &parcel, self.patience)?;
        // The new process has its own copies. What it got of handles that move is gone here.
        parcel.sent();
        Ok(process)
    }
}

fn start(mut hello: Hello, parcel: &Parcel, patience: Duration) -> Result<Process, SpawnError> {
    let name = hello.name.clone();
    let failed = |what: &'static str| {
        let name = name.clone();
        move |source: io::Error| SpawnError::System { name, what, source }
    };
    let (ours, theirs) = Link::pair().map_err(failed("make a socket"))?;
    for side in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&ours, side, Some(patience)).map_err(|error| failed("set up a socket")(error.into()))?;
    }
    let ours = Arc::new(ours);
    let mark = mark(theirs.as_fd()).map_err(failed("look at a socket"))?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(EXECUTABLE);
    command.arg0(arguments.next().unwrap_or_else(|| "multiproc".into())).args(arguments);
    command.env(CHILD_VARIABLE, mark).stdin(Stdio::from(OwnedFd::from(theirs)));
    let started = {
        // The child inherits the mask, and ignores the signal before it takes any.
        let _blocked = hello.ignore_interrupts.then(|| Blocked::also(libc::SIGINT));
        command.spawn().map_err(failed("run this program's file again"))?
    };
    // The command holds the child's end: while it does, the end of the child would not be noticed.
    drop(command);
    let pid = started.id();
    let mut pidfd = pidfd(pid);
    // A daemon watches us by a pidfd of ours, since our number may mean nothing to it.
    let ourselves = if hello.daemon { pidfd_of_this_process() } else { None };
    if hello.daemon && ourselves.is_none() {
        pidfd = None;
    }
    hello.stay_connected = pidfd.is_none();
    let watch = pidfd.map_or_else(|| Watch::Connection(Arc::clone(&ours)), Watch::Pidfd);
    let child = Child::adopt(pid, name.clone(), hello.daemon, watch);
    match talk(&ours, &hello, ourselves, parcel, patience) {
        Ok(Reply::Ready) => Ok(Process(child)),
        Ok(Reply::Undecodable(why)) => {
            end(&child, patience);
            Err(SpawnError::Decode { name, why })
        }
        Ok(Reply::Refused(why)) => {
            end(&child, patience);
            Err(SpawnError::Refused { name, why })
        }
        Ok(Reply::Here) => {
            end(&child, Duration::ZERO);
            Err(failed("understand the new process")(io::ErrorKind::InvalidData.into()))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            end(&child, Duration::ZERO);
            Err(SpawnError::NotReached { name, waited: patience })
        }
        // It has closed its end: it is ending, unless it is very strange.
        Err(error) if is_hang_up(&error) => match end(&child, Duration::from_secs(1)) {
            Some(exit) => Err(SpawnError::EndedEarly { name, exit }),
            None => Err(SpawnError::HungUp { name }),
        },
        Err(error) => {
            end(&child, Duration::ZERO);
            Err(failed("send the arguments")(error))
        }
    }
}

fn pidfd(pid: u32) -> Option<OwnedFd> {
    let number = Pid::from_raw(pid as i32)?;
    apart(|| pidfd_open(number, PidfdFlags::empty())).ok()
}

fn pidfd_of_this_process() -> Option<OwnedFd> {
    pidfd(std::process::id())
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Sees to the end of a process that did not begin; `None` if it had to be killed.
fn end(child: &Child, patience: Duration) -> Option<Exit> {
    let exit = child.wait(Deadline::after(patience)).ok().flatten();
    if exit.is_none() {
        let _ = child.signal(Signal::KILL);
        let _ = child.wait(Deadline::NEVER);
    }
    exit
}

/// Sends everything, and waits for the word that the function is about to run.
fn talk(link: &Link, hello: &Hello, ourselves: Option<OwnedFd>, parcel: &Parcel, patience: Duration) -> io::Result<Reply> {
    let here = hear(link, patience)?;
    if !matches!(here, Reply::Here) {
        return Ok(here);
    }
    let ourselves: Vec<OwnedFd> = ourselves.into_iter().collect();
    let sent = link
        .send(WELCOME, &[])
        .and_then(|()| link.send(&hello.to_bytes(), &ourselves))
        .and_then(|()| link.send(&parcel.bytes, &parcel.descriptors));
    drop(ourselves);
    match sent {
        Ok(()) => hear(link, patience),
        // It may have said why before it hung up.
        Err(error) if is_hang_up(&error) => hear(link, Duration::ZERO).or(Err(error)),
        Err(error) => Err(error),
    }
}

/// Waits for a reply.
fn hear(link: &Link, patience: Duration) -> io::Result<Reply> {
    let deadline = Deadline::after(patience);
    while !link.wait_readable(deadline.within(patience))? {
        if deadline.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let received = match link.receive(MAX_REPLY, 0, true) {
        // The system tells first that it hung up with something unread, then what it had said.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => link.receive(MAX_REPLY, 0, false).map_err(|_| error),
        received => received,
    };
    Reply::from_bytes(&received?.0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
