//! The reactor: what sleeps in the background for the waiters of all [`WaitList`]s of a process.
//!
//! It is one thread for 127 lists, as many as the kernel lets a thread sleep for at once. The first thread starts when a waiter first
//! waits. A list without waiters costs nothing: the thread that is woken for it in vain sleeps for it no longer.

use crate::event::{SLICE, Sleeper};
use crate::wait::Look;
use crate::waitlist::WaitList;
use multiproc_prim::{AtomicU32, Mutex, Ordering, PerProcess, background, futex};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// The reactor of a process. A forked copy has its own.
#[derive(Debug, Default)]
pub struct Reactor {
    stations: Mutex<Vec<Arc<Station>>>,
}

static OF_PROCESS: PerProcess<Arc<Reactor>> = PerProcess::new(Arc::default);

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
    /// When to look around next.
    look_at: Instant,
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
        // Release: what the thread is to find comes before (pairs with: bell).
        self.bell.fetch_add(1, Ordering::Release);
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
            // Acquire: whatever comes to the post after this look rings once more, and ends the sleep (pairs with: bell).
            let rung = self.bell.load(Ordering::Acquire);
            {
                let mut post = self.post.lock();
                if post.is_over {
                    return;
                }
                entries.extend(post.new.drain(..).map(Entry::new));
            }
            let before = entries.len();
            entries.retain_mut(Entry::look);
            self.post.lock().lists -= before - entries.len();
            let words: Vec<_> = std::iter::once((&self.bell, rung)).chain(entries.iter().map(Entry::word)).collect();
            let next = entries.iter().map(|entry| entry.look_at).min();
            futex::wait_any(&words, next.map(|next| next.saturating_duration_since(Instant::now())));
        }
    }
}

impl Entry {
    fn new(list: Arc<WaitList>) -> Self {
        Self { list, sleeper: Sleeper::new(), look_at: Instant::now() + SLICE }
    }

    fn word(&self) -> (&AtomicU32, u32) {
        self.sleeper.word(self.list.event().count())
    }

    /// Looks at the list if there was a wake-up, or if it is time to. Returns whether to sleep for it again.
    fn look(&mut self) -> bool {
        let Self { list, sleeper, look_at } = self;
        let (event, now) = (list.event(), Instant::now());
        let is_new = !sleeper.is_announced();
        let was_woken = sleeper.was_woken(event.count());
        // A model has no time.
        let is_due = !cfg!(loom) && *look_at <= now;
        if !(is_new || was_woken || is_due) {
            return !list.is_over();
        }
        let was_on_watch = sleeper.is_on_watch();
        sleeper.leave(event.count());
        let mut most = SLICE;
        if is_due {
            match list.condition().look_around() {
                Look::Sleep(rest) => most = rest,
                Look::Leave => list.close(),
            }
        }
        if !list.is_wanted() {
            // The wake-up may have been meant for another process.
            if was_woken || was_on_watch {
                list.hand_on();
            }
            return false;
        }
        sleeper.go_on(event.count(), was_woken, most);
        let next = now + sleeper.slice;
        *look_at = if is_due { next } else { next.min(*look_at) };
        sleeper.announce(event.count(), || event.fence());
        list.look(is_new || was_woken);
        true
    }
}
