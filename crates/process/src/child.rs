//! The new process's side: recognises itself before `main`, gets its orders, and runs its function.

use crate::current::become_child;
use crate::daemon::end_with_parent;
use crate::image::Call;
use crate::orders::{Hello, MAX_ARGS, MAX_DESCRIPTORS, MAX_HELLO, Reply};
use crate::rights::{self, Parent, Refusal, system};
use crate::say::say;
use crate::{current_process, family, main_guard, signals};
use multiproc_prim::descriptor::{cover, occupy_standard_streams};
use multiproc_travel::Link;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Orders that were received and not carried out yet.
#[derive(Debug)]
pub(crate) struct Orders {
    link: Link,
    told: Told,
}

#[derive(Debug)]
struct Told {
    parent: Parent,
    /// The parent, for a daemon to watch.
    pidfd: Option<OwnedFd>,
    hello: Hello,
    args: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// Runs before `main` in every program that this crate is part of. In all but new processes of ours it looks at one
/// environment variable.
#[used]
// SAFETY: the section holds pointers to functions that the C library calls before `main`; this is one, and it expects nothing of the
// state of the program but a working C library.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    // A panic must not unwind into the C library.
    if catch_unwind(recognise_ourselves).is_err() {
        std::process::exit(101);
    }
}

fn recognise_ourselves() {
    let link = match rights::is_marked() {
        Ok(false) => return,
        // From here on there are two ways out: our function, and the end. To go on would run `main` a second time.
        Ok(true) => take_socket(),
        Err(refusal) => Err(refusal),
    };
    let link = link.unwrap_or_else(|refusal| end(None, &refusal));
    let told = receive_orders(&link).unwrap_or_else(|refusal| end(Some(&link), &refusal));
    let Hello { early, daemon, ignore_interrupts, parent, ref name, ref numbers, .. } = told.hello;
    become_child(name, numbers, daemon, parent);
    if ignore_interrupts {
        signals::ignore(libc::SIGINT);
    }
    // The mask came from the thread that started us, and is none of ours: a blocked SIGTERM would stay without effect.
    signals::unblock_all();
    let orders = Orders { link, told };
    if early {
        // What the standard library does before `main`: writing to a closed pipe is an error and not a signal.
        signals::ignore(libc::SIGPIPE);
        orders.carry_out();
    }
    main_guard::expect_init(orders);
}

/// Ends a new process that can't begin or may not; tells the parent and standard error why.
fn end(link: Option<&Link>, refusal: &Refusal) -> ! {
    signals::ignore(libc::SIGPIPE);
    if let Some(link) = link {
        // Not from someone who does not read.
        let _ = set_socket_timeout(link, Timeout::Send, Some(Duration::from_secs(1)));
        let _ = link.send(&Reply::refused(&refusal.to_string()).to_bytes(), &[]);
    }
    // The parent may be dead because a user ended the program, and says the rest if it is not.
    if !matches!(refusal, Refusal::Orphan) {
        say(&format!("multiproc: a new process can't begin: {refusal}"));
    }
    // SAFETY: ends the process at once. Nothing of the program has run that would want to be finished.
    unsafe { libc::_exit(1) }
}

/// Takes the socket from its place as standard input.
fn take_socket() -> Result<Link, Refusal> {
    // Before anything else, so that nothing else lands there.
    occupy_standard_streams().map_err(system("open a closed standard stream"))?;
    // SAFETY: descriptor 0 is open, and only borrowed.
    let link = fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(0) }, 3).map_err(system("keep its socket"))?;
    // As in Python, a child process reads nothing from the terminal.
    cover(0).map_err(system("open an empty standard input"))?;
    Ok(Link::from_descriptor(link))
}

/// Gets the orders, once it is certain that they are from our parent and that we have no rights that it lacks.
fn receive_orders(link: &Link) -> Result<Told, Refusal> {
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
    let (bytes, mut pidfds) = link.receive(MAX_HELLO, 1, true).map_err(hung_up)?;
    let unreadable = || system("read its orders")(std::io::Error::from(std::io::ErrorKind::InvalidData));
    let hello = Hello::from_bytes(&bytes).ok_or_else(unreadable)?;
    parent.await_packet(link)?;
    let (args, descriptors) = link.receive(MAX_ARGS, MAX_DESCRIPTORS, true).map_err(hung_up)?;
    let pidfd = pidfds.pop();
    Ok(Told { parent, pidfd, hello, args, descriptors })
}

/// Puts `/dev/null` in place of what other code of the parent left open across exec.
///
/// Not closed: a library that was loaded before us may have opened such a descriptor, or may have been told of it by the environment. If its
/// number came free, a queue could get it, and the library would write over the queue.
fn cover_everything_but(link: &Link) {
    let keep = link.as_fd().as_raw_fd();
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|&descriptor| descriptor > 2 && descriptor != keep) {
        // SAFETY: only borrowed, for a call that fails if it is closed (as the directory's own is by now).
        let flags = fcntl_getfd(unsafe { BorrowedFd::borrow_raw(descriptor) });
        // What is close-on-exec was opened after exec, by a library that is loaded into us.
        if flags.is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC)) {
            let _ = cover(descriptor);
        }
    }
}

impl Orders {
    /// Runs the function and ends the process.
    pub(crate) fn carry_out(self) -> ! {
        let Self { link, told: Told { parent, pidfd, hello, args, descriptors } } = self;
        if let Ok(name) = std::ffi::CString::new(hello.name.as_str()) {
            let _ = rustix::thread::set_name(&name);
        }
        if hello.daemon {
            if let Err(refusal) = end_with_parent(parent, pidfd, &link) {
                end(Some(&link), &refusal);
            }
        }
        let prepared = catch_unwind(AssertUnwindSafe(|| hello.target.prepare(&args, descriptors)));
        let prepared = prepared.unwrap_or_else(|payload| Err(format!("the code that decodes them panicked: {}", said(payload))));
        let call = match prepared {
            Ok(call) => call,
            Err(why) => {
                let _ = link.send(&Reply::undecodable(&why).to_bytes(), &[]);
                std::process::exit(1);
            }
        };
        drop(args);
        // Whether or not the parent still listens: a child that is no daemon outlives it.
        let _ = link.send(&Reply::Ready.to_bytes(), &[]);
        if hello.stay_connected {
            // Its end is that of the process.
            std::mem::forget(link);
        } else {
            drop(link);
        }
        drop(hello);
        std::process::exit(run(call))
    }
}

/// Calls the function as a `main` of its own, and finishes what has to be before the process ends.
fn run(call: Call) -> i32 {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(&format!("process {} panicked:", current_process().name()));
        usual(info);
    }));
    let code = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        // Dropping it could panic again, out of here.
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
