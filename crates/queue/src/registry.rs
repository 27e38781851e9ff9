//! The queues that this process is attached to: one attachment each, however often it receives or opens a queue.

use crate::attachment::Attachment;
use crate::error::OpenError;
use multiproc_prim::PerProcess;
use multiproc_shm::FileId;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// A forked copy starts with an empty registry: its parent's attachments are not its own, and another thread may have held the
/// lock at the fork.
static REGISTRY: PerProcess<Registry> = PerProcess::new(Registry::default);

#[derive(Default)]
struct Registry {
    attached: Mutex<HashMap<FileId, Weak<Attachment>>>,
    /// Notified when an attachment has left.
    left: Condvar,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Weak<Attachment>>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This process's attachment to the queue in a file: the one it has, or the one that `attach` makes.
///
/// The lock is held while `attach` runs, so that two threads that receive a queue at once don't attach twice.
pub(crate) fn attached(
    file: FileId,
    attach: impl FnOnce() -> Result<Arc<Attachment>, OpenError>,
) -> Result<Arc<Attachment>, OpenError> {
    let registry = REGISTRY.get();
    let mut attached = registry.lock();
    while let Some(found) = attached.get(&file) {
        if let Some(attachment) = found.upgrade() {
            return Ok(attachment);
        }
        // Its last handle is gone, and the thread that dropped it is still leaving. Until it has left, it has the process's
        // place.
        attached = registry.left.wait(attached).unwrap_or_else(PoisonError::into_inner);
    }
    let attachment = attach()?;
    attached.insert(file, Arc::downgrade(&attachment));
    Ok(attachment)
}

/// Forgets an attachment that has left the queue: the next thread to ask makes another.
pub(crate) fn forget(file: FileId) {
    let registry = REGISTRY.get();
    registry.lock().remove(&file);
    registry.left.notify_all();
}
