//! `--halt`: when failures, or successes, end the work.

use std::str::FromStr;

/// When to stop before the queue is empty, as GNU parallel says it: `now,fail=1`, `soon,fail=10%`, `now,success=1`, `soon,done=100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    /// Whether running jobs are ended, too.
    pub(crate) now: bool,
    counts: Counts,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Failed,
    Succeeded,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Jobs(u64),
    Percent(u64),
}

/// A percentage of fewer jobs says nothing.
const ENOUGH_FOR_PERCENT: u64 = 10;

/// How the jobs ended so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
}

impl Halt {
    pub(crate) fn is_reached(self, tally: Tally) -> bool {
        let ended = tally.succeeded + tally.failed;
        let counted = match self.counts {
            Counts::Failed => tally.failed,
            Counts::Succeeded => tally.succeeded,
            Counts::Ended => ended,
        };
        match self.limit {
            Limit::Jobs(jobs) => counted >= jobs,
            Limit::Percent(percent) => {
                ended >= ENOUGH_FOR_PERCENT && counted.saturating_mul(100) >= percent.saturating_mul(ended)
            }
        }
    }

    /// Whether the first failure ends the work. The exit code is that job's own then.
    pub(crate) fn is_at_first_failure(self) -> bool {
        self.counts == Counts::Failed && self.limit == Limit::Jobs(1)
    }

    pub(crate) fn is_at_success(self) -> bool {
        self.counts == Counts::Succeeded
    }
}

impl FromStr for Halt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explained = || format!("{text:?} is none of now,fail=N  soon,fail=N%  now,success=N  soon,done=N");
        let (when, rest) = text.split_once(',').ok_or_else(explained)?;
        let (what, limit) = rest.split_once('=').ok_or_else(explained)?;
        let now = match when {
            "now" => true,
            "soon" => false,
            _ => return Err(explained()),
        };
        let counts = match what {
            "fail" => Counts::Failed,
            "success" => Counts::Succeeded,
            "done" => Counts::Ended,
            _ => return Err(explained()),
        };
        let number = |digits: &str| digits.parse().ok().filter(|number| *number > 0).ok_or_else(explained);
        let limit = match limit.strip_suffix('%') {
            Some(percent) => Limit::Percent(Some(number(percent)?).filter(|percent| *percent <= 100).ok_or_else(explained)?),
            None => Limit::Jobs(number(limit)?),
        };
        Ok(Self { now, counts, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_share_of_enough_jobs() {
        let is_reached = |halt: &str, succeeded, failed| halt.parse::<Halt>().unwrap().is_reached(Tally { succeeded, failed });
        assert!(!is_reached("now,fail=2", 9, 1) && is_reached("now,fail=2", 0, 2));
        assert!(!is_reached("soon,fail=20%", 0, 9) && is_reached("soon,fail=20%", 8, 2) && !is_reached("soon,fail=20%", 9, 2));
        assert!(is_reached("now,success=1", 1, 0) && is_reached("now,done=2", 1, 1));
        for wrong in ["", "now", "now,fail", "later,fail=1", "now,fail=0", "now,fail=x%", "soon,fail=101%", "now,fails=1"] {
            assert!(wrong.parse::<Halt>().is_err(), "{wrong}");
        }
    }
}
