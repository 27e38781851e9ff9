//! The one place where the atomics come from: the real ones, or loom's.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub use model::{AtomicPair, AtomicU32, AtomicU64};

/// A fence right after a successful exchange by the same thread.
///
/// On x86-64 every exchange is a locked instruction, which keeps all later loads behind all earlier stores by itself; what is left
/// is to keep the compiler from moving them. Elsewhere, and in models, it is the fence.
#[inline(always)]
pub fn fence_after_exchange(order: Ordering) {
    if cfg!(all(target_arch = "x86_64", not(loom))) {
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
    } else {
        fence(order);
    }
}

/// Loom's atomics, each with a companion that makes loom explore every order of accesses.
///
/// Loom 0.7 remembers one last access per atomic. A thread that loads before it exchanges (as every lock-free loop does)
/// hides the load of another thread behind its own, and the order in which the exchange comes first is never tried: whole
/// models ran in a single execution. So every operation here first touches the companion with a relaxed read-modify-write,
/// which depends on every other one and synchronises nothing: the order of any two operations is explored, and what a load
/// may read stays as weak as loom knows how.
#[cfg(loom)]
mod model {
    use super::Ordering;
    use crate::Shared;
    use crate::model::life;
    use loom::sync::atomic;
    use std::sync::{Mutex, PoisonError};

    macro_rules! modelled {
        ($($name:ident: $int:ty),*) => {$(
            /// Loom's atomic of this name, with the subset of operations that is used.
            #[derive(Debug)]
            #[allow(missing_docs, reason = "the operations are those of the standard library's atomic")]
            pub struct $name {
                value: atomic::$name,
                order: atomic::AtomicU32,
            }

            #[allow(missing_docs, reason = "the operations are those of the standard library's atomic")]
            impl $name {
                pub fn new(value: $int) -> Self {
                    Self { value: atomic::$name::new(value), order: atomic::AtomicU32::new(0) }
                }

                /// The value, after the companion; `None` if this thread died, for whom nothing has an effect any more.
                fn step(&self) -> Option<&atomic::$name> {
                    life::step().then(|| {
                        self.order.fetch_add(1, Ordering::Relaxed);
                        &self.value
                    })
                }

                pub fn load(&self, order: Ordering) -> $int {
                    self.step().map_or(0, |value| value.load(order))
                }

                pub fn store(&self, new: $int, order: Ordering) {
                    if let Some(value) = self.step() {
                        value.store(new, order);
                    }
                }

                pub fn swap(&self, new: $int, order: Ordering) -> $int {
                    self.step().map_or(0, |value| value.swap(new, order))
                }

                pub fn compare_exchange(&self, old: $int, new: $int, won: Ordering, lost: Ordering) -> Result<$int, $int> {
                    self.step().map_or(Ok(old), |value| value.compare_exchange(old, new, won, lost))
                }

                pub fn fetch_add(&self, more: $int, order: Ordering) -> $int {
                    self.step().map_or(0, |value| value.fetch_add(more, order))
                }

                pub fn fetch_max(&self, other: $int, order: Ordering) -> $int {
                    self.step().map_or(0, |value| value.fetch_max(other, order))
                }
            }
        )*};
    }

    modelled!(AtomicU32: u32, AtomicU64: u64);

    /// Pairs of words that were ever in an [`AtomicPair`], by the number that stands for them.
    static PAIRS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

    fn pair(number: u64) -> (u64, u64) {
        // Zero is there before anything else is.
        let pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.get(number as usize).copied().unwrap_or_default()
    }

    fn number(pair: (u64, u64)) -> u64 {
        let mut pairs = PAIRS.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.is_empty() {
            pairs.push((0, 0));
        }
        let known = pairs.iter().position(|known| *known == pair);
        known.unwrap_or_else(|| {
            pairs.push(pair);
            pairs.len() - 1
        }) as u64
    }

    /// The pair of words as loom can see it: one atomic that holds a number for the two.
    #[repr(align(16))]
    #[derive(Debug)]
    #[allow(missing_docs, reason = "the operations are those of the real one")]
    pub struct AtomicPair(AtomicU64);

    // SAFETY: fresh is what new memory is made to hold; a model's memory is written by nobody else.
    unsafe impl Shared for AtomicPair {
        fn fresh() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    #[allow(missing_docs, reason = "the operations are those of the real one")]
    impl AtomicPair {
        pub fn is_whole() -> bool {
            true
        }

        pub fn first(&self, order: Ordering) -> u64 {
            pair(self.0.load(order)).0
        }

        pub fn second(&self, order: Ordering) -> u64 {
            pair(self.0.load(order)).1
        }

        pub fn store_first(&self, new: u64, order: Ordering) {
            let second = self.second(Ordering::Relaxed);
            self.0.store(number((new, second)), order);
        }

        pub fn exchange_first(&self, old: u64, new: u64, won: Ordering, lost: Ordering) -> bool {
            let Some(value) = self.0.step() else { return true };
            loop {
                let seen = value.load(Ordering::Relaxed);
                let (first, second) = pair(seen);
                if first != old {
                    // As the exchange that fails.
                    value.load(lost);
                    return false;
                }
                if value.compare_exchange(seen, number((new, second)), won, lost).is_ok() {
                    return true;
                }
            }
        }

        pub fn exchange(&self, old: (u64, u64), new: (u64, u64), won: Ordering, lost: Ordering) -> bool {
            self.0.compare_exchange(number(old), number(new), won, lost).is_ok()
        }
    }
}
