//! Who takes the reports of the workers: the threads that wait for results, one at a time.
//!
//! No thread stands between the workers and the one that waits, so a result wakes that one alone. The collecting thread takes the reports of
//! all, and tells the others. When nobody waits, the supervisor takes what has gathered, once a second and after deaths.

use crate::ledger::Ledger;
use crate::message::{Report, What};
use multiproc_queue::{GetError, GetManyError, Queue};
#[cfg(feature = "async")]
use multiproc_sync::{Awaited, Source, WaitList};
#[cfg(feature = "async")]
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Reports that are taken at once.
const BATCH: usize = 128;
/// Batches that a thread takes which does not wait.
const BATCHES: usize = 16;

/// The reports of one pool.
pub(crate) struct Reports {
    pub(crate) queue: Queue<Vec<u8>>,
    role: Mutex<Role>,
    /// Notified when results have come, and when the role is free.
    changed: Condvar,
}

#[derive(Default)]
struct Role {
    /// Whether a thread collects.
    taken: bool,
    /// Threads that wait while another one collects.
    sleepers: usize,
}

/// The role of the collecting thread; free again when it is dropped, by a panic too.
struct Collecting<'r>(&'r Reports);

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        let mut role = self.0.lock();
        role.taken = false;
        if role.sleepers > 0 {
            self.0.changed.notify_all();
        }
        drop(role);
        // A future that wanted to collect meanwhile, and could not, collects what is left.
        #[cfg(feature = "async")]
        if let Some(list) = list(&self.0.queue) {
            list.hand_on();
        }
    }
}

impl Reports {
    pub(crate) fn new(queue: Queue<Vec<u8>>) -> Self {
        Self { queue, role: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Role> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_role(&self) -> Option<Collecting<'_>> {
        let was_taken = std::mem::replace(&mut self.lock().taken, true);
        if was_taken { None } else { Some(Collecting(self)) }
    }

    /// Tells the threads that wait to look again: something came that was no report.
    pub(crate) fn nudge(&self) {
        let role = self.lock();
        if role.sleepers > 0 {
            self.changed.notify_all();
        }
        if role.taken {
            // If that fails, reports are there, or the queue is shut down and nobody waits for any.
            let _ = self.queue.try_put(Report::of(What::Nudge, 0).with(&[]));
        }
    }
}

/// The list of the futures that wait for reports; `None` in a forked copy.
#[cfg(feature = "async")]
fn list(reports: &Queue<Vec<u8>>) -> Option<Arc<WaitList>> {
    match reports.awaited() {
        Awaited::Condition(list) => Some(list),
        _ => None,
    }
}

impl Ledger {
    /// A waiter for reports.
    #[cfg(feature = "async")]
    pub(crate) fn waiter(&self) -> Option<multiproc_sync::Waiter> {
        list(&self.reports.queue).as_ref().map(multiproc_sync::Waiter::new)
    }

    /// Waits until `ready` gives something, and takes reports meanwhile; `None` at the deadline.
    pub(crate) fn wait<T>(&self, deadline: Option<Instant>, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        loop {
            if let Some(value) = ready() {
                return Some(value);
            }
            if let Some(_collecting) = self.reports.try_role() {
                return self.collect_until(&left, &mut ready);
            }
            let mut role = self.reports.lock();
            // Under the lock, which the collecting thread takes to tell of results.
            if let Some(value) = ready() {
                return Some(value);
            }
            if !role.taken {
                continue;
            }
            role.sleepers += 1;
            let (mut role, is_late) = match left() {
                Some(left) => {
                    let (role, _) = self.reports.changed.wait_timeout(role, left).unwrap_or_else(PoisonError::into_inner);
                    (role, left == Duration::ZERO)
                }
                None => (self.reports.changed.wait(role).unwrap_or_else(PoisonError::into_inner), false),
            };
            role.sleepers -= 1;
            drop(role);
            if is_late {
                return ready();
            }
        }
    }

    fn collect_until<T>(&self, left: &impl Fn() -> Option<Duration>, ready: &mut impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            // The last collecting thread may have taken it.
            if let Some(value) = ready() {
                return Some(value);
            }
            let got = match left() {
                Some(left) => self.reports.queue.get_many_timeout(BATCH, left),
                None => self.reports.queue.get_many(BATCH),
            };
            // Reports may come as fast as they are taken.
            if !self.received(got) || left() == Some(Duration::ZERO) {
                return ready();
            }
        }
    }

    /// Takes what reports there are, unless another thread does so. Returns whether this one did.
    pub(crate) fn collect_now(&self) -> bool {
        let Some(_collecting) = self.reports.try_role() else { return false };
        // Bounded: workers may report as fast as this thread takes.
        for _ in 0..BATCHES {
            if !self.received(self.reports.queue.try_get_many(BATCH)) {
                break;
            }
        }
        true
    }

    /// Returns whether more reports may come.
    fn received(&self, got: Result<Vec<Vec<u8>>, GetManyError<Vec<u8>>>) -> bool {
        let (reports, error) = match got {
            Ok(reports) => (reports, None),
            Err(GetManyError { values, error }) => (values, Some(error)),
        };
        if !reports.is_empty() {
            self.take(reports);
            let role = self.reports.lock();
            if role.sleepers > 0 {
                self.reports.changed.notify_all();
            }
        }
        match error {
            // A hostile peer put something else.
            None | Some(GetError::Decode(_) | GetError::Form { .. }) => true,
            Some(GetError::Empty | GetError::Timeout | GetError::ShutDown) => false,
            Some(error) => {
                self.end(&format!("its results can't be read: {error:#}"), false);
                false
            }
        }
    }
}
