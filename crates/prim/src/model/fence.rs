//! Fences of two halves: in a model both are full.

use super::atomic::{Ordering, fence};

/// The actor's half.
pub fn light_fence() {
    fence(Ordering::SeqCst);
}

/// The waiter's half.
pub fn heavy_fence() {
    fence(Ordering::SeqCst);
}
