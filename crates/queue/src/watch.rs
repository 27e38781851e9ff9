//! When to look for the dead: at once when the kernel tells a lookout of a death, and now and then whatever it tells.
//!
//! A process that sleeps relies on the lookouts (`multiproc_shm`), where there are any. A process that works looks by itself
//! before it takes a value: under constant load nobody sleeps, and a stopped lookout must not keep what the dead left from the
//! living.

use crate::attachment::Attachment;
use crate::layout::Flavor;
use multiproc_prim::{AtomicU64, Ordering, monotonic_millis};
use multiproc_shm::{Notice, Watched};
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Looks for the dead are at least this far apart, in milliseconds, however many processes work or wait.
const APART: u64 = 25;

/// Operations between two looks at the clock, where no value can come back.
const SELDOM: u64 = 64;

/// How long to sleep while there are lookouts: about so long at least, and at most. A look turns a hang into a delay in three
/// cases: all lookouts are stopped; a process was stopped between its operation and the wake-up for it; a copy that the C library
/// does not know of still holds a lock of the dead.
const REST: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);

/// The time between two looks of all sleepers together.
const TOGETHER: Duration = Duration::from_millis(250);

/// How long to sleep where no lookout can be: short enough that a look in its turn, on a busy machine, comes within 100 ms of a
/// death.
const ALONE: Duration = Duration::from_millis(50);

/// How long to sleep at most after a shutdown, where some waits end by time alone.
const LAST: Duration = Duration::from_secs(1);

impl Attachment {
    /// Before a value is taken: looks for the dead, if it is time. What they had in hand comes before new values. Returns the time, in
    /// milliseconds of the monotonic clock; 0 where no value stays in hand.
    #[inline(always)]
    pub(crate) fn glance(&self) -> u64 {
        if self.shape.flavor == Flavor::Joinable {
            return self.look_if_due();
        }
        self.glance_seldom();
        0
    }

    /// Where no value can come back to this call: looks at the clock at every few operations only.
    #[inline(always)]
    pub(crate) fn glance_seldom(&self) {
        let count = self.operations.get().wrapping_add(1);
        self.operations.set(count);
        if count % SELDOM == 0 {
            self.look_if_due();
        }
    }

    /// Before an answer that a death may change: looks for the dead, if it is time. A forked copy of the process does not: it only reads.
    pub(crate) fn look_to_answer(&self) {
        if !self.membership.is_inherited() {
            self.look_if_due();
        }
    }

    /// Before what waits is counted: what the dead had in hand may come back, and the end of a queue that was split may have come.
    pub(crate) fn look_to_count(&self) -> &Self {
        if self.shape.flavor == Flavor::Joinable || self.is_split() {
            self.look_to_answer();
        }
        self
    }

    #[inline(always)]
    fn look_if_due(&self) -> u64 {
        let now = monotonic_millis();
        if is_due(&self.words.looked, now) {
            self.give_back_again();
            self.sweep_the_dead();
        }
        now
    }

    /// Between two sleeps: looks for the dead, if it is time. Returns how long the next sleep may take.
    pub(crate) fn look_around(&self) -> Duration {
        self.give_back_again();
        if is_due(&self.words.looked, monotonic_millis()) {
            self.sweep_the_dead();
            self.channel.nudge(self.lanes());
        }
        let notice = self.membership.keep_watch(&self.itself);
        if notice == Notice::Us {
            self.sweep_the_dead();
        }
        let rest = match notice {
            Notice::Nobody => ALONE,
            Notice::Lookout | Notice::Us => rest(self.membership.others().count()),
        };
        if self.channel.is_shut_down() { rest.min(LAST) } else { rest }
    }
}

impl Watched for Attachment {
    fn look(&self) {
        if !self.membership.is_inherited() {
            self.give_back_again();
            self.sweep_the_dead();
        }
    }

    fn wake_everyone(&self) {
        self.channel.wake_everyone();
        self.words.all_done.wake_all();
    }
}

/// How long to sleep while there are lookouts. All sleepers share the looking: the more they are, the longer each one sleeps, for
/// a random time, so that their turns spread. `others` are the participants beside this one.
fn rest(others: usize) -> Duration {
    let all = TOGETHER.saturating_mul(u32::try_from(others + 1).unwrap_or(u32::MAX));
    let chance = RandomState::new().hash_one(others) as u32;
    all.clamp(*REST.start(), *REST.end()).mul_f64(0.5 + f64::from(chance) / f64::from(u32::MAX))
}

/// Whether to look for the dead now: no process did in the last milliseconds.
#[inline]
fn is_due(looked: &AtomicU64, now: u64) -> bool {
    // Relaxed: it only spares work. A time in the future is a hostile peer's or another time namespace's, and counts as long ago.
    let last = looked.load(Ordering::Relaxed);
    let recent = last <= now && now - last < APART;
    !recent && looked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}
