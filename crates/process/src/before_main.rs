//! What runs before `main`: a new process recognises itself and gets its orders.

use crate::current::become_child;
use crate::orders::{Orders, refuse};
use crate::rights::{self, Refusal, system};
use crate::{init, signals};
use multiproc_prim::descriptor::{cover, occupy_standard_streams};
use multiproc_travel::Link;
use rustix::io::fcntl_dupfd_cloexec;
use std::os::fd::BorrowedFd;
use std::panic::catch_unwind;

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
    let link = link.unwrap_or_else(|refusal| refuse(None, &refusal));
    let mut orders = Orders::receive(&link).unwrap_or_else(|refusal| refuse(Some(&link), &refusal));
    orders.take_stdin().unwrap_or_else(|refusal| refuse(Some(&link), &refusal));
    let hello = &orders.hello;
    become_child(&hello.name, &hello.numbers, hello.daemon, hello.parent);
    if hello.ignore_interrupts {
        signals::ignore(libc::SIGINT);
    }
    // The mask came from the thread that started this process. A SIGTERM that it had blocked would have no effect here.
    signals::unblock_all();
    if hello.early {
        // What the standard library does before `main`: writing to a closed pipe is an error and not a signal.
        signals::ignore(libc::SIGPIPE);
        orders.carry_out(link);
    }
    init::expect(orders, link);
}

/// Takes the socket from its place as standard input.
fn take_socket() -> Result<Link, Refusal> {
    // Before anything else is opened, which would land there.
    occupy_standard_streams().map_err(system("open a closed standard stream"))?;
    // SAFETY: descriptor 0 is open, and only borrowed.
    let link = fcntl_dupfd_cloexec(unsafe { BorrowedFd::borrow_raw(0) }, 3).map_err(system("keep its socket"))?;
    // As in Python, a child process reads nothing from the terminal, unless its parent says so.
    cover(0).map_err(system("open an empty standard input"))?;
    Ok(Link::from_descriptor(link))
}
