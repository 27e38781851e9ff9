//! Starting a process.
//!
//! The executable file is run again (`/proc/self/exe`: the very same file even if it was replaced on disk). The new process inherits one
//! descriptor of ours, as standard input: the socket through which it gets everything else. No code of ours runs between fork and exec.

use crate::error::SpawnErrorKind;
use crate::exit::Exit;
use crate::family;
use crate::hello::{Hello, MAX_REPLY, Reply, WELCOME};
use crate::image::EXECUTABLE;
use crate::record::{Record, Watch};
use crate::rights::{CHILD_VARIABLE, mark};
use crate::signals::Blocked;
use crate::surroundings::Surroundings;
use multiproc_prim::Deadline;
use multiproc_prim::descriptor::apart;
use multiproc_travel::Link;
use multiproc_travel::pass::Parcel;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Starts a process, and returns when it is about to run its function. `hello` is complete but for what this process finds out here.
pub(crate) fn start(
    mut hello: Hello,
    parcel: &Parcel,
    surroundings: &Surroundings,
    patience: Duration,
) -> Result<Arc<Record>, SpawnErrorKind> {
    let (ours, theirs) = Link::pair().map_err(failed("make a socket"))?;
    for side in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&ours, side, Some(patience)).map_err(failed("set up a socket"))?;
    }
    let ours = Arc::new(ours);
    let mark = mark(theirs.as_fd()).map_err(failed("look at a socket"))?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new(EXECUTABLE);
    command.arg0(arguments.next().unwrap_or_else(|| "multiproc".into())).args(arguments);
    surroundings.apply_to(&mut command).map_err(failed("copy a descriptor"))?;
    command.env(CHILD_VARIABLE, mark).stdin(Stdio::from(OwnedFd::from(theirs)));
    let started = {
        // The child inherits the mask, and ignores the signal before it takes any.
        let _blocked = hello.ignore_interrupts.then(|| Blocked::also(libc::SIGINT));
        command.spawn().map_err(failed(match surroundings.directory {
            None => "run this program's file again",
            Some(_) => "run this program's file again in the directory that was asked for",
        }))?
    };
    // The command holds the child's end: while it does, nobody would notice that the child hangs up.
    drop(command);
    let pid = started.id();
    let mut child_pidfd = pidfd(pid);
    let mut beside = Vec::new();
    if hello.daemon {
        // A daemon watches us by a pidfd of ours, since our number may mean nothing to it.
        match pidfd(std::process::id()) {
            Some(ourselves) => beside.push(ourselves),
            None => child_pidfd = None,
        }
    }
    hello.stay_connected = child_pidfd.is_none();
    let watch = child_pidfd.map_or_else(|| Watch::Connection(Arc::clone(&ours)), Watch::Pidfd);
    let child = family::adopt(Record::new(pid, hello.name.clone(), hello.daemon, watch));
    let told = copy_of_stdin(&mut hello, surroundings, &mut beside).and_then(|()| talk(&ours, &hello, beside, parcel, patience));
    match told {
        Ok(Reply::Ready) => Ok(child),
        Ok(Reply::Undecodable(why)) => {
            end(&child, patience);
            Err(SpawnErrorKind::Decode { why })
        }
        Ok(Reply::Refused(why)) => {
            end(&child, patience);
            Err(SpawnErrorKind::Refused { why })
        }
        Ok(Reply::Here) => {
            end(&child, Duration::ZERO);
            Err(failed("understand the new process")(io::Error::from(io::ErrorKind::InvalidData)))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
            end(&child, Duration::ZERO);
            Err(SpawnErrorKind::NotReached { waited: patience })
        }
        // A child that has closed its end is ending, unless it is very strange.
        Err(error) if is_hang_up(&error) => match end(&child, Duration::from_secs(1)) {
            Some(exit) => Err(SpawnErrorKind::EndedEarly { exit }),
            None => Err(SpawnErrorKind::HungUp),
        },
        Err(error) => {
            end(&child, Duration::ZERO);
            Err(failed("send the arguments")(error))
        }
    }
}

fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> SpawnErrorKind {
    move |error| SpawnErrorKind::System { what, source: error.into() }
}

fn pidfd(pid: u32) -> Option<OwnedFd> {
    let number = Pid::from_raw(pid as i32)?;
    apart(|| pidfd_open(number, PidfdFlags::empty())).ok()
}

/// Puts the standard input that the child is to have last among the descriptors beside its orders.
fn copy_of_stdin(hello: &mut Hello, surroundings: &Surroundings, beside: &mut Vec<OwnedFd>) -> io::Result<()> {
    if let Some(stdin) = &surroundings.stdin {
        beside.push(apart(|| stdin.try_clone())?);
        hello.has_stdin = true;
    }
    Ok(())
}

fn is_hang_up(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Waits for the end of a child that did not begin; `None` if it had to be killed.
fn end(child: &Record, patience: Duration) -> Option<Exit> {
    let exit = family::wait(child, Deadline::after(patience)).ok().flatten();
    if exit.is_none() {
        let _ = child.signal(Signal::KILL);
        let _ = family::wait(child, Deadline::NEVER);
    }
    exit
}

/// Sends everything, and waits for the word that the function is about to run.
fn talk(link: &Link, hello: &Hello, beside: Vec<OwnedFd>, parcel: &Parcel, patience: Duration) -> io::Result<Reply> {
    let here = hear(link, patience)?;
    if !matches!(here, Reply::Here) {
        return Ok(here);
    }
    let sent = link
        .send(WELCOME, &[])
        .and_then(|()| link.send(&hello.to_bytes(), &beside))
        .and_then(|()| link.send(&parcel.bytes, &parcel.descriptors));
    drop(beside);
    match sent {
        Ok(()) => hear(link, patience),
        // The child may have said why before it hung up.
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
        // If the child hung up with something unread, the system tells that first, and then what the child had said.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => link.receive(MAX_REPLY, 0, false).map_err(|_| error),
        received => received,
    };
    Reply::from_bytes(&received?.0).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
