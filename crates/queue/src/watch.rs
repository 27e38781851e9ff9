//! Watching over the dead: who of those that sleep looks, and when.
//!
//! Waking up costs far more than looking, so of all who sleep only one, the lookout, wakes up often. The others wake up in
//! turn, one per slice, to see whether there still is a lookout; whoever finds that nobody looked takes over.

use crate::layout::Tally;
use multiproc_prim::{AtomicU64, Ordering, monotonic_millis};
use multiproc_shm::Look;
use multiproc_sync::SLICE;
use std::time::Duration;

/// Looks at the dead are at least this far apart, in milliseconds, however many processes wait.
const APART: u64 = 25;
/// Hard looks are this far apart, in milliseconds.
const HARD_APART: u64 = 1000;

/// How to look for the dead now; `None` if somebody did a moment ago.
pub(crate) fn due(looked: &AtomicU64) -> Option<Look> {
    let now = monotonic_millis();
    // Relaxed: it only spares work. A time in the future is a hostile peer's, and counts as long ago.
    let last = looked.load(Ordering::Relaxed);
    let recent = last <= now && now - last < APART;
    let ours = !recent && looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    let how = if last / HARD_APART == now / HARD_APART { Look::Quick } else { Look::Hard };
    ours.then_some(how)
}

/// How long to sleep now: a slice for the lookout, until our turn among the sleepers for all others.
pub(crate) fn next_slice<'a>(tallies: impl Iterator<Item = &'a Tally>, me: &Tally, is_lookout: bool) -> Duration {
    if is_lookout {
        return SLICE;
    }
    let (mut sleepers, mut before) = (0u64, 0u64);
    for tally in tallies {
        if std::ptr::eq(tally, me) {
            before = sleepers;
        }
        sleepers += u64::from(tally.asleep.load(Ordering::Relaxed) != 0);
    }
    let slice = SLICE.as_millis() as u64;
    let round = slice * sleepers.max(1);
    // Our turn comes at the same point of every round, at least half a slice from now.
    let now = monotonic_millis() + slice / 2;
    Duration::from_millis(slice / 2 + (before * slice + round - now % round) % round)
}
