//! Runs a test body once, for real. Under loom the same names explore every interleaving.

pub use std::sync::Arc;
pub use std::thread;

/// Runs `body`: once here, in every interleaving under loom.
pub fn model(body: impl Fn() + Sync + Send + 'static) {
    body();
}
