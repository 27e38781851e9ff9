//! Process-private guesses, spinning and back-off: nothing here carries a message.

/// A word private to this process whose value is only ever a guess.
///
/// Cursors and cached positions live in it. It is invisible to loom on purpose: an algorithm must be right whatever a
/// hint says, so its interleavings need no exploring. A thread that reads a guess sees what the one that made it had seen.
#[derive(Debug, Default)]
pub struct Hint(core::sync::atomic::AtomicU64);

impl Hint {
    /// A hint that starts as `value`.
    pub const fn new(value: u64) -> Self {
        Self(core::sync::atomic::AtomicU64::new(value))
    }

    /// The last guess written by any thread of this process, or an older one.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(core::sync::atomic::Ordering::Acquire)
    }

    /// Replaces the guess.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, core::sync::atomic::Ordering::Release);
    }

    /// Adds to the guess and returns what it was. Exact even when threads race, so it also hands out numbers.
    #[inline]
    pub fn add(&self, value: u64) -> u64 {
        self.0.fetch_add(value, core::sync::atomic::Ordering::Relaxed)
    }
}

/// A word private to this process that is true once it is written, until it is unmade: memory is committed up to here, say.
///
/// Not modelled, since what it knows is no part of a model: who reads it comes after who wrote it, and no peer can.
#[derive(Debug, Default)]
pub struct Known(core::sync::atomic::AtomicU64);

impl Known {
    /// What is known at first.
    pub const fn new(value: u64) -> Self {
        Self(core::sync::atomic::AtomicU64::new(value))
    }

    /// What some thread of this process wrote last, or earlier.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(core::sync::atomic::Ordering::Acquire)
    }

    /// Says what is known. Of two threads that do so at once, one may be forgotten.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, core::sync::atomic::Ordering::Release);
    }

    /// Adds bits to what is known, and nothing else.
    #[inline]
    pub fn insert(&self, bits: u64) {
        self.0.fetch_or(bits, core::sync::atomic::Ordering::AcqRel);
    }
}

/// Tells the processor (or the model's scheduler) that this thread waits for another.
#[inline]
pub fn spin_loop() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    crate::model::give_way();
}

/// Lets others run on this processor, if there are any.
pub fn yield_now() {
    #[cfg(not(loom))]
    std::thread::yield_now();
    #[cfg(loom)]
    crate::model::give_way();
}

/// Exponential back-off after a lost compare-and-swap: 1, 2, 4 … 64 spins.
///
/// Without it, contended rings spend their time moving cache lines about and lose most of their throughput.
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// A fresh back-off.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Waits a little, twice as long as the last time up to a limit.
    #[inline]
    pub fn spin(&mut self) {
        let spins = if cfg!(loom) { 1 } else { 1u32 << self.0.min(6) };
        for _ in 0..spins {
            spin_loop();
        }
        self.0 = self.0.saturating_add(1);
    }

    /// How often [`spin`](Self::spin) was called: what bounds a retry loop against a peer that writes rubbish.
    #[inline]
    pub fn tries(&self) -> u32 {
        self.0
    }
}
