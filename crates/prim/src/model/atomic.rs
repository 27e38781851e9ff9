//! Loom's atomics, each with a companion that makes loom explore every order of accesses.
//!
//! Loom 0.7 remembers one last access per atomic. A lock-free loop loads before it exchanges, and its load hides that of another thread.
//! So loom never tries the order in which the exchange comes first, and whole models run in a single execution.
//!
//! Here every operation first touches the companion with a relaxed read-modify-write. Each of those depends on every other one, and
//! synchronises nothing. So loom explores the order of any two operations, and a load may still read all that loom allows it.
//!
//! An atomic and its companion take more bytes than the real one: see the README, "Atomics grow under loom".

use super::explore::life;
use loom::sync::atomic;
pub use loom::sync::atomic::{Ordering, fence};

/// A word that other threads of this process may write, and no other process. It needs no companion: a death after an access to it shows
/// nowhere, and no code depends on the order of two accesses.
pub(crate) use loom::sync::atomic::AtomicU64 as PrivateWord;

/// A fence right after a successful exchange by the same thread.
pub fn fence_after_exchange(order: Ordering) {
    fence(order);
}

macro_rules! modelled {
    ($($name:ident: $int:ty),*) => {$(
        /// Loom's atomic of this name, with the subset of operations that is used.
        #[derive(Debug)]
        #[allow(missing_docs, reason = "the operations are those of the standard library's atomic")]
        pub struct $name {
            value: atomic::$name,
            order: atomic::AtomicU32,
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new(0)
            }
        }

        #[allow(missing_docs, reason = "the operations are those of the standard library's atomic")]
        impl $name {
            pub fn new(value: $int) -> Self {
                Self { value: atomic::$name::new(value), order: atomic::AtomicU32::new(0) }
            }

            /// Touches the companion and returns the value. `None` if this thread is dead, so that its operations have no effect.
            pub(super) fn step(&self) -> Option<&atomic::$name> {
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
