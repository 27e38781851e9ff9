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

                fn explored(&self) -> &atomic::$name {
                    self.order.fetch_add(1, Ordering::Relaxed);
                    &self.value
                }

                pub fn load(&self, order: Ordering) -> $int {
                    self.explored().load(order)
                }

                pub fn store(&self, value: $int, order: Ordering) {
                    self.explored().store(value, order);
                }

                pub fn swap(&self, value: $int, order: Ordering) -> $int {
                    self.explored().swap(value, order)
                }

                pub fn compare_exchange(&self, old: $int, new: $int, won: Ordering, lost: Ordering) -> Result<$int, $int> {
                    self.explored().compare_exchange(old, new, won, lost)
                }

                pub fn fetch_add(&self, value: $int, order: Ordering) -> $int {
                    self.explored().fetch_add(value, order)
                }

                pub fn fetch_sub(&self, value: $int, order: Ordering) -> $int {
                    self.explored().fetch_sub(value, order)
                }

                pub fn fetch_or(&self, value: $int, order: Ordering) -> $int {
                    self.explored().fetch_or(value, order)
                }

                pub fn fetch_max(&self, value: $int, order: Ordering) -> $int {
                    self.explored().fetch_max(value, order)
                }
            }
        )*};
    }

    modelled!(AtomicU32: u32, AtomicU64: u64);
}
