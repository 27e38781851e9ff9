//! Waiting without sleeping: a model's scheduler runs another thread.

use super::explore::give_way;

/// Tells the model's scheduler that this thread waits for another one.
#[inline]
pub fn spin_loop() {
    give_way();
}

/// Lets other threads run.
pub fn yield_now() {
    give_way();
}

/// How often a back-off doubles its spins: one spin says as much as many.
pub(crate) const MOST_DOUBLINGS: u32 = 0;
