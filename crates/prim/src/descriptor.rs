//! Descriptors that are never a standard stream's: 0, 1 or 2.
//!
//! A process may have closed its standard streams. The system gives the lowest free number to whatever is opened next, and a
//! `println!` would write into a queue.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, Errno, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_getfd, retry_on_intr};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// The first number that is no standard stream's.
const FIRST: RawFd = 3;

/// Opens `/dev/null` in place of each standard stream that is closed, as Rust's runtime does at the start of a program.
///
/// # Errors
///
/// The process or the system has no descriptors left.
pub fn occupy_standard_streams() -> std::io::Result<()> {
    let is_closed = |number| {
        // SAFETY: only borrowed, for a call that fails if it is closed.
        fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }) == Err(Errno::BADF)
    };
    for number in 0..FIRST {
        while is_closed(number) {
            let placeholder = placeholder()?;
            if placeholder.as_raw_fd() >= FIRST {
                // Another thread was faster.
                break;
            }
            // It stays open: its number is a standard stream's, and nobody else has it.
            let _ = placeholder.into_raw_fd();
        }
    }
    Ok(())
}

fn placeholder() -> Result<OwnedFd, Errno> {
    let null = retry_on_intr(|| rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()));
    // Where there is no such file: something that can neither be read nor written, as a closed stream can't.
    null.or_else(|_| retry_on_intr(|| rustix::fs::open("/", OFlags::PATH, Mode::empty())))
}

/// Puts `/dev/null` in place of an open descriptor. Its number is never free: code that still uses it does not come upon what is opened next.
///
/// # Errors
///
/// It is not open, or the process or the system has no descriptors left.
pub fn cover(number: RawFd) -> std::io::Result<()> {
    // SAFETY: only borrowed, for a call that fails if it is closed.
    fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
    let flags = if number < FIRST { DupFlags::empty() } else { DupFlags::CLOEXEC };
    // SAFETY: nothing here closes it: whoever has it finds another file under the same number.
    let mut covered = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(retry_on_intr(|| dup3(placeholder()?, &mut covered, flags))?)
}

/// Whether one of `events` is there, without waiting.
pub fn is_ready(descriptor: impl AsFd, events: PollFlags) -> bool {
    let mut asked = [PollFd::new(&descriptor, events)];
    matches!(retry_on_intr(|| poll(&mut asked, Some(&Timespec::default()))), Ok(1))
}

/// Makes a descriptor, or two, which is none of the standard streams'.
///
/// # Errors
///
/// Those of `make`; the process or the system has no descriptors left.
pub fn apart<D: Apart, E: Into<std::io::Error>>(make: impl FnOnce() -> Result<D, E>) -> std::io::Result<D> {
    occupy_standard_streams()?;
    make().map_err(Into::into)?.moved_apart()
}

/// What [`apart`] makes.
pub trait Apart: Sized {
    /// The same, with another number if it has a standard stream's: another thread may have closed one just now.
    ///
    /// # Errors
    ///
    /// The process has no descriptors left.
    fn moved_apart(self) -> std::io::Result<Self>;
}

impl Apart for OwnedFd {
    fn moved_apart(self) -> std::io::Result<Self> {
        if self.as_raw_fd() >= FIRST {
            return Ok(self);
        }
        debug_assert!(fcntl_getfd(&self).is_ok_and(|flags| flags.contains(FdFlags::CLOEXEC)), "ours are close-on-exec");
        Ok(fcntl_dupfd_cloexec(&self, FIRST)?)
    }
}

impl Apart for (OwnedFd, OwnedFd) {
    fn moved_apart(self) -> std::io::Result<Self> {
        Ok((self.0.moved_apart()?, self.1.moved_apart()?))
    }
}

impl Apart for Vec<OwnedFd> {
    fn moved_apart(self) -> std::io::Result<Self> {
        self.into_iter().map(Apart::moved_apart).collect()
    }
}
