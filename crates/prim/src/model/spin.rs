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

/// How many times a back-off spins at its next try. In a model one spin shows as much as many.
pub(crate) fn spins(_tries: u32) -> u32 {
    1
}
