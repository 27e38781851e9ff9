//! When to look for the dead: at once when the kernel tells a lookout of an end, and now and then whatever it tells.
//!
//! A process that sleeps relies on the lookouts (`multiproc_shm`), where there are any. A process that works looks by itself, before
//! it takes: under constant load nobody sleeps, and a stopped lookout must keep nobody from what the dead left.

use multiproc_prim::{AtomicU64, Ordering, monotonic_millis};
use std::time::Duration;

/// Looks at the dead are at least this far apart, in milliseconds, however many processes work or wait.
const APART: u64 = 25;

/// How long to sleep while a lookout is there. Nothing should happen that needs this: it turns into a delay what would be a hang, such
/// as the death of a process whose lock a copy of it holds that no C library knew of.
pub(crate) const REST: Duration = Duration::from_secs(10);

/// How long to sleep where no lookout can be: short enough that a look in its turn, on a busy machine, comes within 100 ms of a death.
pub(crate) const ALONE: Duration = Duration::from_millis(50);

/// Whether to look for the dead now: nobody did in the last milliseconds.
#[inline]
pub(crate) fn is_due(looked: &AtomicU64) -> bool {
    let now = monotonic_millis();
    // Relaxed: it only spares work. A time in the future is a hostile peer's or another time namespace's, and counts as long ago.
    let last = looked.load(Ordering::Relaxed);
    let recent = last <= now && now - last < APART;
    !recent && looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
