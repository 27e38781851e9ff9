//! The queues that this process is attached to: one attachment each, however often it receives or opens a queue; and what keeps
//! it attached.
//!
//! Handles and deliveries own an attachment together, and the registry knows what they own. Other code may hold an attachment for
//! a moment: the watcher's thread while it looks for the dead, a thread that ends and gives back its values. It can't make a
//! handle of what it holds. So once the last handle is gone, the attachment has no way but to leave, and a thread that opens the
//! queue again gets a new one.

use crate::attachment::Attachment;
use crate::error::OpenError;
use multiproc_prim::{PerProcess, Renewed, stamp};
use multiproc_shm::FileId;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// A handle's share in this process's attachment to a queue.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// The attachment of `handles`, without a step between: each put and get goes through it.
    attachment: Arc<Attachment>,
    handles: Arc<Handles>,
}

/// What the handles and deliveries of an attachment own together. When the last of them goes, the attachment leaves the queue.
#[derive(Debug)]
pub(crate) struct Handles {
    attachment: Arc<Attachment>,
    /// The share of a forked copy of this process, once the copy has used the queue. Each copy has a cell of its own: the fork may
    /// have happened while another thread of the parent filled the parent's cell.
    forked: Renewed<OnceLock<Share>>,
}

/// A forked copy starts with an empty registry: its parent's attachments are not its own, and another thread may have held the
/// lock at the fork.
static REGISTRY: PerProcess<Registry> = PerProcess::new(Registry::default);

#[derive(Default)]
struct Registry {
    attached: Mutex<HashMap<FileId, Weak<Handles>>>,
    /// Notified when an attachment has left.
    left: Condvar,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Weak<Handles>>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A share in this process's attachment to the queue in a file: the attachment that it has, or the one that `attach` makes.
///
/// The lock is held while `attach` runs, so that two threads that receive a queue at once don't attach twice.
pub(crate) fn attached(file: FileId, attach: impl FnOnce() -> Result<Arc<Attachment>, OpenError>) -> Result<Share, OpenError> {
    let registry = REGISTRY.get();
    let mut attached = registry.lock();
    while let Some(found) = attached.get(&file) {
        if let Some(handles) = found.upgrade() {
            return Ok(Share::of(handles));
        }
        // Its last handle is gone, and it has not left yet. Until it has, it has the process's place.
        attached = registry.left.wait(attached).unwrap_or_else(PoisonError::into_inner);
    }
    let handles = Arc::new(Handles { attachment: attach()?, forked: Renewed::new() });
    attached.insert(file, Arc::downgrade(&handles));
    Ok(Share::of(handles))
}

/// Forgets an attachment that has left the queue: the next thread to ask makes another.
pub(crate) fn forget(file: FileId) {
    let registry = REGISTRY.get();
    registry.lock().remove(&file);
    registry.left.notify_all();
}

impl Share {
    fn of(handles: Arc<Handles>) -> Self {
        Self { attachment: Arc::clone(&handles.attachment), handles }
    }

    /// What a delivery owns: it outlives every handle.
    pub(crate) fn handles(&self) -> Arc<Handles> {
        Arc::clone(&self.handles)
    }

    /// This process's share: this one, or another one in a forked copy of the process that made this one.
    #[inline]
    pub(crate) fn here(&self) -> Result<&Self, OpenError> {
        if self.membership.is_inherited() { self.rejoin() } else { Ok(self) }
    }

    #[cold]
    fn rejoin(&self) -> Result<&Self, OpenError> {
        let forked = self.handles.forked.get(stamp(), OnceLock::new);
        if let Some(share) = forked.get() {
            return Ok(share);
        }
        let share = attached(self.file, || self.attachment.attach_again())?;
        Ok(forked.get_or_init(|| share))
    }
}

impl Deref for Share {
    type Target = Attachment;

    #[inline(always)]
    fn deref(&self) -> &Attachment {
        &self.attachment
    }
}

impl Deref for Handles {
    type Target = Attachment;

    fn deref(&self) -> &Attachment {
        &self.attachment
    }
}

#[cfg(test)]
mod tests {
    use crate::{Builder, JoinableQueue, TaskDoneError};
    use std::sync::mpsc;

    #[test]
    fn a_queue_whose_last_handle_is_gone_is_opened_anew_and_its_values_in_hand_have_gone_back() {
        let name = format!("registry-last-{}", std::process::id());
        let builder = || -> Builder<JoinableQueue<u32>> { JoinableQueue::builder().bounded(4).participants(1).named(&name) };
        let first = builder().build().unwrap();
        first.put(1).unwrap();
        let mut handle = Some(first);
        for round in 1..=200 {
            let q = handle.take().unwrap();
            assert_eq!(q.get_delivery().map(|delivery| delivery.count()).unwrap(), 2 * round - 1);
            assert_eq!(q.get().unwrap(), 1);
            // As the watcher's thread does while it looks for the dead.
            let watcher = q.queue().share().itself.upgrade().unwrap();
            drop(q);
            let (opens, opening) = mpsc::channel();
            let again = std::thread::scope(|scope| {
                let opener = scope.spawn(|| {
                    opens.send(()).unwrap();
                    JoinableQueue::<u32>::open(&name).unwrap()
                });
                opening.recv().unwrap();
                std::thread::yield_now();
                drop(watcher);
                opener.join().unwrap()
            });
            assert_eq!(again.task_done(), Err(TaskDoneError::NothingInHand), "round {round}");
            handle = Some(again);
        }
        crate::remove_queue(&name).unwrap();
    }
}
