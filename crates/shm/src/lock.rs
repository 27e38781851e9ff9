//! Locks on single bytes of a segment that go when the open file description goes: the kernel's word for who lives.

use crate::descriptor::apart;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A private open file description of a segment. Its locks fall when the last copy of its descriptor is closed, that is,
/// with the process.
#[derive(Debug)]
pub(crate) struct LockFile(OwnedFd);

/// The lock bytes lie far behind any content.
const FIRST_BYTE: i64 = 1 << 50;

impl LockFile {
    /// Opens the file behind `segment` anew.
    pub(crate) fn open(segment: BorrowedFd<'_>) -> std::io::Result<Self> {
        let path = format!("/proc/self/fd/{}", segment.as_raw_fd());
        let open = || rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        Ok(Self(apart(|| retry_on_intr(open))?))
    }

    /// Takes the lock of `row` unless another description has it.
    pub(crate) fn try_lock(&self, row: u32) -> std::io::Result<bool> {
        match self.control(libc::F_OFD_SETLK, libc::F_WRLCK, row) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn unlock(&self, row: u32) {
        let _ = self.control(libc::F_OFD_SETLK, libc::F_UNLCK, row);
    }

    /// Whether another description holds the lock of `row`. `None`: the system won't say.
    pub(crate) fn is_locked(&self, row: u32) -> Option<bool> {
        let answer = self.control(libc::F_OFD_GETLK, libc::F_WRLCK, row).ok()?;
        Some(answer != libc::F_UNLCK as i16)
    }

    fn control(&self, command: libc::c_int, kind: libc::c_int, row: u32) -> Result<i16, Errno> {
        let mut lock = libc::flock {
            l_type: kind as i16,
            l_whence: libc::SEEK_SET as i16,
            l_start: FIRST_BYTE + i64::from(row),
            l_len: 1,
            l_pid: 0,
        };
        loop {
            // rustix has no open-file-description locks. SAFETY: the descriptor is open for as long as `self`, and `lock` is the
            // structure that these three commands take.
            if unsafe { libc::fcntl(self.0.as_fd().as_raw_fd(), command, &raw mut lock) } != -1 {
                return Ok(lock.l_type);
            }
            match Errno::from_io_error(&std::io::Error::last_os_error()) {
                Some(Errno::INTR) => {}
                other => return Err(other.unwrap_or(Errno::INVAL)),
            }
        }
    }
}
