//! Deadlines on the monotonic clock.

use std::time::{Duration, Instant};

/// The moment after which a wait gives up, fixed once when the wait begins.
///
/// Signals and false wake-ups neither shorten nor lengthen it, because every retry asks the same deadline again.
///
/// ```
/// use multiproc_prim::Deadline;
/// use std::time::Duration;
///
/// assert!(Deadline::after(Duration::ZERO).is_over());
/// assert!(!Deadline::NEVER.is_over());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(When);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Never,
    At(Instant),
    Passed,
}

impl Deadline {
    /// Never passes: a wait lasts for ever.
    pub const NEVER: Self = Self(When::Never);

    /// Has always passed: nothing waits.
    pub const NOW: Self = Self(When::Passed);

    /// The moment `timeout` from now. A time-out beyond what the clock can express is [`NEVER`](Self::NEVER).
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout).map_or(When::Never, When::At))
    }

    /// Whether the moment has passed.
    #[inline]
    pub fn is_over(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// Time left: `None` for [`NEVER`](Self::NEVER), zero once the moment has passed.
    #[inline]
    pub fn remaining(self) -> Option<Duration> {
        match self.0 {
            When::Never => None,
            When::At(moment) => Some(moment.saturating_duration_since(Instant::now())),
            When::Passed => Some(Duration::ZERO),
        }
    }

    /// Time left, but at most `slice`.
    pub fn within(self, slice: Duration) -> Duration {
        self.remaining().map_or(slice, |left| left.min(slice))
    }
}

/// Milliseconds on the monotonic clock, as of its last tick a few milliseconds ago.
///
/// It costs a few nanoseconds. Every process of the machine reads the same clock, so that processes can compare what they read.
pub fn monotonic_millis() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}
