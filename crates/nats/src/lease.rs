//! What this process has in hand, and the word to the server that it still works on it.
//!
//! To the server a value in hand is a loan for the time of the lease. One task says every quarter of it that all values are worked on, and
//! notes until when each loan surely lasts: from the moment when the last word that was answered in time was sent. A loan that has run
//! out by this reckoning has *lapsed*: the server may have given the value to another consumer.
//!
//! The server takes the acknowledgement of a lapsed loan, and would then remove the value under the other consumer's hands. So a consumer
//! that gets a value for the second time writes a *claim* before it begins, and a consumer with a lapsed loan looks for one before it says
//! done.

use crate::core::{Core, Lane};
use crate::until::Until;
use async_nats::connection::State;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

const WORKING: Bytes = Bytes::from_static(b"+WPI");

/// The loans of this process.
#[derive(Debug)]
pub(crate) struct Leases {
    lease: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    loans: HashMap<u64, Loan>,
}

#[derive(Clone, Debug)]
pub(crate) struct Loan {
    pub(crate) lane: Lane,
    /// The subject of its acknowledgements.
    pub(crate) ack: String,
    pub(crate) sequence: u64,
    pub(crate) count: u64,
    /// The thread that got it.
    thread: Option<ThreadId>,
    lasts_until: Instant,
    lapsed: bool,
    /// Another consumer has it.
    lost: bool,
}

impl Leases {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a value that came just now. The server lent it a little earlier: a fifth of the lease is allowed for the way.
    pub(crate) fn add(&self, lane: Lane, ack: String, sequence: u64, count: u64) -> u64 {
        let lasts_until = Instant::now() + self.lease * 4 / 5;
        let mut table = self.table();
        table.last += 1;
        let id = table.last;
        table.loans.insert(id, Loan { lane, ack, sequence, count, thread: None, lasts_until, lapsed: false, lost: false });
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        self.table().loans.remove(&id);
    }

    /// Notes which thread works on it.
    pub(crate) fn give_to(&self, id: u64, thread: Option<ThreadId>) {
        if let Some(loan) = self.table().loans.get_mut(&id) {
            loan.thread = thread;
        }
    }

    /// How many values this thread got and has not finished.
    pub(crate) fn of_thread(&self, thread: Option<ThreadId>) -> u64 {
        let Some(thread) = thread else { return 0 };
        self.table().loans.values().filter(|loan| loan.thread == Some(thread) && loan.lane == Lane::Values).count() as u64
    }

    /// Whether the loan may have run out.
    pub(crate) fn is_lapsed(&self, id: u64) -> bool {
        self.table().loans.get_mut(&id).is_none_or(|loan| {
            loan.lapsed |= loan.lasts_until <= Instant::now();
            loan.lapsed
        })
    }

    pub(crate) fn lose(&self, id: u64) {
        if let Some(loan) = self.table().loans.get_mut(&id) {
            loan.lost = true;
        }
    }

    fn all(&self, lane: Lane) -> Vec<(u64, Loan)> {
        let now = Instant::now();
        let mut table = self.table();
        let loans = table.loans.iter_mut().filter(|(_, loan)| loan.lane == lane && !loan.lost);
        loans
            .map(|(&id, loan)| {
                loan.lapsed |= loan.lasts_until <= now;
                (id, loan.clone())
            })
            .collect()
    }

    /// The server had word of these, sent at this moment. One that had run out before the answer came may have been given away.
    fn renew(&self, ids: impl Iterator<Item = u64>, sent: Instant) {
        let now = Instant::now();
        let mut table = self.table();
        for id in ids {
            if let Some(loan) = table.loans.get_mut(&id) {
                loan.lapsed |= loan.lasts_until <= now;
                loan.lasts_until = sent + self.lease;
            }
        }
    }
}

/// Says word for all that is in hand, as long as the queue is used.
pub(crate) async fn keep(core: Weak<Core>, lease: Duration) {
    let every = lease / 4;
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(core) = core.upgrade() else { return };
        for lane in [Lane::Values, Lane::Dead] {
            // A word that can't be sent is no word: the next one tries again.
            let _ = tokio::time::timeout(every, say_word(&core, lane, every)).await;
        }
    }
}

async fn say_word(core: &Core, lane: Lane, every: Duration) {
    let client = core.link.client();
    if client.connection_state() != State::Connected {
        // Words that wait in a buffer say nothing.
        return;
    }
    let mut loans = core.leases.all(lane);
    for (id, loan) in loans.iter_mut().filter(|(_, loan)| loan.lapsed && loan.lane == Lane::Values) {
        if core.is_claimed(loan.sequence, loan.count, Until::after(every)).await.unwrap_or(false) {
            core.leases.lose(*id);
            loan.lost = true;
        }
    }
    loans.retain(|(_, loan)| !loan.lost);
    // The newest one goes last: a server that was killed may have forgotten old ones, and does not answer for them.
    loans.sort_by_key(|(id, _)| *id);
    let Some(((_, last), others)) = loans.split_last() else { return };
    let (sent, connections) = (Instant::now(), core.link.connections());
    for (_, loan) in others {
        if client.publish(loan.ack.clone(), WORKING).await.is_err() {
            return;
        }
    }
    // The server heeds the words for one consumer in their order, so an answer to the last one is an answer to all.
    let answer = core.link.ask(&last.ack, None, &WORKING, Until::after(every)).await;
    // But a connection that broke on the way may have lost some of them.
    if answer.is_ok() && !connections.has_changed().unwrap_or(true) {
        core.leases.renew(loans.iter().map(|(id, _)| *id), sent);
    }
}
