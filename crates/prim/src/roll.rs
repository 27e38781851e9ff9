//! Words and lists of one process without a lock, so that a forked copy and a signal handler may use them at any moment.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// A word of this process that gets a value once. Loom does not see it: it decides nothing between processes.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct OnceWord(AtomicU64);

impl OnceWord {
    /// A word without a value, which reads as 0.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The value; 0 if it has none.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Sets the value, unless the word has one. Returns the value that it has now.
    pub fn set(&self, value: u64) -> u64 {
        match self.0.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => value,
            Err(found) => found,
        }
    }
}

/// Numbers of this process, which threads add and take out without a lock.
///
/// ```
/// use multiproc_prim::Roll;
///
/// static ROLL: Roll = Roll::new();
/// let entry = ROLL.add(7);
/// ROLL.add(8);
/// assert!(entry.remove());
/// let mut left = Vec::new();
/// ROLL.take_all(|number| left.push(number));
/// assert_eq!(left, [8]);
/// ```
#[derive(Debug)]
pub struct Roll(Page);

/// The place of a number in a [`Roll`].
#[derive(Debug)]
pub struct Entry(&'static AtomicU32);

const ENTRIES: usize = 62;

#[derive(Debug)]
struct Page {
    /// Each number plus one; 0 is a free place.
    entries: [AtomicU32; ENTRIES],
    next: AtomicPtr<Page>,
}

impl Page {
    const fn new() -> Self {
        Self { entries: [const { AtomicU32::new(0) }; ENTRIES], next: AtomicPtr::new(core::ptr::null_mut()) }
    }

    fn next(&self) -> Option<&'static Page> {
        // Acquire: the page was made empty before its address was published (pairs with: next page).
        // SAFETY: null, or from `Box::leak` in `Roll::add`.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }
}

impl Default for Roll {
    fn default() -> Self {
        Self::new()
    }
}

impl Roll {
    /// An empty roll.
    pub const fn new() -> Self {
        Self(Page::new())
    }

    /// Adds a number below `u32::MAX`.
    pub fn add(&'static self, number: u32) -> Entry {
        let mut page = &self.0;
        loop {
            for entry in &page.entries {
                if entry.compare_exchange(0, number.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    return Entry(entry);
                }
            }
            page = page.next().unwrap_or_else(|| {
                let made: *mut Page = Box::leak(Box::new(Page::new()));
                // Release: see `next` (pairs with: next page).
                match page.next.compare_exchange(core::ptr::null_mut(), made, Ordering::Release, Ordering::Acquire) {
                    // SAFETY: leaked just now, so it lasts for ever.
                    Ok(_) => unsafe { &*made },
                    Err(theirs) => {
                        // SAFETY: leaked just now, and no other thread has its address.
                        drop(unsafe { Box::from_raw(made) });
                        // SAFETY: another thread leaked it in this function.
                        unsafe { &*theirs }
                    }
                }
            });
        }
    }

    /// Takes out every number. It allocates nothing and never waits, so a signal handler may call it.
    pub fn take_all(&self, mut each: impl FnMut(u32)) {
        let mut page = Some(&self.0);
        while let Some(this) = page {
            for entry in &this.entries {
                if let Some(number) = entry.swap(0, Ordering::AcqRel).checked_sub(1) {
                    each(number);
                }
            }
            page = this.next();
        }
    }
}

impl Entry {
    /// Takes the number out. Returns whether it was there.
    pub fn remove(&self) -> bool {
        self.0.swap(0, Ordering::AcqRel) != 0
    }
}
