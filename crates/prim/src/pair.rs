//! Two words that can be exchanged together: sixteen bytes of shared memory.

#[cfg(not(loom))]
pub use real::AtomicPair;

#[cfg(loom)]
pub use crate::atomic::AtomicPair;

#[cfg(not(loom))]
mod real {
    use crate::{AtomicU64, Ordering, Shared};

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
        /// Whether this processor can exchange both words at once: every one of x86-64 but the oldest. (Others could with code that
        /// nobody has run yet.)
        pub fn is_whole() -> bool {
            #[cfg(target_arch = "x86_64")]
            return std::arch::is_x86_feature_detected!("cmpxchg16b");
            #[cfg(not(target_arch = "x86_64"))]
            false
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
        pub fn exchange(&self, old: (u64, u64), new: (u64, u64), _won: Ordering, _lost: Ordering) -> bool {
            #[cfg(target_arch = "x86_64")]
            {
                let exchanged: u64;
                // SAFETY: `self` is 16 bytes, aligned to 16. The locked instruction orders everything, whatever was asked for, and
                // the compiler moves no memory access across the block. It writes both words at once: whoever reads one of them meanwhile
                // sees the old or the new one, which is what processors of this architecture say of naturally aligned loads.
                // A processor without the instruction is not asked (the callers' `is_whole`). `rbx` belongs to the compiler,
                // so it is lent for the one instruction.
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
                        in("rdi") core::ptr::from_ref(self),
                        options(nostack),
                    );
                }
                exchanged != 0
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                let _ = (old, new);
                false
            }
        }
    }
}
