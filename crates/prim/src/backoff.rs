//! Waiting a little longer after each failure.

use crate::base::spin::{spin_loop, spins};

/// Exponential back-off after a lost compare-and-swap: 1, 2, 4 … 64 spins.
///
/// Without it, threads that contend for a ring move cache lines about most of the time, and the ring loses most of its throughput.
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
    /// Starts with a single spin.
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

    /// How often [`spin`](Self::spin) was called: the bound of a retry loop against a peer that writes rubbish.
    #[inline]
    pub fn tries(&self) -> u32 {
        self.0
    }
}
