//! When a get ends after a shutdown: once no value can come back any more.
//!
//! A thread with nothing in hand ends when everything is done. A thread with values in hand can't finish them while it waits. All
//! that is not done may be in the hands of threads that wait. Then one of them ends: the first thread of the first process in the
//! table. It finishes its values, and another thread is the first. Or it dies, and its values go to the threads that still wait.
//! The first thread may be stopped: after a while, the others end as well.
//!
//! A delivery may still be with the thread that got it, which then waits for itself. Or it is with another thread, which works on
//! it and may give it back. Nothing tells which. So the thread that got it waits for it at first, and after a while counts it as
//! its own.

use crate::attachment::Attachment;
use crate::layout::{Flavor, Tally, tally_of};
use multiproc_prim::{AtomicU64, Ordering, monotonic_millis};
use multiproc_shm::Participant;
use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Values that a thread got and that are not in its list: its deliveries, wherever those are now, and messages that it reads in
/// place.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    /// How many, and whether they are counted.
    word: AtomicU64,
    /// When the thread began to wait for them after a shutdown, in milliseconds of the monotonic clock; 0: not yet. One wait may
    /// take many calls.
    since: AtomicU64,
}

impl Apart {
    /// The thread waits after a shutdown, and its values are counted in its process's tally.
    const COUNTED: u64 = 1 << 63;

    /// How many there are, once they are counted in the tally.
    fn counted(&self) -> u64 {
        Self::counted_in(self.word.load(Ordering::Acquire))
    }

    const fn counted_in(word: u64) -> u64 {
        if word & Self::COUNTED == 0 { 0 } else { word & !Self::COUNTED }
    }

    pub(crate) fn add(&self) {
        self.since.store(0, Ordering::Relaxed);
        self.word.fetch_add(1, Ordering::AcqRel);
    }

    /// Subtracts one. Call it before the value is finished or given back: a process that sees the end of the value then sees a
    /// tally without it.
    pub(crate) fn remove(&self, attachment: &Attachment) {
        // For both steps, after a shutdown: a thread that is first once we are not must find our value no longer counted.
        let _line = attachment.channel.is_shut_down().then(|| attachment.waiters.lock());
        // Adding this subtracts one.
        let before = self.word.fetch_add(u64::MAX, Ordering::AcqRel);
        self.since.store(0, Ordering::Relaxed);
        if before & Self::COUNTED != 0 {
            if let Some(tally) = attachment.tally() {
                tally.wait_with_less(1);
            }
        }
    }

    /// Whether the thread has waited long enough for values that may be in its own hands. All of it is relaxed: it is about time,
    /// not about order.
    fn is_out_of_patience(&self) -> bool {
        let now = monotonic_millis().max(1);
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            self.since.store(now, Ordering::Relaxed);
        }
        since != 0 && now.saturating_sub(since) >= PATIENCE_APART
    }
}

/// The threads of this process that wait for values after a shutdown, the first to come first. A forked copy never takes the
/// lock: it has an attachment of its own.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Waiter>>);

#[derive(Clone, Debug)]
struct Waiter {
    /// Values in its list.
    held: u64,
    apart: Arc<Apart>,
}

impl Waiter {
    fn in_hand(&self) -> u64 {
        self.held + self.apart.counted()
    }
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This thread's wait after a shutdown. While it lasts, other processes know that the thread can't finish its values.
pub(crate) struct Wait<'a> {
    attachment: &'a Attachment,
    tally: &'a Tally,
    waiter: Waiter,
    /// Since when all that is not done is in the hands of threads that wait.
    stuck_since: Cell<Option<Instant>>,
}

/// How long the others wait for the first thread to end, which may be stopped.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a thread waits for its deliveries, which another thread may give back, in milliseconds.
const PATIENCE_APART: u64 = 3000;

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let Waiter { held, apart } = &self.waiter;
        // For all of it: a thread that is first once we have left must find our values no longer counted.
        let mut waiters = self.attachment.waiters.lock();
        let counted = Apart::counted_in(apart.word.fetch_and(!Apart::COUNTED, Ordering::AcqRel));
        self.tally.wait_with_less(held + counted);
        waiters.retain(|other| !Arc::ptr_eq(&other.apart, apart));
    }
}

impl Wait<'_> {
    /// Counts the values that may be in this thread's hands.
    fn count_apart(&self) {
        // From here on, a thread that finishes one of these values subtracts it from the tally. Until `wait_with` below, the
        // tally may fall below zero: the word then shows another epoch, which counts as nothing.
        let before = self.waiter.apart.word.fetch_or(Apart::COUNTED, Ordering::AcqRel);
        if before & Apart::COUNTED == 0 {
            self.tally.wait_with(before);
            self.attachment.channel.wake_everyone();
        }
    }

    /// Whether this thread is the first one of its process that has something in hand.
    fn is_first_here(&self) -> bool {
        let waiters = self.attachment.waiters.lock();
        let first = waiters.iter().find(|waiter| waiter.in_hand() > 0);
        first.is_some_and(|first| Arc::ptr_eq(&first.apart, &self.waiter.apart))
    }

    /// Whether everything has been in the hands of threads that wait for long enough. `stuck`: whether it is now.
    fn is_out_of_patience(&self, stuck: bool) -> bool {
        let since = self.stuck_since.get().filter(|_| stuck);
        self.stuck_since.set(stuck.then(|| since.unwrap_or_else(Instant::now)));
        since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }
}

impl Attachment {
    /// Begins this thread's wait; `None` where no value can come back.
    pub(crate) fn wait_after_shutdown(&self) -> Option<Wait<'_>> {
        let tally = self.tally().filter(|_| self.shape.flavor == Flavor::Joinable)?;
        let (held, apart) = self.in_hand_here();
        tally.wait_with(held);
        let waiter = Waiter { held, apart };
        self.waiters.lock().push(waiter.clone());
        // Other threads need not wait for our values from now on.
        self.channel.wake_everyone();
        Some(Wait { attachment: self, tally, waiter, stuck_since: Cell::new(None) })
    }

    /// Whether a get that found nothing after a shutdown is at its end.
    pub(crate) fn is_over(&self, wait: Option<&Wait<'_>>) -> bool {
        let Some(wait) = wait else { return true };
        // Read before the tallies: a value that they count as waiting was not done when this was read.
        let unfinished = self.unfinished();
        if unfinished == 0 {
            return true;
        }
        if wait.waiter.apart.is_out_of_patience() {
            wait.count_apart();
        }
        if wait.waiter.in_hand() == 0 {
            return false;
        }
        // Before the tallies, too: if we are the first because another thread left the line, its values are in no tally any more.
        let is_first_here = wait.is_first_here();
        let me = self.membership.participant();
        let waits_with = |who: Participant| tally_of(&self.tallies, who).map_or(0, |tally| tally.waits_with(who));
        let others: Vec<_> = self.membership.others().filter(|who| waits_with(*who) > 0).collect();
        let waiting = others.iter().fold(waits_with(me), |sum, who| sum.saturating_add(waits_with(*who)));
        // The values of the dead come back.
        let stuck = unfinished <= waiting && !others.iter().any(|who| self.membership.is_dead(*who));
        let is_out_of_patience = wait.is_out_of_patience(stuck);
        stuck && (is_out_of_patience || is_first_here && others.iter().all(|who| who.row > me.row))
    }
}
