//! Values that were fetched before a get asked for them.

use crate::core::{Core, Standing};
use crate::hold::Hold;
use crate::pull;
use crate::runtime::runtime;
use async_nats::Message;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// The task that fetches, and what it fetched. Values that are left when it is dropped are given back.
#[derive(Debug)]
pub(crate) struct Prefetch {
    shelf: Arc<Shelf>,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shelf {
    values: Mutex<VecDeque<(Hold, Message)>>,
    /// One permit for each value.
    there: Semaphore,
    /// One permit for each place that no value is fetched for.
    free: Semaphore,
}

impl Prefetch {
    pub(crate) fn start(core: &Arc<Core>, places: usize) -> Self {
        let shelf = Arc::new(Shelf { values: Mutex::default(), there: Semaphore::new(0), free: Semaphore::new(places) });
        let task = runtime().ok().map(|runtime| runtime.spawn(fill(Arc::clone(core), Arc::clone(&shelf), places)));
        Self { shelf, task }
    }

    /// Waits for a value. It can be dropped at any time.
    pub(crate) async fn take(&self) -> Option<(Hold, Message)> {
        self.shelf.there.acquire().await.ok()?.forget();
        self.shelf.take()
    }

    pub(crate) fn try_take(&self) -> Option<(Hold, Message)> {
        self.shelf.there.try_acquire().ok()?.forget();
        self.shelf.take()
    }
}

impl Shelf {
    fn take(&self) -> Option<(Hold, Message)> {
        self.free.add_permits(1);
        self.values.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        // Clearing it drops the loans, which gives the values back, and breaks the circle from a loan to its queue.
        self.shelf.there.close();
        self.shelf.values.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn fill(core: Arc<Core>, shelf: Arc<Shelf>, places: usize) {
    // One request for many values: asking for each one that was taken would cost as much as getting it without this.
    let enough = (places / 2).max(1) as u32;
    loop {
        let Ok(taken) = shelf.free.acquire_many(enough).await else { return };
        taken.forget();
        let others = shelf.free.available_permits();
        let others =
            shelf.free.try_acquire_many(others as u32).map(|places| (others, places.forget())).map_or(0, |(others, ())| others);
        let places = enough as usize + others;
        let mut fetched = 0;
        let ended = pull::batch(&core, places, |hold, message| {
            fetched += 1;
            shelf.values.lock().unwrap_or_else(PoisonError::into_inner).push_back((hold, message));
            shelf.there.add_permits(1);
        });
        let failed = ended.await.is_err();
        shelf.free.add_permits(places - fetched);
        if *core.standing().borrow() == Standing::Gone {
            return;
        }
        if failed {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
