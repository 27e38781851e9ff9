//! Asking for cache lines before they are needed.
//!
//! A request waits for nothing and changes nothing. Lines that are asked for come over side by side, where an exchange would wait for them
//! one after the other.

use crate::{Bytes, Shared};

/// A cache line, in bytes: what processors move at once.
pub const LINE: usize = 64;

/// Asks the processor for the cache line that a value starts in, to be written soon.
///
/// A line that another processor wrote last comes over once. Read first and exchanged then, it would cause two journeys.
#[inline(always)]
pub fn fetch_to_write<T: Shared>(value: &T) {
    line::<true>(core::ptr::from_ref(value).cast());
}

impl Bytes<'_> {
    /// Asks for the cache lines of the window, to be read soon. See [`fetch_to_write`].
    #[inline(always)]
    pub fn fetch(&self) {
        self.lines().for_each(line::<false>);
    }

    /// Asks for the cache lines of the window, to be written soon. See [`fetch_to_write`].
    #[inline(always)]
    pub fn fetch_to_write(&self) {
        self.lines().for_each(line::<true>);
    }

    #[inline(always)]
    fn lines(&self) -> impl Iterator<Item = *const u8> {
        let first = self.as_ptr().as_ptr().cast_const();
        (0..self.len()).step_by(LINE).map(move |at| first.wrapping_add(at))
    }
}

#[inline(always)]
fn line<const TO_WRITE: bool>(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, for any address. Processors that don't know it take it for no operation.
    unsafe {
        if TO_WRITE {
            core::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint, for any address.
    unsafe {
        if TO_WRITE {
            core::arch::asm!("prfm pstl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }
    let _ = at;
}
