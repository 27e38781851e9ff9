//! How long an operation may take.

use std::time::{Duration, Instant};

/// How long a call that must not wait allows for the server's answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The deadline of one call, and whether it waits for room or for a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    pub(crate) waits: bool,
    /// `None`: never.
    pub(crate) at: Option<Instant>,
}

impl Until {
    pub(crate) const NEVER: Self = Self { waits: true, at: None };

    /// Does not wait for room or for a value, only for the server's answer.
    pub(crate) fn now() -> Self {
        Self { waits: false, at: Instant::now().checked_add(ANSWER) }
    }

    pub(crate) fn after(timeout: Duration) -> Self {
        Self { waits: true, at: Instant::now().checked_add(timeout) }
    }

    pub(crate) fn is_over(self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// What is left, at most `most`.
    pub(crate) fn left(self, most: Duration) -> Duration {
        self.at.map_or(most, |at| at.saturating_duration_since(Instant::now()).min(most))
    }

    /// The same, but no longer than this from now.
    pub(crate) fn within(self, limit: Duration) -> Self {
        Self { waits: self.waits, at: Instant::now().checked_add(self.left(limit)) }
    }
}
