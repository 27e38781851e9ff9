//! Waiting a little longer after each failure.

use crate::base::spin::{spin_loop, spins};

/// Exponential back-off after a lost compare-and-swap: 1, 2, 4 … 64 spins.
///
/// Without it, contending threads spend most of their time on moving cache lines, and a ring loses most of its throughput.
///
/// ```
/// # multiproc_prim::model::model(|| {
/// let mut backoff = multiproc_prim::Backoff::new();
/// backoff.spin();
/// backoff.spin();
/// assert_eq!(backoff.tries(), 2);
/// # });
/// ```
#[derive(Debug, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// A back-off whose first wait is a single spin.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Waits a little, twice as long as the last time up to a limit.
    #[inline]
    pub fn spin(&mut self) {
        for _ in 0..spins(self.0) {
            spin_loop();
        }
        self.0 = self.0.saturating_add(1);
    }

    /// How often [`spin`](Self::spin) was called. A retry loop needs such a bound against a peer that writes rubbish.
    #[inline]
    pub fn tries(&self) -> u32 {
        self.0
    }
}
