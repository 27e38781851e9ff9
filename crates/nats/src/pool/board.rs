//! The calls of one pool that are under way, and where their results go.

use super::error::RemoteTaskError;
use multiproc_pool::TaskError;
use multiproc_prim::stamp;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// An encoded result.
pub(super) type Outcome = Result<Vec<u8>, RemoteTaskError>;
/// Has the outcome once there is one.
pub(super) type Hears = watch::Receiver<Option<Outcome>>;

pub(super) struct Board {
    state: Mutex<State>,
    /// How many are under way.
    count: watch::Sender<usize>,
    /// Of the process that hears of results.
    stamp: u64,
}

#[derive(Default)]
struct State {
    tasks: HashMap<u64, UnderWay>,
    last: u64,
    closed: bool,
}

struct UnderWay {
    tells: watch::Sender<Option<Outcome>>,
    begun: bool,
    /// Its place in the stream, once the server has it.
    place: Option<u64>,
    /// Whether it had its place before the last look at the stream.
    looked_for: bool,
}

impl UnderWay {
    fn tell(&self, outcome: Outcome) {
        // It wakes futures. A panic of their wakers does not take the results of others along.
        let _ = catch_unwind(AssertUnwindSafe(|| self.tells.send_replace(Some(outcome))));
    }
}

impl Board {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), count: watch::channel(0).0, stamp: stamp() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process is a forked copy of the one that hears of results.
    pub(super) fn is_inherited(&self) -> bool {
        self.stamp != stamp()
    }

    /// A task more; `None`: the pool was closed.
    pub(super) fn add(&self) -> Option<(u64, Hears)> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        state.last += 1;
        let number = state.last;
        let (tells, hears) = watch::channel(None);
        state.tasks.insert(number, UnderWay { tells, begun: false, place: None, looked_for: false });
        let count = state.tasks.len();
        drop(state);
        self.count.send_replace(count);
        Some((number, hears))
    }

    pub(super) fn set_place(&self, number: u64, place: u64) {
        if let Some(task) = self.lock().tasks.get_mut(&number) {
            task.place = Some(place);
        }
    }

    /// Whether a task is to run. It can't be cancelled from now on.
    pub(super) fn begin(&self, number: u64) -> bool {
        self.lock().tasks.get_mut(&number).map(|task| task.begun = true).is_some()
    }

    /// Whether it was cancelled: it was there and had not begun.
    pub(super) fn cancel(&self, number: u64) -> bool {
        self.end_one(number, |task| !task.begun, Err(TaskError::Cancelled.into()))
    }

    /// The first outcome counts.
    pub(super) fn end(&self, number: u64, outcome: Outcome) {
        self.end_one(number, |_| true, outcome);
    }

    /// Ends a task if it is such a one. Returns whether it did.
    fn end_one(&self, number: u64, which: impl FnOnce(&UnderWay) -> bool, outcome: Outcome) -> bool {
        let mut state = self.lock();
        if !state.tasks.get(&number).is_some_and(which) {
            return false;
        }
        let task = state.tasks.remove(&number);
        let left = state.tasks.len();
        drop(state);
        // What wakes others comes after the lock.
        if let Some(task) = task {
            task.tell(outcome);
        }
        self.count.send_replace(left);
        true
    }

    /// Notes which tasks have a place, before a look at the stream.
    pub(super) fn begin_look(&self) {
        self.lock().tasks.values_mut().for_each(|task| task.looked_for = task.place.is_some());
    }

    /// Ends those whose call was not there at the look: what is in the stream has places from `first` to `last`.
    pub(super) fn end_look(&self, first: u64, last: u64) {
        let is_there = |task: &UnderWay| task.place.is_some_and(|place| (first..=last).contains(&place));
        self.end_if(|task| task.looked_for && !is_there(task), &RemoteTaskError::Lost);
    }

    pub(super) fn end_all(&self, error: &RemoteTaskError) {
        self.end_if(|_| true, error);
    }

    fn end_if(&self, mut which: impl FnMut(&UnderWay) -> bool, error: &RemoteTaskError) {
        let mut state = self.lock();
        let ended: Vec<_> = state.tasks.extract_if(|_, task| which(task)).collect();
        let left = state.tasks.len();
        drop(state);
        ended.iter().for_each(|(_, task)| task.tell(Err(error.clone())));
        self.count.send_replace(left);
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().tasks.is_empty()
    }

    /// Resolves once no task is under way.
    pub(super) async fn emptied(&self) {
        // The sender is in `self`.
        let _ = self.count.subscribe().wait_for(|_| self.is_empty()).await;
    }
}
