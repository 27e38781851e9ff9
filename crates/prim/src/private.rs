//! Words that the threads of one process share: guesses, knowledge, flags and counters.

use crate::base::atomic::PrivateWord;
use core::sync::atomic::{AtomicU64, Ordering};

/// A word private to this process whose value is only a guess: a cursor, say, or a cached position.
///
/// The code must be right whatever value a hint has. So loom does not see it, and explores no interleaving of it. A value that must not
/// be wrong belongs in a [`Known`]. A thread that reads a guess sees everything that its writer had seen.
#[derive(Debug, Default)]
pub struct Hint(AtomicU64);

impl Hint {
    /// A hint that starts as `value`.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// The last guess of any thread of this process, or an older one.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Replaces the guess.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}

/// A word private to this process that the code relies on: memory is committed up to here, say.
///
/// Loom sees it, so a model fails where a value comes too late. A thread that reads a value sees everything that its writer had seen.
/// What a value says must stay true until the code replaces it.
#[derive(Debug, Default)]
pub struct Known(PrivateWord);

impl Known {
    /// A word that starts as `value`.
    pub fn new(value: u64) -> Self {
        Self(PrivateWord::new(value))
    }

    /// The last value that a thread of this process wrote, or an older one.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Replaces the value. If two threads do so at once, one of the two values is lost.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Adds bits to the value. Bits that another thread adds at the same time are kept.
    #[inline]
    pub fn insert(&self, bits: u64) {
        self.0.fetch_or(bits, Ordering::AcqRel);
    }
}

/// Yes or no, private to this process: a handle is closed, say.
///
/// ```
/// # multiproc_prim::model::model(|| {
/// let closed = multiproc_prim::Flag::new();
/// assert!(!closed.is_set());
/// closed.set();
/// assert!(closed.is_set());
/// # });
/// ```
#[derive(Debug, Default)]
pub struct Flag(PrivateWord);

impl Flag {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self(PrivateWord::new(0))
    }

    /// Whether the flag is set. If so, this thread sees everything that the setting thread had seen.
    #[inline(always)]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// Sets the flag.
    #[inline(always)]
    pub fn set(&self) {
        self.0.store(1, Ordering::Release);
    }

    /// Clears the flag.
    #[inline(always)]
    pub fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// Counts in a static of this process. No two threads get the same number. Loom does not see it.
///
/// ```
/// use multiproc_prim::Counter;
///
/// static MADE: Counter = Counter::new();
/// assert_eq!([MADE.count(), MADE.count(), MADE.get()], [1, 2, 2]);
/// ```
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at 0.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The last number that [`count`](Self::count) returned, 0 before the first.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Adds one and returns the new number: 1 the first time.
    #[inline]
    pub fn count(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}
