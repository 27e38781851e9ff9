//! Starting a process.
//!
//! The executable file is run again (`/proc/self/exe`, so the very same file even if it was replaced on disk). One descriptor
//! is inherited, as standard input: the socket through which the new process gets everything else. No code of ours runs
//! between fork and exec.

use crate::child::{CHILD_VARIABLE, Hello, Reply};
use crate::current::{current_process, next_child};
use crate::error::SpawnError;
use crate::family::active_children;
use crate::handle::{Child, Process};
use crate::image::{Outcome, Target};
use crate::main_guard;
use multiproc_prim::Deadline;
use multiproc_shm::{Link, pass};
use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long a new process may take to come to `init()`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds a [`Process`] with a name of its own, or a daemon.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder starts nothing before spawn()"]
pub struct ProcessBuilder {
    name: Option<String>,
    daemon: bool,
}

impl ProcessBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
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

    /// As [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn spawn<A, R>(self, target: fn(A) -> R, args: A) -> Result<Process, SpawnError>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Outcome + 'static,
    {
        // Children that have ended are waited for here, as Python does, so that no zombies gather.
        let _ = active_children();
        let (numbers, usual) = next_child();
        let name = self.name.unwrap_or(usual);
        if main_guard::is_waiting_for_init() {
            return Err(SpawnError::BeforeInit { name });
        }
        if current_process().is_daemon() {
            return Err(SpawnError::InDaemon { name });
        }
        let target = match Target::new(target) {
            Ok(Some(target)) => target,
            Ok(None) => return Err(SpawnError::NotInImage { name }),
            Err(source) => return Err(SpawnError::System { name, what: "look at this program's file", source }),
        };
        let mut parcel = match pass::encode(&args) {
            Ok(parcel) => parcel,
            Err(source) => return Err(SpawnError::Encode { name, source }),
        };
        let hello = Hello {
            target,
            early: !main_guard::was_called(),
            daemon: self.daemon,
            parent: std::process::id(),
            name: name.clone(),
            numbers,
            args: std::mem::take(&mut parcel.bytes),
        };
        let process = start(name, &hello, &parcel.descriptors)?;
        // The new process has its own copies. What it got of handles that move is gone here.
        parcel.sent();
        Ok(process)
    }
}

fn start(name: String, hello: &Hello, descriptors: &[OwnedFd]) -> Result<Process, SpawnError> {
    let failed = |what: &'static str| {
        let name = name.clone();
        move |source: io::Error| SpawnError::System { name, what, source }
    };
    let (ours, theirs) = Link::pair().map_err(failed("make a socket"))?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "multiproc".into())).args(arguments);
    command.env(CHILD_VARIABLE, std::process::id().to_string()).stdin(Stdio::from(OwnedFd::from(theirs)));
    let started = command.spawn().map_err(failed("run this program's file again"))?;
    // The command holds the child's end: while it does, the end of the child would not be noticed.
    drop(command);
    let pid = started.id();
    let child = Child::adopt(pid, name.clone(), hello.daemon).map_err(|error| {
        let mut started = started;
        let _ = started.kill();
        let _ = started.wait();
        failed("watch the new process")(error)
    })?;
    match talk(&ours, hello, descriptors) {
        Ok(Reply::Ready) => Ok(Process(child)),
        Ok(Reply::Failed(why)) => {
            let _ = child.wait(Deadline::NEVER);
            Err(SpawnError::Decode { name, why })
        }
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            end(&child);
            Err(SpawnError::NotReached { name, seconds: PATIENCE.as_secs() })
        }
        Err(error) if is_hang_up(&error) => {
            // It has closed its end: it is ending, unless it is very strange.
            let exit = child.wait(Deadline::after(Duration::from_secs(1)));
            let how = exit.ok().flatten().map_or_else(|| "still running, now killed".to_owned(), |exit| exit.to_string());
            end(&child);
            Err(SpawnError::EndedEarly { name, how })
        }
        Err(error) => {
            end(&child);
            Err(failed("send the arguments")(error))
        }
    }
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

fn end(child: &Arc<Child>) {
    let _ = child.signal(Signal::KILL);
    let _ = child.wait(Deadline::NEVER);
}

/// Sends everything, and waits for the word that the function is about to run.
fn talk(link: &Link, hello: &Hello, descriptors: &[OwnedFd]) -> io::Result<Reply> {
    link.send(&hello.to_bytes(), descriptors)?;
    let deadline = Deadline::after(PATIENCE);
    while !link.wait_readable(deadline.within(PATIENCE))? {
        if deadline.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    let (bytes, _) = link.receive(1 << 20, 0, true)?;
    Reply::from_bytes(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
