//! What a pool wants of its group: time limits, replacements, and when to give up.

use crate::board::{Hand, Stage};
use crate::group::{Policy, Verdict, WorkerEnd};
use crate::ledger::Ledger;
use crate::member::{Member, NotStarted};
use multiproc_prim::monotonic_millis;
use multiproc_process::Exit;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The clock of the board may be that late, in milliseconds: no task is killed before its time.
const TICK: u64 = 10;
/// The pause after the first failure. It doubles with each one that follows, up to a second.
const PAUSE: Duration = Duration::from_millis(10);
/// Weight of a worker that failed by itself before it did anything.
const BY_ITSELF: u32 = 10;
/// Weight of a worker that was killed before it did anything: something else may be the reason.
const BY_SIGNAL: u32 = 1;
/// The weight in a row, for each worker of the pool, at which the pool gives up.
const ENOUGH: u32 = 3 * BY_ITSELF;

/// How often a supervisor takes the reports after a death, and for how long. Another process sends back what the dead one had within 100 ms.
const SETTLE_EVERY: Duration = Duration::from_millis(10);
const SETTLING: Duration = Duration::from_millis(500);

pub(crate) type Launch = Box<dyn FnMut(usize) -> Result<Member, NotStarted> + Send>;

pub(crate) struct PoolPolicy {
    pub(crate) launch: Launch,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) limit: Option<Duration>,
    /// What each worker had in hand when it was killed for being late.
    pub(crate) late: Vec<Option<Hand>>,
    /// The weight of the failures in a row.
    pub(crate) failures: u32,
    /// When a worker died last.
    pub(crate) died: Option<Instant>,
}

impl PoolPolicy {
    fn failed(&mut self, weight: u32, why: String) -> Verdict {
        if self.ledger.take_worked() {
            self.failures = 0;
        }
        self.failures += weight;
        if self.failures >= ENOUGH * self.late.len() as u32 {
            return Verdict::GiveUp(self.ledger.take_failure().unwrap_or(why));
        }
        Verdict::Replace((PAUSE * (1 << (self.failures / BY_ITSELF).min(7))).min(Duration::from_secs(1)))
    }
}

/// Whether something other than the process itself may have sent the signal.
fn is_from_outside(exit: Exit) -> bool {
    // SIGINT, SIGKILL, SIGTERM.
    exit.signal().is_some_and(|signal| [2, 9, 15].contains(&signal))
}

impl Policy for PoolPolicy {
    fn start(&mut self, worker: usize) -> Result<Member, NotStarted> {
        (self.launch)(worker)
    }

    fn ended(&mut self, end: &WorkerEnd, draining: bool) -> Verdict {
        let late = self.late[end.worker].take().zip(self.limit);
        let stage = self.ledger.board.stage(end.worker);
        let was_busy = self.ledger.board.hand(end.worker).0.order().is_some();
        self.ledger.died(end.worker, end.exit, late);
        self.died = Some(Instant::now());
        let weight = if is_from_outside(end.exit) { BY_SIGNAL } else { BY_ITSELF };
        match stage {
            // All tasks have ended.
            _ if draining => Verdict::Finished,
            Stage::Spent => Verdict::Replace(Duration::ZERO),
            Stage::Ready if was_busy || is_from_outside(end.exit) => {
                self.failures = 0;
                Verdict::Replace(Duration::ZERO)
            }
            // The orders were shut down.
            Stage::Ready if end.exit.success() && self.ledger.orders.is_shut_down() => Verdict::Finished,
            Stage::Ready | Stage::Starting => {
                self.failed(weight, format!("a worker ended with {} although it had nothing to do", end.exit))
            }
        }
    }

    fn not_started(&mut self, failure: &NotStarted) -> Verdict {
        let weight = if failure.exit.is_some_and(is_from_outside) { BY_SIGNAL } else { BY_ITSELF };
        self.failed(weight, format!("a worker can't be started: {}", failure.why))
    }

    fn look(&mut self, kill: &mut dyn FnMut(usize)) -> Option<Duration> {
        // What the dead had comes back as a report, and so does the word of a worker that can't work.
        self.ledger.collect_now();
        let has_more = self.ledger.send_again();
        let settles = (has_more || self.died.is_some_and(|died| died.elapsed() < SETTLING)).then_some(SETTLE_EVERY);
        let Some(limit) = self.limit.filter(|_| !self.ledger.is_idle()) else { return settles };
        let limit_millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).saturating_add(TICK);
        let mut next = limit_millis;
        for worker in 0..self.late.len() {
            let (hand, since) = self.ledger.board.hand(worker);
            if hand.order().is_none() || self.late[worker].is_some() {
                continue;
            }
            let age = monotonic_millis().saturating_sub(since);
            if age >= limit_millis {
                self.late[worker] = Some(hand);
                kill(worker);
            } else {
                next = next.min(limit_millis - age);
            }
        }
        let next = Duration::from_millis(next);
        Some(settles.map_or(next, |settles| settles.min(next)))
    }

    fn over(&mut self, why: Option<&str>) {
        // Without workers nothing that is left can end.
        self.ledger.end_what_is_left(why);
    }
}
