//! Two words that can be exchanged together: sixteen bytes of shared memory.

use super::atomic::{AtomicU64, Ordering};
use crate::Shared;

/// Two 64-bit words side by side. Each can be read alone, the first can be exchanged alone, and where the processor can
/// ([`is_whole`](Self::is_whole)) both at once.
#[repr(C, align(16))]
#[derive(Debug, Default)]
pub struct AtomicPair {
    first: AtomicU64,
    second: AtomicU64,
}

// SAFETY: two atomic integers; fresh is zero.
unsafe impl Shared for AtomicPair {
    fn fresh() -> Self {
        Self::default()
    }
}

impl AtomicPair {
    /// Whether this processor can exchange both words at once: every x86-64 but the oldest, and every aarch64.
    pub fn is_whole() -> bool {
        whole::is_here()
    }

    /// The first word.
    #[inline]
    pub fn first(&self, order: Ordering) -> u64 {
        self.first.load(order)
    }

    /// The second word.
    #[inline]
    pub fn second(&self, order: Ordering) -> u64 {
        self.second.load(order)
    }

    /// Writes the first word.
    pub fn store_first(&self, new: u64, order: Ordering) {
        self.first.store(new, order);
    }

    /// Exchanges the first word if it is `old`. Returns whether it was.
    #[inline]
    pub fn exchange_first(&self, old: u64, new: u64, won: Ordering, lost: Ordering) -> bool {
        self.first.compare_exchange(old, new, won, lost).is_ok()
    }

    /// Exchanges both words if they are `old`. Returns whether they were; never where the pair [is not whole](Self::is_whole).
    #[inline]
    pub fn exchange(&self, old: (u64, u64), new: (u64, u64), won: Ordering, lost: Ordering) -> bool {
        whole::exchange(self, old, new, won, lost)
    }
}

/// `portable-atomic` has this for x86-64 too, but asks at each call whether the processor has the instruction, and is not inlined. That
/// costs 16 instructions and one nanosecond more for each exchange. It also brings a lock for processors without the instruction, which
/// must never be used in shared memory.
#[cfg(target_arch = "x86_64")]
mod whole {
    use super::{AtomicPair, Ordering};

    pub(super) fn is_here() -> bool {
        std::arch::is_x86_feature_detected!("cmpxchg16b")
    }

    #[inline(always)]
    pub(super) fn exchange(pair: &AtomicPair, old: (u64, u64), new: (u64, u64), _won: Ordering, _lost: Ordering) -> bool {
        let exchanged: u64;
        // SAFETY: `pair` is 16 bytes, aligned to 16. The locked instruction orders everything, whatever was asked for, and the compiler
        // moves no memory access across the block. It writes both words at once: a thread that reads one of them meanwhile sees the old
        // or the new one, which processors of this architecture promise for naturally aligned loads. Callers ask `is_whole` first, so
        // the processor has the instruction. `rbx` belongs to the compiler, so it is lent for the one instruction.
        unsafe {
            core::arch::asm!(
                "xchg {low}, rbx",
                "lock cmpxchg16b xmmword ptr [rdi]",
                "mov rbx, {low}",
                "sete cl",
                "movzx ecx, cl",
                low = inout(reg) new.0 => _,
                inout("rcx") new.1 => exchanged,
                inout("rax") old.0 => _,
                inout("rdx") old.1 => _,
                in("rdi") core::ptr::from_ref(pair),
                options(nostack),
            );
        }
        exchanged != 0
    }
}

#[cfg(target_arch = "aarch64")]
mod whole {
    use super::{AtomicPair, Ordering};
    use portable_atomic::AtomicU128;

    // Built without its feature `fallback`, the crate has no lock to fall back on.
    const _: () = assert!(AtomicU128::is_always_lock_free());

    pub(super) fn is_here() -> bool {
        true
    }

    #[inline(always)]
    pub(super) fn exchange(pair: &AtomicPair, old: (u64, u64), new: (u64, u64), won: Ordering, lost: Ordering) -> bool {
        // SAFETY: `pair` is 16 bytes, aligned to 16, every bit pattern is a valid value, and all of it is in cells. The exchange is
        // assembler (`casp`, or `ldxp` and `stxp`), which writes both words at once: a thread that reads or exchanges one of them
        // meanwhile sees the old or the new one, which the architecture promises for naturally aligned accesses inside of 16 bytes.
        let pair = unsafe { &*core::ptr::from_ref(pair).cast::<AtomicU128>() };
        let [old, new] =
            [old, new].map(
                |(first, second)| {
                    if cfg!(target_endian = "little") { together(first, second) } else { together(second, first) }
                },
            );
        pair.compare_exchange(old, new, won, lost).is_ok()
    }

    fn together(low: u64, high: u64) -> u128 {
        u128::from(high) << 64 | u128::from(low)
    }
}

/// Other processors have such an exchange too, but nobody has run this crate on them yet.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod whole {
    use super::{AtomicPair, Ordering};

    pub(super) fn is_here() -> bool {
        false
    }

    pub(super) fn exchange(_: &AtomicPair, _: (u64, u64), _: (u64, u64), _: Ordering, _: Ordering) -> bool {
        false
    }
}
