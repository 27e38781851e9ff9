//! The reactor: what sleeps in the background for the waiters of all [`WaitList`]s of a process.
//!
//! It is one thread for 127 lists, as many as the kernel lets a thread sleep for at once. The first thread starts when a waiter first
//! waits. A list without waiters costs nothing: the thread that is woken for it in vain sleeps for it no longer.

use crate::event::{NextLook, SLICE, Sleeper};
use crate::wait::Look;
use crate::waitlist::WaitList;
use multiproc_prim::{AtomicU32, Mutex, Ordering, PerProcess, background, futex};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The reactor of a process. A forked copy has its own.
#[derive(Debug, Default)]
pub struct Reactor {
    stations: Mutex<Vec<Arc<Station>>>,
}

static OF_PROCESS: PerProcess<Arc<Reactor>> = PerProcess::new(Arc::default);

/// How long a waiter that was called may take, before the next one is called: it may be one that nobody polls.
const PATIENCE: Duration = Duration::from_millis(1);

/// Lists that one thread sleeps for. Its bell is one word more.
const MOST_LISTS: usize = futex::MOST_WORDS - 1;

impl Reactor {
    /// This process's reactor.
    pub fn of_process() -> Arc<Self> {
        Arc::clone(OF_PROCESS.get())
    }

    /// A reactor for a model, whose thread the model runs.
    pub fn of_model() -> (Arc<Self>, Arc<Station>) {
        let reactor = Self::default();
        let station = Arc::new(Station::default());
        reactor.stations.lock().push(Arc::clone(&station));
        (Arc::new(reactor), station)
    }

    /// Has a thread sleep for a list from now on.
    pub(crate) fn sleep_for(&self, list: &Arc<WaitList>) -> io::Result<()> {
        let mut stations = self.stations.lock();
        if stations.iter().any(|station| station.take_in(list)) {
            return Ok(());
        }
        let station = Arc::new(Station::default());
        station.take_in(list);
        let theirs = Arc::clone(&station);
        background("multiproc-wait", move || theirs.run())?;
        stations.push(station);
        Ok(())
    }

    /// Has the threads look at all their lists.
    pub(crate) fn ring(&self) {
        self.stations.lock().iter().for_each(|station| station.ring());
    }
}

/// One thread of a [`Reactor`].
#[derive(Debug, Default)]
pub struct Station {
    /// The thread sleeps on this, too.
    bell: AtomicU32,
    post: Mutex<Post>,
}

#[derive(Debug, Default)]
struct Post {
    new: Vec<Arc<WaitList>>,
    /// All lists of the thread, the new ones included.
    lists: usize,
    is_over: bool,
}

/// A list that a thread sleeps for.
struct Entry {
    list: Arc<WaitList>,
    sleeper: Sleeper,
    next_look: NextLook,
    /// Whether the last look called a waiter.
    has_called: bool,
}

impl Station {
    fn take_in(&self, list: &Arc<WaitList>) -> bool {
        let mut post = self.post.lock();
        if post.lists >= MOST_LISTS {
            return false;
        }
        post.lists += 1;
        post.new.push(Arc::clone(list));
        drop(post);
        self.ring();
        true
    }

    fn ring(&self) {
        // Relaxed: what the thread is to find is in the post, whose lock orders it.
        self.bell.fetch_add(1, Ordering::Relaxed);
        futex::wake(&self.bell, 1);
    }

    /// Ends [`run`](Self::run), for a model.
    pub fn end(&self) {
        self.post.lock().is_over = true;
        self.ring();
    }

    /// What the thread does, for ever.
    pub fn run(&self) {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            // Relaxed: before we let go of the post, so that whatever comes to it later rings once more, and ends the sleep.
            let rung = self.bell.load(Ordering::Relaxed);
            {
                let mut post = self.post.lock();
                if post.is_over {
                    return;
                }
                entries.extend(post.new.drain(..).map(Entry::new));
            }
            let before = entries.len();
            let now = Instant::now();
            let any_due = entries.iter().any(|entry| entry.next_look.at() <= now);
            entries.retain_mut(|entry| entry.look(now, any_due));
            self.post.lock().lists -= before - entries.len();
            let words: Vec<_> = std::iter::once((&self.bell, rung)).chain(entries.iter().map(Entry::word)).collect();
            let next = entries.iter().map(|entry| entry.next_look.at()).min();
            futex::wait_any(&words, next.map(|next| next.saturating_duration_since(Instant::now())));
        }
    }
}

impl Entry {
    fn new(list: Arc<WaitList>) -> Self {
        Self { list, sleeper: Sleeper::new(), next_look: NextLook::after(SLICE), has_called: false }
    }

    fn word(&self) -> (&AtomicU32, u32) {
        self.sleeper.word(self.list.event().count())
    }

    /// Looks at the list if there was a wake-up, or if it is time to. Returns whether to sleep for it again.
    ///
    /// `any_due`: it is time to look at some list.
    fn look(&mut self, now: Instant, any_due: bool) -> bool {
        let Self { list, sleeper, next_look, has_called } = self;
        let event = list.event();
        let is_new = !sleeper.is_announced();
        let was_woken = sleeper.was_woken(event.count());
        // A model has no time.
        let is_due = !cfg!(loom) && next_look.is_due(sleeper, now, any_due);
        if !(is_new || was_woken || is_due) {
            return !list.is_over();
        }
        let may_owe = was_woken || sleeper.is_on_watch() || *has_called;
        sleeper.leave(event.count());
        let mut most = SLICE;
        // After a call there is only the question whether the waiter came.
        if is_due && !*has_called {
            match list.condition().look_around() {
                Look::Sleep(rest) => most = rest,
                Look::Leave => list.close(),
            }
        }
        if !list.is_wanted() {
            // The wake-up may have been meant for another process, and a waiter that was called may not have come.
            if may_owe {
                list.hand_on();
            }
            return false;
        }
        sleeper.go_on(event.count(), was_woken, most);
        sleeper.announce(event.count(), || event.fence());
        *has_called = list.look(is_new || was_woken);
        if *has_called {
            sleeper.slice = PATIENCE;
        }
        next_look.go_on(sleeper, now, is_due);
        true
    }
}
