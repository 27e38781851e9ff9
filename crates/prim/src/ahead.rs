//! Asking for cache lines before they are needed.

use crate::Shared;

/// Asks the processor for the cache line that a value starts in, to be written soon. It waits for nothing and changes nothing.
///
/// A line that another processor wrote last comes over once. Read first and exchanged then, it would cause two journeys.
#[inline(always)]
pub fn fetch_to_write<T: Shared>(value: &T) {
    let value = core::ptr::from_ref(value);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint. Processors that don't know it take it for no operation.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) value, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) value, options(nostack, preserves_flags, readonly));
    }
    let _ = value;
}
