//! The standard library's atomics.

/// A word that other threads of this process may write, and no other process.
pub(crate) use core::sync::atomic::AtomicU64 as PrivateWord;
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// A fence right after a successful exchange by the same thread.
///
/// On x86-64 every exchange is a locked instruction, which keeps all later loads behind all earlier stores. Only the compiler must be
/// kept from moving them. On other processors, and in models, it is the fence.
#[inline(always)]
pub fn fence_after_exchange(order: Ordering) {
    if cfg!(target_arch = "x86_64") { core::sync::atomic::compiler_fence(Ordering::SeqCst) } else { fence(order) }
}
