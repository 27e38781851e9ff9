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

/// How many times a back-off spins at its next try: twice as often as at the last one, up to 64.
#[inline]
pub(crate) fn spins(tries: u32) -> u32 {
    1 << tries.min(6)
}
