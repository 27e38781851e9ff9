//! The memory map of a segment: committed before it is touched, given back when it is not needed.

use multiproc_prim::Memory;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::any::Any;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// A shared mapping of a whole file.
pub(crate) struct Map {
    base: NonNull<u8>,
    len: usize,
    file: OwnedFd,
    #[cfg(loom)]
    cells: multiproc_prim::Cells,
}

// SAFETY: the mapping belongs to the value and is reached through regions alone.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub(crate) fn new(file: OwnedFd, len: usize) -> std::io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, &file, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self {
            base,
            len,
            file,
            #[cfg(loom)]
            cells: Default::default(),
        })
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn allocate(&self, flags: FallocateFlags, range: Range<usize>) -> Result<(), Errno> {
        let len = range.len() as u64;
        if len == 0 {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.file, flags, range.start as u64, len) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }
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
        // Keeping the size: the file has its length already, and is sealed against growing.
        Ok(self.allocate(FallocateFlags::KEEP_SIZE, range)?)
    }

    fn discard(&self, range: Range<usize>) {
        if range.end <= self.len {
            // Pages that are not given back cost memory, nothing else.
            let _ = self.allocate(FallocateFlags::KEEP_SIZE | FallocateFlags::PUNCH_HOLE, range);
        }
    }

    #[cfg(loom)]
    fn cells(&self) -> &multiproc_prim::Cells {
        &self.cells
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
