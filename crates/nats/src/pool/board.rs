//! The calls of one pool that are under way, and where their results go.

use super::error::RemoteTaskError;
use multiproc_pool::TaskError;
use multiproc_prim::stamp;
use std::collections::HashMap;
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
        state.tasks.insert(number, UnderWay { tells, begun: false, place: None });
        self.count.send_replace(state.tasks.len());
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
        self.end_if(|at, task| at == number && !task.begun, &TaskError::Cancelled.into()) > 0
    }

    /// The first outcome counts.
    pub(super) fn end(&self, number: u64, outcome: Outcome) {
        let mut state = self.lock();
        let task = state.tasks.remove(&number);
        let left = state.tasks.len();
        drop(state);
        // Both wake others, and so come after the lock.
        if let Some(task) = task {
            task.tells.send_replace(Some(outcome));
            self.count.send_replace(left);
        }
    }

    /// Ends those whose call is in the stream no more: the first message there has this place.
    pub(super) fn end_lost(&self, first: u64) {
        self.end_if(|_, task| task.place.is_some_and(|place| place < first), &RemoteTaskError::Lost);
    }

    pub(super) fn end_all(&self, error: &RemoteTaskError) {
        self.end_if(|_, _| true, error);
    }

    fn end_if(&self, mut which: impl FnMut(u64, &UnderWay) -> bool, error: &RemoteTaskError) -> usize {
        let mut state = self.lock();
        let ended: Vec<_> = state.tasks.extract_if(|&number, task| which(number, task)).collect();
        let left = state.tasks.len();
        drop(state);
        for (_, task) in &ended {
            task.tells.send_replace(Some(Err(error.clone())));
        }
        self.count.send_replace(left);
        ended.len()
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
