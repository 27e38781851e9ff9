//! The few shared words that watching over the dead needs.

use multiproc_prim::{AtomicU64, Ordering, monotonic_millis};
use multiproc_ring::mpmc::Completion;

/// Looks at the dead are at least this far apart, in milliseconds, however many processes wait.
const APART: u64 = 30;

/// Whether nobody looked for the dead a moment ago. If so, the caller does.
pub(crate) fn is_due(looked: &AtomicU64) -> bool {
    let now = monotonic_millis();
    // Relaxed: it only spares work. A time in the future is a hostile peer's, and counts as long ago.
    let last = looked.load(Ordering::Relaxed);
    let recent = last <= now && now - last < APART;
    !recent && looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// What a participant finished.
pub(crate) fn completion(done: &AtomicU64) -> Completion {
    Completion(done.load(Ordering::Acquire))
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

pub(crate) fn clear(counter: &AtomicU64) {
    counter.store(0, Ordering::Release);
}
