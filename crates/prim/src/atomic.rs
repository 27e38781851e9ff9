//! The one place where the atomics come from: the real ones, or loom's.

#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
#[cfg(loom)]
pub use loom::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub use model::{AtomicU32, AtomicU64};

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
    use crate::model::life;
    use loom::sync::atomic;

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
}
