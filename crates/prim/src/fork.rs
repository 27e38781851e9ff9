//! Notices `fork()` without a system call: a page that the kernel wipes in the child.

use crate::{Counter, OnceWord, Renewed};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;

/// The address of the word on that page; [`NONE`] where the kernel can't wipe pages.
///
/// No lock guards it: one that another thread held during a fork would stay held in the child for ever.
static MARK: OnceWord = OnceWord::new();
static LAST: Counter = Counter::new();

const NONE: u64 = 1;
const LEN: usize = 4096;

/// A number that stays the same for the life of a process and differs from that of every process it was forked from.
///
/// Costs two loads. Where the kernel can't wipe pages (before 4.14), it asks for the process id instead.
#[inline]
pub fn stamp() -> u64 {
    match MARK.get() {
        0 => {
            MARK.set(new_mark());
            stamp()
        }
        NONE => u64::from(std::process::id()) << 32,
        mark => {
            // SAFETY: `new_mark` has exposed the address of a page that stays mapped for ever and holds one such word.
            let mark = unsafe { &*std::ptr::with_exposed_provenance::<OnceWord>(mark as usize) };
            let found = mark.get();
            if found != 0 { found } else { renew(mark) }
        }
    }
}

/// After a fork, or at the first use, when two threads may be here at once: the first number stays.
#[cold]
fn renew(mark: &OnceWord) -> u64 {
    // The number goes on from the parent's, which the child has a copy of.
    mark.set(LAST.count() + (u64::from(std::process::id()) << 32))
}

/// The address of a word that reads as 0 in a forked copy. Of two threads that make one at once, one leaves a page unused.
#[cold]
fn new_mark() -> u64 {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let Ok(page): Result<*mut c_void, _> = page else { return NONE };
    // SAFETY: the advice changes what a child sees of this page, which nobody refers to yet.
    if unsafe { madvise(page, LEN, Advice::LinuxWipeOnFork) }.is_err() {
        // SAFETY: mapped above, and nobody has its address.
        let _ = unsafe { munmap(page, LEN) };
        return NONE;
    }
    page.expose_provenance() as u64
}

/// A value of this process's own, for statics: a forked copy of the process starts with a fresh one.
///
/// A lock inside it can't be one that another thread held at the moment of the fork.
///
/// ```
/// use multiproc_prim::PerProcess;
/// use std::sync::Mutex;
///
/// static NAMES: PerProcess<Mutex<Vec<String>>> = PerProcess::new(|| Mutex::new(Vec::new()));
/// NAMES.get().lock().unwrap().push("one".into());
/// ```
#[derive(Debug)]
pub struct PerProcess<T> {
    value: Renewed<T>,
    make: fn() -> T,
}

impl<T> PerProcess<T> {
    /// Makes its value with `make` when a process first asks for it.
    pub const fn new(make: fn() -> T) -> Self {
        Self { value: Renewed::new(), make }
    }

    /// This process's value.
    pub fn get(&self) -> &T {
        self.value.get(stamp(), self.make)
    }
}
