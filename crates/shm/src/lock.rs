//! Locks on single bytes of a segment. The kernel frees them with the open file description that took them: this tells who lives.

use crate::private::PrivateFd;
use crate::segment::Segment;
use multiproc_prim::descriptor::apart;
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// An open file description of a segment that no other process has. Its locks fall when it is closed: when this process ends in any
/// way, or becomes another program. A forked copy closes its descriptor at once.
#[derive(Debug)]
pub(crate) struct LockFile(PrivateFd);

/// The lock bytes lie far behind any content.
const FIRST_BYTE: i64 = 1 << 50;

impl LockFile {
    /// Opens the file behind `segment` anew through `/proc`: the kernel has no other way for a file without a name.
    pub(crate) fn open(segment: BorrowedFd<'_>) -> std::io::Result<Self> {
        Ok(Self(PrivateFd::open(|| open_anew(segment))?))
    }

    /// Takes the lock of `byte` unless another description has it.
    pub(crate) fn try_lock(&self, byte: u32) -> std::io::Result<bool> {
        let file = self.0.get().ok_or(Errno::BADF)?;
        match control(file, libc::F_OFD_SETLK, libc::F_WRLCK, byte) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn unlock(&self, byte: u32) {
        if let Some(file) = self.0.get() {
            let _ = control(file, libc::F_OFD_SETLK, libc::F_UNLCK, byte);
        }
    }
}

fn open_anew(segment: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let path = path_of(segment);
    retry_on_intr(|| rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()))
}

/// The path by which the system opens an open file anew.
pub(crate) fn path_of(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Whether the lock of `byte` is held through any [`LockFile`]. `None`: the system won't say.
///
/// No process takes locks through the description that all share. So asking through it gives each process the same answer.
pub(crate) fn is_locked(segment: BorrowedFd<'_>, byte: u32) -> Option<bool> {
    let answer = control(segment, libc::F_OFD_GETLK, libc::F_WRLCK, byte).ok()?;
    Some(answer != libc::F_UNLCK as i16)
}

fn control(file: BorrowedFd<'_>, command: libc::c_int, kind: libc::c_int, byte: u32) -> Result<i16, Errno> {
    let mut lock = libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: FIRST_BYTE + i64::from(byte),
        l_len: 1,
        l_pid: 0,
    };
    loop {
        // rustix has no open-file-description locks. SAFETY: the descriptor is open for as long as it is borrowed, and `lock` is
        // the structure that these commands take.
        if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut lock) } != -1 {
            return Ok(lock.l_type);
        }
        match Errno::from_io_error(&std::io::Error::last_os_error()) {
            Some(Errno::INTR) => {}
            other => return Err(other.unwrap_or(Errno::INVAL)),
        }
    }
}

/// A numbered lock of a segment, held until it is dropped or its process ends: for segments without a participant table.
///
/// The numbers are the user's own. A segment with a participant table uses those below 2048 for itself.
///
/// ```
/// use multiproc_shm::{ByteLock, Kind, Segment, Spec};
///
/// let segment = Segment::create(&Spec::new(Kind(*b"DEMO"), 4096))?;
/// let held = ByteLock::try_take(&segment, 7)?.expect("nobody has it");
/// assert!(ByteLock::try_take(&segment, 7)?.is_none());
/// assert_eq!(ByteLock::is_taken(&segment, 7), Some(true));
/// drop(held);
/// assert_eq!(ByteLock::is_taken(&segment, 7), Some(false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a lock that is dropped is free"]
#[derive(Debug)]
pub struct ByteLock {
    file: LockFile,
    number: u32,
}

impl ByteLock {
    /// Takes the lock. `None`: another owner has it. Does not wait.
    ///
    /// # Errors
    ///
    /// The system refuses: it has no `/proc`, the segment belongs to another user, or no descriptor is left. That says nothing
    /// about the lock.
    pub fn try_take(segment: &Segment, number: u32) -> std::io::Result<Option<Self>> {
        let file = LockFile::open(segment.as_fd())?;
        Ok(file.try_lock(number)?.then_some(Self { file, number }))
    }

    /// Whether any process has the lock, this one included. `None`: the system won't say.
    pub fn is_taken(segment: &Segment, number: u32) -> Option<bool> {
        is_locked(segment.as_fd(), number)
    }

    /// The number of the lock.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for ByteLock {
    fn drop(&mut self) {
        self.file.unlock(self.number);
    }
}

/// A share in a numbered lock of a segment that travels in a message, as a descriptor. Any number of vouchers share a lock.
///
/// It says that something is on its way. The kernel frees its share when the last copy of the descriptor is closed: also when the
/// message is dropped unread, in whichever process or socket it was. [`ByteLock::is_taken`] tells whether any share is left.
///
/// ```
/// use multiproc_shm::{ByteLock, Kind, Segment, Spec, Voucher};
/// use std::os::fd::AsFd;
///
/// let segment = Segment::create(&Spec::new(Kind(*b"DEMO"), 4096))?;
/// let voucher = Voucher::new(&segment, 7)?;
/// // In the process that gets the message:
/// let arrived = Voucher::from_descriptor(voucher.as_fd().try_clone_to_owned()?, 7);
/// drop(voucher);
/// assert_eq!(ByteLock::is_taken(&segment, 7), Some(true));
/// drop(arrived);
/// assert_eq!(ByteLock::is_taken(&segment, 7), Some(false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a voucher that is dropped vouches for nothing"]
#[derive(Debug)]
pub struct Voucher {
    file: OwnedFd,
    number: u32,
    arrived: bool,
}

impl Voucher {
    /// Makes a voucher: a share in the lock of this number, whose descriptor can be sent.
    ///
    /// # Errors
    ///
    /// The system refuses, as it does for a [`ByteLock`]; or a `ByteLock` has the lock.
    pub fn new(segment: &Segment, number: u32) -> std::io::Result<Self> {
        let file = apart(|| open_anew(segment.as_fd()))?;
        control(file.as_fd(), libc::F_OFD_SETLK, libc::F_RDLCK, number)?;
        Ok(Self { file, number, arrived: false })
    }

    /// The voucher that arrived as a descriptor. Its share ends when this is dropped, even if a copy of this process that was forked
    /// meanwhile has the descriptor open.
    pub fn from_descriptor(file: OwnedFd, number: u32) -> Self {
        Self { file, number, arrived: true }
    }
}

impl AsFd for Voucher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Voucher {
    fn drop(&mut self) {
        if self.arrived {
            let _ = control(self.file.as_fd(), libc::F_OFD_SETLK, libc::F_UNLCK, self.number);
        }
    }
}
