//! What the parent knows of each order that has no answer yet, and what it does when a worker dies.
//!
//! An order that a dead worker had comes back through another worker ([`What::Returned`]). By then the board says what the dead one had
//! in hand. Both sides may come first: the supervisor that clears the dead worker's row, or the thread that reads the report. Each looks
//! under the lock for what the other one has left.

use crate::board::{At, Board, Hand, MOST_ELEMENTS};
use crate::collect::Reports;
use crate::error::{JoinPoolError, SubmitError, TaskError};
use crate::function::{Enter, Key, Name};
use crate::message::{MAX_MESSAGE, Order, Report, Results, What};
use multiproc_prim::stamp;
use multiproc_process::Exit;
use multiproc_queue::{JoinableQueue, PutError, Queue};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod entries;

/// Where the results of one call go.
pub(crate) trait Job: Send + Sync {
    /// Results of the elements from `first` on.
    fn deliver(&self, first: usize, results: Results);

    /// Elements have no result.
    fn fail(&self, elements: Range<usize>, error: &TaskError);

    /// The job's order has another number from now on. For jobs of one order.
    fn renumber(&self, _number: u64) {}
}

/// An order without an answer.
struct Entry {
    job: Arc<dyn Job>,
    /// The job's number of the order's element 0.
    base: usize,
    /// Elements without results.
    open: Range<u32>,
    /// How often the element was begun before. Above 0 only where there is one.
    attempts: u32,
    /// How many workers died while they read or wrote it.
    strikes: u32,
    slot: u32,
    cancelled: bool,
    /// The order as it came back, when the supervisor has not seen the death yet.
    returned: Option<Vec<u8>>,
}

/// Orders after which a thread that submits takes the reports.
const COLLECT_EVERY: u64 = 128;

/// Deaths while arguments are read or results written, after which an order is split in two.
const STRIKES: u32 = 3;
/// How often an order may come back that no worker had in hand: workers may have died while they got it.
const UNSEEN: u32 = 10;

/// How a worker ended, and with what in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    hand: Hand,
    exit: Exit,
    /// The limit that the element ran past, if that is why.
    late: Option<Duration>,
    /// It was killed for being late, and was an element further by then.
    spared: bool,
}

enum Phase {
    Open,
    Closed,
    /// Why, and whether the program asked for it.
    Ended(String, bool),
}

struct State {
    entries: HashMap<u64, Entry, BuildHasherDefault<entries::Mix>>,
    last: u64,
    /// Slots that no order has, and how many were ever made.
    free: Vec<u32>,
    made: usize,
    phase: Phase,
    deaths: HashMap<u64, Death>,
    /// Orders to be sent again, for which there was no room.
    again: VecDeque<(u64, Vec<u8>)>,
    /// Why a worker could not work, by its own words.
    failure: Option<String>,
    /// Whether a worker has sent results since the last question.
    worked: bool,
}

/// The orders of one pool.
pub(crate) struct Ledger {
    state: Mutex<State>,
    pub(crate) reports: Reports,
    pub(crate) board: Board,
    pub(crate) orders: JoinableQueue<Vec<u8>>,
    pub(crate) key: Key,
    retries: u32,
    /// The process whose pool it is.
    stamp: u64,
}

/// Arguments for some elements of a job.
pub(crate) struct Lot {
    pub(crate) base: usize,
    pub(crate) count: usize,
    /// The encoded arguments, behind [`Order::LEN`] bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Ledger {
    pub(crate) fn new(board: Board, orders: JoinableQueue<Vec<u8>>, reports: Queue<Vec<u8>>, retries: u32) -> Self {
        let state = State {
            entries: HashMap::default(),
            last: 0,
            free: Vec::new(),
            made: 0,
            phase: Phase::Open,
            deaths: HashMap::new(),
            again: VecDeque::new(),
            failure: None,
            worked: false,
        };
        let reports = Reports::new(reports);
        Self { state: Mutex::new(state), reports, board, orders, key: Key::new(), retries, stamp: stamp() }
    }

    /// Whether this process is a forked copy of the one that made the pool. A copy takes no lock of it.
    pub(crate) fn is_inherited(&self) -> bool {
        self.stamp != stamp()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self, enter: Enter) -> Name {
        self.key.name(enter)
    }

    /// Takes an order for a job.
    pub(crate) fn submit(&self, job: &Arc<dyn Job>, function: Name, lot: Lot) -> Result<(), SubmitError> {
        let Lot { base, count, mut bytes } = lot;
        if bytes.len() > MAX_MESSAGE {
            return Err(SubmitError::TooLong { len: bytes.len() - Order::LEN, max: MAX_MESSAGE - Order::LEN });
        }
        debug_assert!(count > 0 && count <= MOST_ELEMENTS);
        let open = 0..count as u32;
        let mut state = self.lock();
        match &state.phase {
            Phase::Open => {}
            Phase::Closed => return Err(SubmitError::Closed),
            Phase::Ended(why, _) => return Err(SubmitError::Ended { why: why.clone() }),
        }
        let slot = state.slot(&self.board);
        let entry = Entry {
            job: Arc::clone(job),
            base,
            open: open.clone(),
            attempts: 0,
            strikes: 0,
            slot,
            cancelled: false,
            returned: None,
        };
        let number = state.enter(&self.board, entry);
        // Under the lock: once it is free, the order may fail and come under another number.
        job.renumber(number);
        drop(state);
        let order = Order { number, function, slot, from: open.start, to: open.end };
        order.write(&mut bytes);
        let Err(error) = self.orders.put(bytes) else {
            // A program that submits and never waits must not have its reports pile up.
            if number % COLLECT_EVERY == 0 {
                self.collect_now();
            }
            return Ok(());
        };
        // If the pool has ended meanwhile, the job knows already.
        if self.lock().leave(number).is_none() {
            return Ok(());
        }
        self.reports.nudge();
        Err(match error {
            PutError::ShutDown(_) => SubmitError::Closed,
            error => SubmitError::NoMemory { why: error.to_string() },
        })
    }

    /// Cancels an order if it has not begun. Its job hears of it, and the worker that meets it skips it.
    pub(crate) fn cancel(&self, number: u64) -> bool {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(&number) else { return false };
        if entry.cancelled || !self.board.cancel(entry.slot, number) {
            return false;
        }
        entry.cancelled = true;
        let (job, elements) = (Arc::clone(&entry.job), entry.elements());
        drop(state);
        job.fail(elements, &TaskError::Cancelled);
        self.reports.nudge();
        true
    }

    /// Cancels what has not begun of a job.
    pub(crate) fn abandon(&self, job: &Arc<dyn Job>) {
        let state = self.lock();
        let of_job = state.entries.iter().filter(|(_, entry)| Arc::ptr_eq(&entry.job, job));
        let numbers: Vec<u64> = of_job.map(|(&number, _)| number).collect();
        drop(state);
        for number in numbers {
            self.cancel(number);
        }
    }

    /// Takes the reports that workers sent.
    pub(crate) fn take(&self, reports: Vec<Vec<u8>>) {
        let mut delivered = Vec::with_capacity(reports.len());
        let mut later = Later::default();
        let mut state = self.lock();
        for bytes in reports {
            let Some((report, rest)) = Report::read(&bytes) else { continue };
            match report.what {
                What::Results => delivered.extend(state.results(&report, bytes)),
                What::Skipped => drop(state.leave(report.number)),
                What::Returned => {
                    let rest = rest.to_vec();
                    self.returned(&mut state, report.number, rest, &mut later);
                }
                What::Failed => state.failure = Some(String::from_utf8_lossy(rest).into_owned()),
                What::Nudge => {}
            }
        }
        drop(state);
        for (job, first, results) in delivered {
            job.deliver(first, results);
        }
        self.finish(later);
    }

    fn finish(&self, later: Later) {
        for (job, elements, error) in later.failed {
            job.fail(elements, &error);
        }
        self.lock().again.extend(later.again);
        self.send_again();
    }

    /// Sends orders again whose worker has died. It never waits: the thread that does it also takes the reports, which make room. Returns
    /// whether some are left for lack of room.
    pub(crate) fn send_again(&self) -> bool {
        loop {
            let Some((number, bytes)) = self.lock().again.pop_front() else { return false };
            match self.orders.try_put(bytes) {
                Ok(()) => {}
                Err(PutError::Full(bytes) | PutError::NoMemory(bytes)) => {
                    self.lock().again.push_front((number, bytes));
                    return true;
                }
                Err(_) => {
                    let entry = self.lock().leave(number);
                    if let Some(entry) = entry {
                        entry.job.fail(entry.elements(), &TaskError::Ended { why: "its order could not be sent again".into() });
                    }
                }
            }
        }
    }

    /// An order came back from a worker that died.
    fn returned(&self, state: &mut State, number: u64, bytes: Vec<u8>, later: &mut Later) {
        let death = state.deaths.remove(&number);
        let Some(entry) = state.entries.get_mut(&number) else { return };
        // The row is read under the lock, as the supervisor clears it under the lock.
        if death.is_none() && self.board.holder(number).is_some() {
            entry.returned = Some(bytes);
            return;
        }
        self.resolve(state, number, &bytes, death, later);
    }

    /// A worker has ended. Call it once for each, before the next one starts in its row.
    pub(crate) fn died(&self, worker: usize, exit: Exit, late: Option<(Hand, Duration)>) {
        let mut later = Later::default();
        let mut state = self.lock();
        let (hand, _) = self.board.hand(worker);
        self.board.clear(worker);
        if let Some(number) = hand.order() {
            let spared = late.is_some_and(|(meant, _)| meant != hand);
            let death = Death { hand, exit, late: late.map(|(_, limit)| limit), spared };
            if let Some(entry) = state.entries.get_mut(&number) {
                match entry.returned.take() {
                    Some(bytes) => self.resolve(&mut state, number, &bytes, Some(death), &mut later),
                    None => drop(state.deaths.insert(number, death)),
                }
            }
        }
        drop(state);
        self.finish(later);
        self.reports.nudge();
    }

    /// Decides what becomes of an order whose worker has died: the element in hand failed or runs again, the others run elsewhere.
    fn resolve(&self, state: &mut State, number: u64, bytes: &[u8], death: Option<Death>, later: &mut Later) {
        let Some(entry) = state.leave(number) else { return };
        let Some((order, _)) = Order::read(bytes).filter(|_| !entry.cancelled) else { return };
        let open = entry.open.clone();
        let is_single = open.len() == 1;
        // If the results that it wrote have arrived, it died between two elements.
        let has_written = |death: &Death| matches!(death.hand.at(), At::Writing(first) if first < open.start);
        let death = death.filter(|death| !death.spared && !has_written(death));
        let guilty = death.and_then(|death| match death.hand.at() {
            At::Element(element) if open.contains(&element) => Some((element, death)),
            At::Reading | At::Writing(_) if is_single => Some((open.start, death)),
            _ => None,
        });
        let mut again = |range: Range<u32>, attempts, strikes| {
            if range.is_empty() {
                return;
            }
            let slot = state.slot(&self.board);
            let order = Order { number: 0, slot, from: range.start, to: range.end, ..order };
            let entry = Entry { job: Arc::clone(&entry.job), open: range, attempts, strikes, slot, returned: None, ..entry };
            let job = Arc::clone(&entry.job);
            let number = state.enter(&self.board, entry);
            job.renumber(number);
            let mut bytes = bytes.to_vec();
            Order { number, ..order }.write(&mut bytes);
            later.again.push((number, bytes));
        };
        match guilty {
            Some((element, death)) => {
                again(open.start..element, 0, entry.strikes);
                again(element + 1..open.end, 0, entry.strikes);
                let attempts = entry.attempts + 1;
                if attempts <= self.retries {
                    again(element..element + 1, attempts, 0);
                } else {
                    let index = entry.base + element as usize;
                    later.failed.push((Arc::clone(&entry.job), index..index + 1, death.error(attempts)));
                }
            }
            None if death.is_none() && entry.strikes + 1 < UNSEEN => again(open, entry.attempts, entry.strikes + 1),
            None if death.is_none() && is_single => {
                let error = TaskError::WorkerDied { exit: Exit::Unknown, attempts: entry.attempts + 1 };
                later.failed.push((Arc::clone(&entry.job), entry.elements(), error));
            }
            None if is_single => again(open, entry.attempts, entry.strikes),
            None if entry.strikes + 1 < STRIKES => again(open, 0, entry.strikes + 1),
            None => {
                let half = open.start + open.len() as u32 / 2;
                again(open.start..half, 0, entry.strikes);
                again(half..open.end, 0, entry.strikes);
            }
        }
    }

    /// Takes no more orders.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closed;
        }
    }

    /// Ends all tasks. The first reason stays.
    pub(crate) fn end(&self, why: &str, asked_for: bool) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Ended(..)) {
            return;
        }
        state.phase = Phase::Ended(why.to_owned(), asked_for);
        state.deaths.clear();
        let entries = std::mem::take(&mut state.entries);
        drop(state);
        self.orders.shutdown();
        let error = TaskError::Ended { why: why.to_owned() };
        for entry in entries.into_values().filter(|entry| !entry.cancelled) {
            entry.job.fail(entry.elements(), &error);
        }
        self.reports.nudge();
    }

    /// Ends what is left once no worker is: all of it, unless it was closed and everything has its result.
    pub(crate) fn end_what_is_left(&self, why: Option<&str>) {
        let state = self.lock();
        let is_done = matches!(state.phase, Phase::Closed) && state.entries.is_empty();
        drop(state);
        if why.is_some() || !is_done {
            self.end(why.unwrap_or("its workers have ended"), false);
        }
    }

    /// Waits until a closed ledger has no orders, or has ended.
    ///
    /// # Errors
    ///
    /// It still takes orders, or it has ended although nobody asked for it.
    pub(crate) fn wait_idle(&self) -> Result<(), JoinPoolError> {
        let ended = self.wait(None, || {
            let state = self.lock();
            match &state.phase {
                Phase::Open => Some(Err(JoinPoolError::NotClosed)),
                Phase::Ended(_, true) => Some(Ok(())),
                Phase::Ended(why, false) => Some(Err(JoinPoolError::Ended { why: why.clone() })),
                Phase::Closed => state.entries.is_empty().then_some(Ok(())),
            }
        });
        // Reports end when the pool has.
        ended.unwrap_or(Ok(()))
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// Why a worker could not work, by its own words, if one has said so since the last question.
    pub(crate) fn take_failure(&self) -> Option<String> {
        self.lock().failure.take()
    }

    /// Whether a worker has sent results since the last question.
    pub(crate) fn take_worked(&self) -> bool {
        std::mem::take(&mut self.lock().worked)
    }
}

/// What happens once the lock is free.
#[derive(Default)]
struct Later {
    failed: Vec<(Arc<dyn Job>, Range<usize>, TaskError)>,
    again: Vec<(u64, Vec<u8>)>,
}

impl Death {
    fn error(self, attempts: u32) -> TaskError {
        match self.late {
            Some(limit) => TaskError::TimedOut { limit, attempts },
            None => TaskError::WorkerDied { exit: self.exit, attempts },
        }
    }
}

impl Entry {
    /// The job's numbers of the elements without results.
    fn elements(&self) -> Range<usize> {
        self.base + self.open.start as usize..self.base + self.open.end as usize
    }
}

#[cfg(test)]
mod tests;
