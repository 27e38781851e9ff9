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
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for ever.
    pub const NEVER: Self = Self(None);

    /// Gives up `timeout` from now. A time-out beyond what the clock can express is [`NEVER`](Self::NEVER).
    pub fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Whether the moment has passed.
    pub fn is_over(self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }

    /// Time left, `None` for [`NEVER`](Self::NEVER), zero when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Time left, but at most `slice`.
    pub fn within(self, slice: Duration) -> Duration {
        self.remaining().map_or(slice, |left| left.min(slice))
    }
}
