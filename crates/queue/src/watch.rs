//! When to look for the dead: at once when the kernel tells a lookout of an end, and now and then whatever it tells.
//!
//! A process that sleeps relies on the lookouts (`multiproc_shm`), where there are any. A process that works looks by itself, before
//! it takes: under constant load nobody sleeps, and a stopped lookout must keep nobody from what the dead left.

use multiproc_prim::{AtomicU64, Ordering, monotonic_millis};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Looks at the dead are at least this far apart, in milliseconds, however many processes work or wait.
const APART: u64 = 25;

/// How long to sleep while there are lookouts: about so long at least, and at most. They may all be stopped; a process may be stopped between what it
/// did and the wake-up for it; and a lock of the dead may be held by a copy that no C library knew of. A look turns into a delay what
/// would be a hang.
const REST: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);

/// The time between two looks of all sleepers together.
const TOGETHER: Duration = Duration::from_millis(250);

/// How long to sleep while there are lookouts. All that sleep share the looking: the more they are the longer each one sleeps, at
/// random, so that their turns spread. `others` are the participants beside this one.
pub(crate) fn rest(others: usize) -> Duration {
    let all = TOGETHER.saturating_mul(u32::try_from(others + 1).unwrap_or(u32::MAX));
    let chance = RandomState::new().hash_one(others) as u32;
    all.clamp(*REST.start(), *REST.end()).mul_f64(0.5 + f64::from(chance) / f64::from(u32::MAX))
}

/// How long to sleep where no lookout can be: short enough that a look in its turn, on a busy machine, comes within 100 ms of a death.
pub(crate) const ALONE: Duration = Duration::from_millis(50);

/// How long to sleep at most after a shutdown: some of what ends a wait is told by time alone.
pub(crate) const LAST: Duration = Duration::from_secs(1);

/// Whether to look for the dead now: nobody did in the last milliseconds.
#[inline]
pub(crate) fn is_due(looked: &AtomicU64) -> bool {
    let now = monotonic_millis();
    // Relaxed: it only spares work. A time in the future is a hostile peer's or another time namespace's, and counts as long ago.
    let last = looked.load(Ordering::Relaxed);
    let recent = last <= now && now - last < APART;
    !recent && looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
