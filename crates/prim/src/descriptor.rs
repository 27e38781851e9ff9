//! Descriptors that are never 0, 1 or 2, the standard streams.
//!
//! A process may have closed its standard streams. The next file that it opens gets the lowest free number. If that were a queue's
//! descriptor, a `println!` would write into the queue.

pub use rustix::event::PollFlags;
use rustix::event::{PollFd, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, Errno, FdFlags, dup3, fcntl_dupfd_cloexec, fcntl_getfd, retry_on_intr};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The first number after the standard streams.
const FIRST: RawFd = 3;

/// Opens `/dev/null` in place of each standard stream that is closed, as Rust's runtime does at the start of a program.
///
/// # Errors
///
/// The process or the system has no descriptors left.
pub fn occupy_standard_streams() -> std::io::Result<()> {
    let is_closed = |number| {
        // SAFETY: borrowed for one call, which fails if the number is closed.
        fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) }) == Err(Errno::BADF)
    };
    for number in 0..FIRST {
        while is_closed(number) {
            let placeholder = placeholder()?;
            if placeholder.as_raw_fd() >= FIRST {
                // Another thread has filled the gap.
                break;
            }
            // It stays open under the standard stream's number, which no other code owns.
            let _ = placeholder.into_raw_fd();
        }
    }
    Ok(())
}

fn placeholder() -> Result<OwnedFd, Errno> {
    let null = retry_on_intr(|| rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()));
    // Without `/dev/null`, a path-only descriptor: like a closed stream, it can be neither read nor written.
    null.or_else(|_| retry_on_intr(|| rustix::fs::open("/", OFlags::PATH, Mode::empty())))
}

/// Puts `/dev/null` in place of an open descriptor.
///
/// The number is never free in between. So code that still uses it can't reach a file that is opened later.
///
/// # Errors
///
/// The descriptor is not open, or the process or the system has no descriptors left.
pub fn cover(number: RawFd) -> std::io::Result<()> {
    // SAFETY: borrowed for one call, which fails if the number is closed.
    fcntl_getfd(unsafe { BorrowedFd::borrow_raw(number) })?;
    let flags = if number < FIRST { DupFlags::empty() } else { DupFlags::CLOEXEC };
    // SAFETY: `ManuallyDrop` never closes it, so its owner finds another file under the same number.
    let mut covered = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(retry_on_intr(|| dup3(placeholder()?, &mut covered, flags))?)
}

/// Whether one of `events` has happened to the descriptor. Never waits.
pub fn is_ready(descriptor: impl AsFd, events: PollFlags) -> bool {
    matches!(ask(descriptor, events), Ok(1))
}

/// How many of one descriptor have an event: one or none.
pub(crate) fn ask(descriptor: impl AsFd, events: PollFlags) -> Result<usize, Errno> {
    let mut asked = [PollFd::new(&descriptor, events)];
    retry_on_intr(|| poll(&mut asked, Some(&Timespec::default())))
}

/// How long a call may wait, as the system takes it. What is too long for it is as good as for ever.
pub fn timespec(limit: Duration) -> Timespec {
    Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX / 4, tv_nsec: 0 })
}

/// Makes one or more descriptors and moves those that have a standard stream's number to another one.
///
/// # Errors
///
/// `make` fails, or the process or the system has no descriptors left.
pub fn apart<D: Apart, E: Into<std::io::Error>>(make: impl FnOnce() -> Result<D, E>) -> std::io::Result<D> {
    occupy_standard_streams()?;
    make().map_err(Into::into)?.moved_apart()
}

/// Descriptors that [`apart`] can make.
pub trait Apart: Sized {
    /// Gives each descriptor another number if it has a standard stream's: another thread may have closed that stream just now.
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
