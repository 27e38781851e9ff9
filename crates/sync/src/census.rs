//! Whether any process still counts, where each process counts in a word of its own.
//!
//! A death then takes away one process's count, and no other. But nothing reads all words at once: while a process reads them, a
//! count may move from a word that it has not read yet to one that it has read. So a process that begins to count says so in a
//! shared word, before the process that it got its count from stops counting. A reader that found no count looks at the shared
//! word once more. If no process has begun to count since the reader began, nothing counted at some moment in between.

use multiproc_prim::{AtomicU64, Ordering, fence, shared_struct};

shared_struct! {
    /// Where processes say that they begin to count. Zero is its fresh state: no process has counted yet.
    ///
    /// ```
    /// # multiproc_prim::model::for_real(|| {
    /// use multiproc_prim::{AtomicU64, Ordering};
    /// use multiproc_sync::{Census, Heap, Region};
    ///
    /// let region = Region::new(Heap::new(4096));
    /// let (census, own) = (region.place::<Census>(0)?, region.place::<AtomicU64>(64)?);
    /// let is_counted = || own.load(Ordering::Acquire) > 0;
    /// assert!(!census.is_over(is_counted));
    /// census.enter(&own);
    /// assert!(!census.is_over(is_counted));
    /// census.leave(&own);
    /// assert!(census.is_over(is_counted));
    /// # Ok::<(), multiproc_sync::OutOfBounds>(())
    /// # });
    /// ```
    pub struct Census {
        begun: AtomicU64,
    }
}

/// Adding this subtracts one.
const MINUS_ONE: u64 = u64::MAX;

impl Census {
    /// Adds one to the count of the calling process.
    pub fn enter(&self, own: &AtomicU64) {
        // Relaxed: saying so orders it.
        own.fetch_add(1, Ordering::Relaxed);
        self.announce();
    }

    /// Says that something begins to count that is in no process's word, as a lock of the kernel. Call it once it counts.
    pub fn announce(&self) {
        // Release: a reader that sees this sees the count, too (pairs with: census).
        self.begun.fetch_add(1, Ordering::Release);
    }

    /// Whether any process has ever counted.
    pub fn has_begun(&self) -> bool {
        // Relaxed: a process that does not see the beginning yet asks again later.
        self.begun.load(Ordering::Relaxed) != 0
    }

    /// Subtracts one from the count of the calling process, and returns its word as it was before. If it was the last one, ask
    /// [`is_over`](Self::is_over): of two processes that leave last at once, at least one is told so.
    pub fn leave(&self, own: &AtomicU64) -> u64 {
        // Release: what this process did comes before, the beginning of a count that it handed on included (pairs with: census).
        let before = own.fetch_add(MINUS_ONE, Ordering::Release);
        // Of two processes that leave at once, one sees the other's word after this (pairs with: last).
        fence(Ordering::SeqCst);
        before
    }

    /// Whether processes have counted and none does any more. `is_counted` reads the words, with acquire, and says whether any
    /// process counts.
    ///
    /// `false` may mean that a process began to count meanwhile: it asks when it leaves, and another process asks if it dies.
    pub fn is_over(&self, is_counted: impl FnOnce() -> bool) -> bool {
        // Acquire: the counts whose beginning this shows are read below (pairs with: census).
        let begun = self.begun.load(Ordering::Acquire);
        if begun == 0 || is_counted() {
            return false;
        }
        // Acquire: the second look at the shared word comes after the words, and after the rows of participants that have left, which
        // the caller reads without an order (pairs with: census).
        fence(Ordering::Acquire);
        // Relaxed: a count that was handed on began before the word was left in which it was no longer found.
        self.begun.load(Ordering::Relaxed) == begun
    }
}
