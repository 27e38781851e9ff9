//! Fences of two halves: in a model both are full.

use super::atomic::{Ordering, fence};

/// The half of the side that acts often.
pub fn light_fence() {
    fence(Ordering::SeqCst);
}

/// The half of the side that waits.
pub fn heavy_fence() {
    fence(Ordering::SeqCst);
}
