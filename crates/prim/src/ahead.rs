//! Asking for cache lines before they are needed.

use crate::{Bytes, Shared};

/// A cache line, in bytes. Where lines are longer, some requests for them are one too many.
pub const LINE: usize = 64;

/// Asks the processor for the cache line that a value starts in, to be written soon. It does not wait for the line, and changes nothing.
///
/// A line that another processor wrote last comes over once. Read first and exchanged then, it would cause two journeys.
#[inline(always)]
pub fn fetch_to_write<T: Shared>(value: &T) {
    line::<true>(core::ptr::from_ref(value).cast());
}

impl Bytes<'_> {
    /// Asks for the cache lines of the window, to be read soon, as [`fetch_to_write`] does. They come over side by side, also where what is
    /// done before they are read has to wait for another line.
    #[inline(always)]
    pub fn fetch(&self) {
        self.lines().for_each(line::<false>);
    }

    /// Asks for the cache lines of the window, to be written soon, as [`fetch_to_write`] does.
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
    // SAFETY: it raises no fault at any address, and reads and writes nothing. Processors that don't know it take it for no operation.
    unsafe {
        if TO_WRITE {
            core::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: it raises no fault at any address, and reads and writes nothing.
    unsafe {
        if TO_WRITE {
            core::arch::asm!("prfm pstl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        } else {
            core::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }
    let _ = at;
}
