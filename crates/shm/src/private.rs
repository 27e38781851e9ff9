//! Descriptors of this process's own that a forked copy must not keep: it would hold the locks of the dead.

use crate::fork;
use multiproc_prim::{Entry, OnceWord, Roll};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The descriptors that a forked copy closes.
static OPEN: Roll = Roll::new();
static REGISTERED: OnceWord = OnceWord::new();

/// A descriptor that is closed in a forked copy of this process as soon as `fork` returns there.
///
/// A copy that was made past the C library (a raw `clone`) keeps it open, but can't use it through this value either.
#[derive(Debug)]
pub(crate) struct PrivateFd {
    fd: ManuallyDrop<OwnedFd>,
    entry: Entry,
    stamp: u64,
}

impl PrivateFd {
    pub(crate) fn new(fd: OwnedFd) -> std::io::Result<Self> {
        // Where a standard stream was closed, its number is free, and what others print would go to us.
        let fd = if fd.as_raw_fd() < 3 { fcntl_dupfd_cloexec(&fd, 3)? } else { fd };
        fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        if REGISTERED.get() == 0 {
            // SAFETY: the handler may run in a new process with one thread: it uses atomics and `close` alone. Two threads may both
            // register it, and the second run finds nothing left to close.
            match unsafe { libc::pthread_atfork(None, None, Some(close_all)) } {
                0 => REGISTERED.set(1),
                error => return Err(std::io::Error::from_raw_os_error(error)),
            };
        }
        let entry = OPEN.add(fd.as_raw_fd().unsigned_abs());
        Ok(Self { fd: ManuallyDrop::new(fd), entry, stamp: fork::stamp() })
    }

    /// The descriptor; `None` in a forked copy, in which its number may be another file's.
    pub(crate) fn get(&self) -> Option<BorrowedFd<'_>> {
        (self.stamp == fork::stamp()).then(|| self.fd.as_fd())
    }
}

impl Drop for PrivateFd {
    fn drop(&mut self) {
        if self.stamp == fork::stamp() {
            // First out of the roll: a copy made in between keeps the descriptor, and never closes a stranger's.
            self.entry.remove();
            // SAFETY: dropped here, once, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

extern "C" fn close_all() {
    OPEN.take_all(|fd| {
        // SAFETY: a descriptor of ours that was open at the fork; whatever has it in this copy never closes it (see `drop`).
        unsafe { libc::close(fd as libc::c_int) };
    });
}
