//! Notices `fork()` without a system call: a page that the kernel wipes in the child.

use multiproc_prim::{Hint, Renewed};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use std::sync::OnceLock;

struct Page(Option<&'static Hint>);

static PAGE: OnceLock<Page> = OnceLock::new();
static NEXT: Hint = Hint::new(1);

/// A number that stays the same for the life of a process and differs from that of every process it was forked from.
///
/// Costs two loads. Where the kernel can't wipe pages (before 4.14), it asks for the process id instead.
#[inline]
pub fn stamp() -> u64 {
    match PAGE.get_or_init(Page::new).0 {
        Some(mark) => {
            let found = mark.get();
            if found != 0 { found } else { renew(mark) }
        }
        None => u64::from(std::process::id()) << 32,
    }
}

/// After a fork, or at the first use: one thread alone runs in a new child, so nobody races with us there.
#[cold]
fn renew(mark: &Hint) -> u64 {
    // The number goes on from the parent's, which the child has a copy of.
    let mine = NEXT.add(1) + (u64::from(std::process::id()) << 32);
    mark.set(mine);
    mine
}

impl Page {
    fn new() -> Self {
        let len = 4096;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        let Ok(page) = page else { return Self(None) };
        // SAFETY: the advice changes what a child sees of this page, which nobody refers to yet.
        if unsafe { madvise(page, len, Advice::LinuxWipeOnFork) }.is_err() {
            return Self(None);
        }
        // SAFETY: the page is mapped for ever, aligned, zeroed (a valid `Hint`, which is one atomic word), and ours alone.
        Self(Some(unsafe { &*page.cast::<Hint>() }))
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
