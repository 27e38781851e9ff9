//! Waiting without sleeping.

/// Tells the processor that this thread waits for another one. In a model the other one may run.
#[inline]
pub fn spin_loop() {
    core::hint::spin_loop();
}

/// Lets other threads run on this processor, if there are any.
pub fn yield_now() {
    std::thread::yield_now();
}

/// How often a back-off doubles its spins.
pub(crate) const MOST_DOUBLINGS: u32 = 6;
