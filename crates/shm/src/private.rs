//! Descriptors that a forked copy of this process must not keep: it would hold the locks of the dead.

use multiproc_prim::descriptor::{Apart, apart};
use multiproc_prim::stamp;
use multiproc_prim::{Counter, Entry, OnceWord, Roll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The descriptors that a forked copy closes.
static OPEN: Roll = Roll::new();
static REGISTERED: OnceWord = OnceWord::new();
/// Forks of this process that have begun.
static BEGUN: Counter = Counter::new();
/// Forks of this process that are over.
static OVER: Counter = Counter::new();

/// Times that another thread may fork during the opening before we give up.
const TRIES: u32 = 100;
/// A fork of a large process takes some milliseconds.
const PAUSE: Duration = Duration::from_millis(1);

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
    /// Opens a descriptor with `make`. If another thread forks between the opening and the entry in the roll, its copy would keep the
    /// descriptor: then this closes it and calls `make` again.
    ///
    /// # Errors
    ///
    /// `make` fails, or other threads fork all the time (`EAGAIN`).
    pub(crate) fn open<E: Into<io::Error>>(mut make: impl FnMut() -> Result<OwnedFd, E>) -> io::Result<Self> {
        register()?;
        for _ in 0..TRIES {
            let over = OVER.get();
            let opened = Self::new(apart(&mut make)?)?;
            // A fork counts itself before it copies anything. So each fork whose copy lacks the entry has begun by now, and each fork
            // that was over before cannot have copied what was opened since.
            if BEGUN.get() == over {
                return Ok(opened);
            }
            drop(opened);
            std::thread::sleep(PAUSE);
        }
        Err(Errno::AGAIN.into())
    }

    /// Enters an open descriptor. A copy that is forked meanwhile may keep it: for descriptors that hold nobody up.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = fd.moved_apart()?;
        fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        register()?;
        let entry = OPEN.add(fd.as_raw_fd().unsigned_abs());
        Ok(Self { fd: ManuallyDrop::new(fd), entry, stamp: stamp() })
    }

    /// The descriptor; `None` in a forked copy, in which its number may be another file's.
    pub(crate) fn get(&self) -> Option<BorrowedFd<'_>> {
        (self.stamp == stamp()).then(|| self.fd.as_fd())
    }
}

impl Drop for PrivateFd {
    fn drop(&mut self) {
        if self.stamp == stamp() {
            // First out of the roll: a copy made in between keeps the descriptor, and never closes another file's.
            self.entry.remove();
            // SAFETY: dropped here, once, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Has the C library call the functions below around each fork.
fn register() -> io::Result<()> {
    if REGISTERED.get() == 0 {
        // SAFETY: the handlers use atomics and `close` alone, which is allowed even in a new process with one thread. Two threads may
        // both register them: then each fork counts twice at both sides, and the second run finds nothing left to close.
        match unsafe { libc::pthread_atfork(Some(count_begun), Some(count_over), Some(close_all)) } {
            0 => REGISTERED.set(1),
            error => return Err(io::Error::from_raw_os_error(error)),
        };
    }
    Ok(())
}

extern "C" fn count_begun() {
    BEGUN.count();
}

/// Called when a fork has failed, too.
extern "C" fn count_over() {
    OVER.count();
}

extern "C" fn close_all() {
    // No fork is under way in the copy, whatever other threads of the original were doing.
    while OVER.get() < BEGUN.get() {
        OVER.count();
    }
    OPEN.take_all(|fd| {
        // SAFETY: a descriptor of ours that was open at the fork. The value that has it in this copy never closes it (see `drop`).
        unsafe { libc::close(fd as libc::c_int) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::path_of;
    use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags, flock, memfd_create, open};
    use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

    #[test]
    fn a_copy_that_is_forked_during_the_opening_keeps_no_lock() {
        let file = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let anew = || open(path_of(file.as_fd()), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let mut copy = None;
        let private = PrivateFd::open(|| {
            let opened = anew();
            copy.get_or_insert_with(|| {
                // SAFETY: the copy sleeps until it is killed.
                match unsafe { libc::fork() } {
                    0 => loop {
                        // SAFETY: as above.
                        unsafe { libc::pause() };
                    },
                    pid => pid,
                }
            });
            opened
        });
        let private = private.unwrap();
        flock(private.get().unwrap(), FlockOperation::LockExclusive).unwrap();
        let other = anew().unwrap();
        let is_free = || flock(&other, FlockOperation::NonBlockingLockExclusive).is_ok();
        assert!(!is_free());
        drop(private);
        let was_freed = is_free();
        let copy = copy.and_then(Pid::from_raw).unwrap();
        kill_process(copy, Signal::KILL).unwrap();
        waitpid(Some(copy), WaitOptions::empty()).unwrap();
        assert!(was_freed, "the copy holds the lock of its original");
    }
}
