//! What has to be done before a process ends normally.
//!
//! Queues register buffers that still have to be written out; whoever runs `main` or a child's function calls
//! [`finish_all`] when it has returned.

use std::sync::{Mutex, PoisonError, Weak};

/// Something to finish before the process ends normally.
pub trait Finish: Send + Sync {
    /// Blocks until it is done. Called at most once per registration.
    fn finish(&self);
}

static PENDING: Mutex<Vec<Weak<dyn Finish>>> = Mutex::new(Vec::new());

/// Has `what` finished at the normal end of the process, if it still lives then.
pub fn finish_at_exit(what: Weak<dyn Finish>) {
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    pending.retain(|weak| weak.strong_count() > 0);
    pending.push(what);
}

/// Finishes everything registered, oldest first. For whoever ends the process.
pub fn finish_all() {
    let pending = std::mem::take(&mut *PENDING.lock().unwrap_or_else(PoisonError::into_inner));
    for what in pending.iter().filter_map(Weak::upgrade) {
        what.finish();
    }
}
