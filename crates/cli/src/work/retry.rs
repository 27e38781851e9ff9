//! Failed messages, on their way back behind the others.
//!
//! The worker keeps a failed message in its hands until it may run again. So a worker that is killed meanwhile loses nothing, and the
//! message counts as unfinished all the time. It goes back to the queue when its time is due and every message has been taken that
//! waited when it failed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a message waits before it runs again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    /// After the first failure. Each further one doubles it.
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl BackOff {
    pub(crate) fn after(self, deliveries: u16) -> Duration {
        let doubled = 1_u32.checked_shl(u32::from(deliveries.saturating_sub(1))).unwrap_or(u32::MAX);
        self.first.saturating_mul(doubled).min(self.most)
    }
}

/// Messages that wait for their next run, each with a number that makes its key unique.
#[derive(Debug)]
pub(crate) struct Retries<T> {
    by_time: BTreeMap<(Instant, u64), (u64, T)>,
    by_place: BTreeMap<(u64, u64), T>,
    next: u64,
}

impl<T> Retries<T> {
    pub(crate) fn new() -> Self {
        Self { by_time: BTreeMap::new(), by_place: BTreeMap::new(), next: 0 }
    }

    /// Keeps a message until `due`, and until `behind` messages have been taken out of the queue in all.
    pub(crate) fn keep(&mut self, due: Instant, behind: u64, message: T) {
        self.by_time.insert((due, self.next), (behind, message));
        self.next += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_time.is_empty() && self.by_place.is_empty()
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes a message that may run again, after `taken` messages have been taken out of the queue.
    pub(crate) fn pop(&mut self, now: Instant, taken: u64) -> Option<T> {
        while let Some(first) = self.by_time.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, number), (behind, message)) = first.remove_entry();
            self.by_place.insert((behind, number), message);
        }
        self.by_place.first_entry().filter(|first| first.key().0 <= taken).map(|first| first.remove())
    }

    /// Takes a message, whatever it waits for.
    pub(crate) fn pop_any(&mut self) -> Option<T> {
        let by_time = self.by_time.pop_first().map(|(_, (_, message))| message);
        by_time.or_else(|| self.by_place.pop_first().map(|(_, message)| message))
    }

    /// Whether a message waits only for others to be taken.
    pub(crate) fn has_due(&self) -> bool {
        !self.by_place.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_waits_for_its_time_and_for_those_before_it() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut retries = Retries::new();
        retries.keep(now + second, 0, "late");
        retries.keep(now, 5, "behind five");
        assert_eq!(retries.next_due(), Some(now));
        assert_eq!(retries.pop(now, 4), None);
        assert_eq!((retries.pop(now, 5), retries.pop(now, 5)), (Some("behind five"), None));
        assert_eq!(retries.pop(now + second, 5), Some("late"));
        assert!(retries.is_empty());
    }

    #[test]
    fn the_back_off_doubles_up_to_its_limit() {
        let back_off = BackOff { first: Duration::from_secs(1), most: Duration::from_secs(300) };
        let after = [1, 2, 3, 9, 10, 40, u16::MAX].map(|deliveries| back_off.after(deliveries).as_secs());
        assert_eq!(after, [1, 2, 4, 256, 300, 300, 300]);
    }
}
