//! Notices `fork()` without a system call: a page that the kernel wipes in the child.

use multiproc_prim::{OnceWord, Renewed};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr::NonNull;

/// No lock guards it: one that another thread held during a fork would stay held in the child for ever.
static PAGE: Renewed<Page> = Renewed::new();
static LAST: OnceWord = OnceWord::new();

/// A word on a page that the kernel wipes in a forked copy; `None` where it can't.
struct Page(Option<NonNull<OnceWord>>);

// SAFETY: the word is an atomic, and its page stays mapped for as long as the value.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

const LEN: usize = 4096;

/// A number that stays the same for the life of a process and differs from that of every process it was forked from.
///
/// Costs a few loads. Where the kernel can't wipe pages (before 4.14), it asks for the process id instead.
#[inline]
pub fn stamp() -> u64 {
    match PAGE.get(0, Page::new).0 {
        Some(mark) => {
            // SAFETY: mapped for as long as `PAGE` has the value, which is for ever.
            let mark = unsafe { mark.as_ref() };
            let found = mark.get();
            if found != 0 { found } else { renew(mark) }
        }
        None => u64::from(std::process::id()) << 32,
    }
}

/// After a fork, or at the first use, when two threads may be here at once: the first number stays.
#[cold]
fn renew(mark: &OnceWord) -> u64 {
    // The number goes on from the parent's, which the child has a copy of.
    mark.set(LAST.count() + (u64::from(std::process::id()) << 32))
}

impl Page {
    fn new() -> Self {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), LEN, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        let Ok(page) = page else { return Self(None) };
        // From here on dropping the value unmaps the page, which is zeroed: an `OnceWord` without a value.
        let made = Self(NonNull::new(page.cast()));
        // SAFETY: the advice changes what a child sees of this page, which nobody refers to yet.
        match unsafe { madvise(page, LEN, Advice::LinuxWipeOnFork) } {
            Ok(()) => made,
            Err(_) => Self(None),
        }
    }
}

impl Drop for Page {
    /// For the value of a thread that came second to make one.
    fn drop(&mut self) {
        if let Some(page) = self.0 {
            // SAFETY: mapped in `new` with this length; nobody else has its address.
            let _ = unsafe { munmap(page.as_ptr().cast(), LEN) };
        }
    }
}

/// A value of this process's own, for statics: a forked copy of the process starts with a fresh one.
///
/// A lock inside it can't be one that another thread held at the moment of the fork.
///
/// ```
/// use multiproc_shm::PerProcess;
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
