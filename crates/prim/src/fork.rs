//! Notices `fork()` without a system call: the kernel wipes a page in the child.

use crate::{Counter, OnceWord, Renewed};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;

/// The address of the word on that page; [`NONE`] where the kernel can't wipe pages.
///
/// No lock guards it. A lock that another thread held during a fork would stay held in the child for ever.
static MARK: OnceWord = OnceWord::new();
static LAST: Counter = Counter::new();

const NONE: u64 = 1;
const LEN: usize = 4096;

/// A number that stays the same for the life of a process. It differs from the number of every process that this one was forked from.
///
/// Costs two loads. Where the kernel can't wipe pages (before Linux 4.14), it asks for the process id instead.
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

/// Makes a new number, at the first use or after a fork. If two threads do so at once, the first number stays.
#[cold]
fn renew(mark: &OnceWord) -> u64 {
    // The child has a copy of the parent's counter and counts on from there.
    mark.set(LAST.count() + (u64::from(std::process::id()) << 32))
}

/// Makes a word that reads as 0 in a forked copy, and returns its address. If two threads do so at once, one page stays unused.
#[cold]
fn new_mark() -> u64 {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of ours.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let Ok(page): Result<*mut c_void, _> = page else { return NONE };
    // SAFETY: the advice changes what a child sees of this page, to which no reference exists yet.
    if unsafe { madvise(page, LEN, Advice::LinuxWipeOnFork) }.is_err() {
        // SAFETY: mapped above, and no other code has its address.
        let _ = unsafe { munmap(page, LEN) };
        return NONE;
    }
    page.expose_provenance() as u64
}

/// A value of this process, for statics. A forked copy of the process starts with a fresh value.
///
/// So a lock in it is never held by a thread of the parent that the child does not have.
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
    /// A value that `make` makes when a process first asks for it.
    pub const fn new(make: fn() -> T) -> Self {
        Self { value: Renewed::new(), make }
    }

    /// This process's value.
    pub fn get(&self) -> &T {
        self.value.get(stamp(), self.make)
    }
}
