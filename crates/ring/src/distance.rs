//! How closely one side of a ring follows the other.

use multiproc_prim::{Hint, spin_loop};
use std::time::{Duration, Instant};

/// Keeps the faster side of a ring from walking on the heels of the slower one.
///
/// It would take away the cache lines that the slower side works on, at every few messages, and slow both down. So a side that comes
/// to the end of what was ready hangs back for a moment, if the other side has made a good many messages ready since the last time: until
/// about a quarter of the ring is there to do at once. A side that waits for single messages never hangs back.
#[derive(Debug)]
pub(crate) struct Distance {
    /// The longest wait, in nanoseconds.
    longest: u64,
    /// A guess of where this side came to the end the last time: a thread of this process may have been elsewhere since.
    last: Hint,
    /// A guess of how many nanoseconds let the other side get ahead far enough.
    wait: Hint,
}

/// Messages without a break that show that the other side works without one.
const BURST: u64 = 8;
/// Nanoseconds. Two looks at the clock and the pauses between them take about as long as the first.
const LEAST: u64 = 100;
const NEAR: u64 = 250;
const FAR: u64 = 8_000;
/// Pauses of the processor between two looks at the clock. One takes 10 to 45 ns, as the processor has it.
const PAUSES: u64 = 4;
const SHORTEST_PAUSE: u64 = 10;

impl Distance {
    /// Up to a quarter of a microsecond: for a side whose messages lie in a few bytes each.
    pub(crate) fn near() -> Self {
        Self::up_to(NEAR)
    }

    /// Up to eight microseconds: for a side that would disturb more. Each look of a producer whose ring is full, at a slot's old block, takes
    /// that block's line out of the consumer's hands. Each look of a reader of records takes the line that the writer is filling.
    pub(crate) fn far() -> Self {
        Self::up_to(FAR)
    }

    fn up_to(longest: u64) -> Self {
        Self { longest, last: Hint::default(), wait: Hint::default() }
    }

    /// At the end of what was ready, which is message number `position`, in a ring of `capacity` messages. Returns whether it waited,
    /// so that another look is worth while.
    pub(crate) fn hang_back(&self, position: u64, capacity: u64) -> bool {
        let done = position.wrapping_sub(self.last.get());
        if done == 0 {
            return false;
        }
        self.last.set(position);
        let known = self.wait.get();
        let wait = match done {
            ..BURST => 0,
            _ if done < capacity / 4 => (2 * known).clamp(LEAST, self.longest),
            _ if done > capacity / 2 && known < 2 * LEAST => 0,
            _ if done > capacity / 2 => known / 2,
            _ => known,
        };
        self.wait.set(wait);
        if wait == 0 {
            return false;
        }
        let begun = Instant::now();
        // Whatever the clock says, it is over after as many rounds as the shortest pauses would take.
        for _ in 0..=wait / (PAUSES * SHORTEST_PAUSE) {
            (0..PAUSES).for_each(|_| spin_loop());
            if begun.elapsed() >= Duration::from_nanos(wait) {
                break;
            }
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Distance;

    #[test]
    fn a_side_that_waits_for_single_messages_never_hangs_back() {
        let distance = Distance::near();
        for position in 0..1000 {
            assert!(!distance.hang_back(position, 64));
            assert!(!distance.hang_back(position, 64));
        }
    }

    #[test]
    fn bursts_are_followed_at_a_distance_which_shrinks_when_they_fill_the_ring() {
        let distance = Distance::near();
        assert!(distance.hang_back(10, 64));
        assert!(!distance.hang_back(10, 64), "nothing came in between");
        assert!(distance.hang_back(20, 64));
        let far = distance.wait.get();
        assert!(distance.hang_back(60, 64));
        assert!(distance.wait.get() < far);
        assert!(!distance.hang_back(61, 64));
    }
}
