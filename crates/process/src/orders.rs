//! Orders in the new process: how it gets them, and how it carries them out.

use crate::current::current_process;
use crate::daemon::end_with_parent;
use crate::hello::{Hello, MAX_ARGS, MAX_DESCRIPTORS, MAX_HELLO, Reply};
use crate::rights::{self, Parent, Refusal, system};
use crate::say::say;
use crate::target::Call;
use crate::{family, signals};
use multiproc_prim::descriptor::cover;
use multiproc_travel::Link;
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Orders that were received and not carried out yet.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) hello: Hello,
    parent: Parent,
    /// The parent, for a daemon to watch.
    pidfd: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    args: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Orders {
    /// Gets the orders, once it is certain that they are from our parent and that we have no rights that it lacks.
    pub(crate) fn receive(link: &Link) -> Result<Self, Refusal> {
        let parent = Parent::of_equal_rights()?;
        parent.check_socket(link)?;
        cover_everything_but(link);
        rights::expect_credentials(link)?;
        let hung_up = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof => {
                Refusal::Orphan
            }
            _ => system("receive its orders")(error),
        };
        link.send(&Reply::Here.to_bytes(), &[]).map_err(hung_up)?;
        parent.await_welcome(link)?;
        parent.await_packet(link)?;
        let (bytes, mut beside) = link.receive(MAX_HELLO, 2, true).map_err(hung_up)?;
        let unreadable = || system("read its orders")(std::io::Error::from(std::io::ErrorKind::InvalidData));
        let hello = Hello::from_bytes(&bytes).ok_or_else(unreadable)?;
        let stdin = if hello.has_stdin { Some(beside.pop().ok_or_else(unreadable)?) } else { None };
        parent.await_packet(link)?;
        let (args, descriptors) = link.receive(MAX_ARGS, MAX_DESCRIPTORS, true).map_err(hung_up)?;
        Ok(Self { hello, parent, pidfd: beside.pop(), stdin, args, descriptors })
    }

    /// Puts the standard input that the parent chose in its place.
    pub(crate) fn take_stdin(&mut self) -> Result<(), Refusal> {
        let Some(stdin) = self.stdin.take() else { return Ok(()) };
        rustix::stdio::dup2_stdin(stdin).map_err(system("take its standard input"))
    }

    /// Runs the function and ends the process.
    pub(crate) fn carry_out(self, link: Link) -> ! {
        let Self { hello, parent, pidfd, args, descriptors, .. } = self;
        if let Ok(name) = std::ffi::CString::new(hello.name.as_str()) {
            let _ = rustix::thread::set_name(&name);
        }
        if hello.daemon {
            end_with_parent(parent, pidfd, &link).unwrap_or_else(|refusal| refuse(Some(&link), &refusal));
        }
        let prepared = catch_unwind(AssertUnwindSafe(|| hello.entry.prepare(&args, descriptors)));
        let prepared = prepared.unwrap_or_else(|payload| Err(format!("the code that decodes them panicked: {}", said(payload))));
        let call = prepared.unwrap_or_else(|why| {
            let _ = link.send(&Reply::undecodable(&why).to_bytes(), &[]);
            std::process::exit(1);
        });
        drop(args);
        // An error is none: the parent may have ended, and a child that is no daemon outlives it.
        let _ = link.send(&Reply::Ready.to_bytes(), &[]);
        if hello.stay_connected {
            // The system closes it when the process ends.
            std::mem::forget(link);
        } else {
            drop(link);
        }
        drop(hello);
        std::process::exit(run(call))
    }
}

/// Ends a new process that can't begin or may not; tells the parent and standard error why.
pub(crate) fn refuse(link: Option<&Link>, refusal: &Refusal) -> ! {
    signals::ignore(libc::SIGPIPE);
    if let Some(link) = link {
        // The peer may never read.
        let _ = set_socket_timeout(link, Timeout::Send, Some(Duration::from_secs(1)));
        let _ = link.send(&Reply::refused(&refusal.to_string()).to_bytes(), &[]);
    }
    // A parent that ended may have been ended by a user, who expects no errors.
    if !matches!(refusal, Refusal::Orphan) {
        say(&format!("multiproc: a new process can't begin: {refusal}"));
    }
    // SAFETY: ends the process at once. No code of the program has run, so there is nothing to finish.
    unsafe { libc::_exit(1) }
}

/// Puts `/dev/null` in place of what other code of the parent left open across exec.
///
/// Such a descriptor is not closed: a library that was loaded before us may have opened it, or the environment may have told the library of
/// it. If its number came free, a queue could get it, and the library would write over the queue.
fn cover_everything_but(link: &Link) {
    let keep = link.as_fd().as_raw_fd();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor > 2 && descriptor != keep) {
        // SAFETY: only borrowed, for a call that fails if it is closed (as the directory's own is by now).
        let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(descriptor) });
        // A close-on-exec descriptor was opened after exec, by a library that is loaded into us.
        if flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            let _ = cover(descriptor);
        }
    }
}

/// Calls the function as a `main` of its own, and finishes what has to be finished before the process ends.
fn run(call: Call) -> i32 {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(&format!("process {} panicked:", current_process().name()));
        usual(info);
    }));
    let code = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        // Its destructor could panic again, outside of this.
        std::mem::forget(payload);
        101
    });
    family::end();
    code
}

/// The text of a panic.
fn said(payload: Box<dyn std::any::Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    std::mem::forget(payload);
    text.unwrap_or_else(|| "it did not say why".into())
}
