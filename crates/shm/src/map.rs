//! The memory map of a segment: committed before it is touched, given back when it is not needed.

use multiproc_prim::Memory;
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::any::Any;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes that are committed at once where signals keep coming.
const PIECE: usize = 1 << 20;

/// A shared mapping of a stretch of a file.
pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
    /// Its offset in the file, in bytes.
    start: usize,
    file: Arc<OwnedFd>,
}

// SAFETY: the mapping belongs to the value and is reached through regions alone.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

/// Pages are not smaller.
const PAGE: usize = 4096;

impl Map {
    /// Maps `range` of a file that is that long and never becomes shorter.
    pub(crate) fn new(file: Arc<OwnedFd>, range: Range<usize>) -> std::io::Result<Self> {
        let len = range.len();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, &file, range.start as u64) }?;
        let base: NonNull<u8> = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        // A core dump would read, and so commit, every page. Where the kernel can't leave the map out, dumps are larger.
        // SAFETY: the advice changes nothing but what a dump holds of our own mapping.
        let _ = unsafe { madvise(base.as_ptr().cast(), len, Advice::LinuxDontDump) };
        Ok(Self { base, len, start: range.start, file })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn allocate(&self, flags: FallocateFlags, range: Range<usize>) -> Result<(), Errno> {
        let len = range.len() as u64;
        if len == 0 {
            return Ok(());
        }
        let start = (self.start + range.start) as u64;
        match rustix::fs::fallocate(&self.file, flags, start, len) {
            Err(Errno::INTR) => {}
            done => return done,
        }
        // A signal undoes the whole call. Under a timer that sends signals, a large call might never end.
        for at in (start..start + len).step_by(PIECE) {
            retry_on_intr(|| rustix::fs::fallocate(&self.file, flags, at, (start + len - at).min(PIECE as u64)))?;
        }
        Ok(())
    }

    /// Touches each allocated page, so that it stays. The kernel takes untouched pages away again when another process's call for the
    /// same pages fails, or is killed. An error where our own touch would be a `SIGBUS`.
    fn populate(&self, range: Range<usize>) -> Result<(), Errno> {
        let start = range.start / PAGE * PAGE;
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: `range` is within the mapping, which starts on a page. The bytes stay as they are.
        let touched = unsafe { madvise(self.base.as_ptr().add(start).cast(), range.end - start, Advice::LinuxPopulateWrite) };
        match touched {
            Err(Errno::FAULT) => Err(Errno::NOSPC),
            Err(Errno::NOMEM) => Err(Errno::NOMEM),
            // Linux before 5.14 does not know this advice.
            _ => Ok(()),
        }
    }

    /// Makes the file at least `len` bytes long. It never becomes shorter, however many processes do this at once.
    fn grow(&self, len: usize) -> Result<(), Errno> {
        if rustix::fs::fstat(&self.file)?.st_size as u64 >= len as u64 {
            return Ok(());
        }
        check_file_limit(len)?;
        // Allocating the last byte moves the end.
        let last = (len - 1) as u64;
        retry_on_intr(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), last, 1))
    }
}

/// Checks that this process may make a file so long. Beyond its limit the system would answer with a signal.
pub(crate) fn check_file_limit(len: usize) -> Result<(), Errno> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
    if limit.is_some_and(|limit| limit < len as u64) { Err(Errno::FBIG) } else { Ok(()) }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; no region is left, since regions share in their owner.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}

// SAFETY: a mapping starts on a page, keeps its length for its life, and hands out no reference.
unsafe impl Memory for Map {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.len
    }

    fn commit(&self, range: Range<usize>) -> std::io::Result<()> {
        if range.end > self.len {
            return Err(Errno::INVAL.into());
        }
        // Keeping the size: the file has its length already, and is sealed against shrinking.
        self.allocate(FallocateFlags::KEEP_SIZE, range.clone())?;
        Ok(self.populate(range)?)
    }

    fn discard(&self, range: Range<usize>) -> bool {
        range.end <= self.len && self.allocate(FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, range).is_ok()
    }

    fn has_pages(&self, range: Range<usize>) -> bool {
        // Nobody uses the file position that this moves.
        let [start, end] = [range.start, range.end].map(|offset| (self.start + offset) as u64);
        match rustix::fs::seek(&self.file, SeekFrom::Data(start)) {
            Ok(data) => data < end,
            Err(Errno::NXIO) => false,
            Err(_) => true,
        }
    }

    fn copy_out(&self, start: usize, mut target: &mut [u8]) -> Option<bool> {
        let mut at = (self.start + start) as u64;
        while !target.is_empty() {
            match retry_on_intr(|| rustix::io::pread(&self.file, &mut *target, at)) {
                Ok(count) if count > 0 => {
                    at += count as u64;
                    target = &mut target[count..];
                }
                _ => return Some(false),
            }
        }
        Some(true)
    }

    fn extend(&self, range: Range<usize>, grow: bool) -> std::io::Result<Arc<dyn Memory>> {
        let start = self.start.checked_add(range.start).ok_or(Errno::INVAL)?;
        let end = self.start.checked_add(range.end).ok_or(Errno::INVAL)?;
        if grow {
            self.grow(end)?;
        } else if rustix::fs::fstat(&self.file)?.st_size.unsigned_abs() < end as u64 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Arc::new(Self::new(Arc::clone(&self.file), start..end)?))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
