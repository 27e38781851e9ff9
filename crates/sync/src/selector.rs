//! Waiting for many sources at once.

use crate::event::{Event, Pace, SLICE, Sleeper};
use crate::poller::{Polled, call_when_ready};
use crate::source::{Awaited, Source};
use crate::wait::Look;
use crate::waitlist::{WaitList, Waiter};
use multiproc_prim::{AtomicU32, Deadline, Direction, Ordering, PollSet, fence, futex, heavy_fence, is_ready_for, stamp};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// Events that the calling thread sleeps at. Its bell is one word more. The reactor sleeps at the others.
const MOST_EVENTS: usize = futex::MOST_WORDS - 1;

/// Waits until one of the sources is ready, for at most `timeout`; `None` waits for ever (Python: `multiprocessing.connection.wait`).
/// Returns the places of all that are ready, in ascending order: none after the time-out.
///
/// A source is ready when its operation would not wait: there is a value or room, the queue is shut down, the other end is gone, the
/// process has ended. Another thread or process may be faster: use the `try_` operation, and wait again if it finds nothing. A program
/// that waits for the same sources again and again uses a [`Selector`].
///
/// ```
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_sync::{Readable, wait};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let (_quiet, other) = UnixStream::pair()?;
/// ours.write_all(b"hello")?;
/// assert_eq!(wait(&[&Readable(&other), &Readable(&theirs)], None)?, [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// ```
///
/// # Errors
///
/// The process or the system has no descriptors or memory left to wait with.
pub fn wait(sources: &[&dyn Source], timeout: impl Into<Option<Duration>>) -> Result<Vec<usize>, WaitError> {
    let mut selector = Selector::new();
    for source in sources {
        selector.add(*source);
    }
    let mut ready = selector.wait(timeout)?;
    ready.sort_unstable();
    Ok(ready)
}

/// A call that waits for many sources has nothing to wait with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The system refuses descriptors, threads or memory.
    #[error("waiting for many sources needs a descriptor: close some, or raise the limit (`ulimit -n`)")]
    System(#[from] io::Error),
}

/// Waits for many sources, again and again: queues for a value or for room, ends of pipes, processes, descriptors (Python:
/// `selectors.DefaultSelector`).
///
/// Each call returns every source that is ready. The order begins behind the source that came first last time. So a program that serves
/// only the first one serves all in turn, however busy they are.
///
/// ```
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_sync::{Readable, Selector};
/// use std::io::Write;
/// use std::os::unix::net::UnixStream;
///
/// let (mut ours, theirs) = UnixStream::pair()?;
/// let theirs = Readable(theirs);
/// let mut selector = Selector::new();
/// let key = selector.add(&theirs);
/// assert!(selector.wait(std::time::Duration::ZERO)?.is_empty());
/// ours.write_all(b"hello")?;
/// assert_eq!(selector.wait(None)?, [key]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// ```
#[derive(Default)]
pub struct Selector<'s> {
    entries: Vec<Entry<'s>>,
    ready: Vec<usize>,
    /// Where the next answer begins.
    first: usize,
    descriptors: Option<Descriptors>,
    bell: Option<Arc<Bell>>,
    pace: Pace,
}

enum Entry<'s> {
    Event(Box<Place>),
    /// `is_told`: its set of descriptors tells when it is ready.
    Descriptor {
        descriptor: BorrowedFd<'s>,
        direction: Direction,
        is_told: bool,
    },
    AlwaysReady,
    Removed,
}

/// A place at an event.
struct Place {
    list: Arc<WaitList>,
    sleeper: Sleeper,
    look_at: Instant,
    /// Waits where the reactor sleeps for this one.
    waiter: Waiter,
}

/// The descriptors of a selector, in a set of the kernel.
struct Descriptors {
    set: PollSet,
    polled: Option<Polled>,
    told: Vec<u64>,
    stamp: u64,
}

/// What a thread in the background wakes the calling thread with.
#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Release: what the waker saw comes before (pairs with: selector's bell).
        self.0.fetch_add(1, Ordering::Release);
        futex::wake(&self.0, 1);
    }
}

impl fmt::Debug for Selector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("sources", &self.len()).finish_non_exhaustive()
    }
}

impl<'s> Selector<'s> {
    /// A selector without sources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source. Returns its key: the keys count up from 0.
    pub fn add(&mut self, source: &'s dyn Source) -> usize {
        self.entries.push(match source.awaited() {
            Awaited::Condition(list) => Entry::Event(Box::new(Place::new(list))),
            Awaited::Descriptor(descriptor, direction) => {
                self.descriptors = None;
                Entry::Descriptor { descriptor, direction, is_told: false }
            }
            Awaited::Nothing => Entry::AlwaysReady,
        });
        self.entries.len() - 1
    }

    /// Takes a source out. Its key is not used again. Nothing happens if it is out already.
    pub fn remove(&mut self, key: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            if matches!(entry, Entry::Descriptor { .. }) {
                self.descriptors = None;
            }
            *entry = Entry::Removed;
        }
    }

    /// Counts the sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.iter().filter(|entry| !matches!(entry, Entry::Removed)).count()
    }

    /// Whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a source is ready, for at most `timeout`; `None` waits for ever, also where there is no source. Returns the keys of all
    /// sources that are ready: none after the time-out.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors or memory left to wait with.
    pub fn wait(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Vec<usize>, WaitError> {
        let deadline = timeout.into().map_or(Deadline::NEVER, Deadline::after);
        let sleeps = self.wait_until(deadline);
        self.stand_up();
        sleeps?;
        let at = self.ready.partition_point(|key| *key < self.first);
        self.ready.rotate_left(at);
        self.first = self.ready.first().map_or(self.first, |first| first + 1);
        Ok(std::mem::take(&mut self.ready))
    }

    fn wait_until(&mut self, deadline: Deadline) -> Result<(), WaitError> {
        self.listen()?;
        if self.look() || deadline.is_over() || self.spin(deadline) {
            return Ok(());
        }
        let now = Instant::now();
        self.places().for_each(|place| (place.sleeper, place.look_at) = (Sleeper::new(), now + SLICE));
        while !self.sleep(deadline)? {
            if self.look() || deadline.is_over() {
                return Ok(());
            }
            self.look_around();
        }
        Ok(())
    }

    /// Puts the descriptors into a set of the kernel, unless they are in one.
    fn listen(&mut self) -> io::Result<()> {
        let is_ours = |known: &Descriptors| known.stamp == stamp();
        let has_any = self.entries.iter().any(|entry| matches!(entry, Entry::Descriptor { .. }));
        if !has_any || self.descriptors.as_ref().is_some_and(is_ours) {
            return Ok(());
        }
        let set = PollSet::new()?;
        for (key, entry) in self.entries.iter_mut().enumerate() {
            if let Entry::Descriptor { descriptor, direction, is_told } = entry {
                *is_told = match set.add(*descriptor, key as u64, *direction, false) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                    added => added?,
                };
            }
        }
        self.descriptors = Some(Descriptors { set, polled: None, told: Vec::new(), stamp: stamp() });
        Ok(())
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        self.entries.iter_mut().filter_map(|entry| match entry {
            Entry::Event(place) => Some(&mut **place),
            _ => None,
        })
    }

    /// Finds what is ready now. Returns whether anything is.
    fn look(&mut self) -> bool {
        let Self { entries, ready, descriptors, .. } = self;
        ready.clear();
        let mut told: &[u64] = &[];
        if let Some(known) = descriptors {
            known.set.wait(Deadline::NOW, &mut known.told);
            known.told.sort_unstable();
            told = &known.told;
        }
        ready.extend(
            entries
                .iter()
                .enumerate()
                .filter(|(key, entry)| match entry {
                    Entry::Event(place) => place.list.condition().is_met(),
                    Entry::Descriptor { is_told: true, .. } => told.binary_search(&(*key as u64)).is_ok(),
                    Entry::Descriptor { descriptor, direction, .. } => is_ready_for(descriptor, *direction),
                    Entry::AlwaysReady => true,
                    Entry::Removed => false,
                })
                .map(|(key, _)| key),
        );
        !ready.is_empty()
    }

    /// Looks again and again, for as long as that is worth while: at the events alone, which costs no system call.
    fn spin(&mut self, deadline: Deadline) -> bool {
        let is_met = |entry: &Entry<'_>| matches!(entry, Entry::Event(place) if place.list.condition().is_met());
        let has_events = self.entries.iter().any(|entry| matches!(entry, Entry::Event(_)));
        has_events && self.pace.spin(deadline, || self.entries.iter().any(is_met).then_some(())).is_some() && self.look()
    }

    /// Sleeps once. Returns whether a last look before the sleep has found something.
    fn sleep(&mut self, deadline: Deadline) -> Result<bool, WaitError> {
        let events = self.places().count();
        if let (0, Some(known)) = (events, &mut self.descriptors) {
            // The next look asks the kernel again. It may tell of many at once, and of some that are not in the set.
            known.set.wait(deadline, &mut known.told);
            return Ok(false);
        }
        let needs_bell = events == 0 || events > MOST_EVENTS || self.descriptors.is_some();
        let bell = needs_bell.then(|| Arc::clone(self.bell.get_or_insert_with(Arc::default)));
        // Acquire: what a thread rings for comes before the ring (pairs with: selector's bell).
        let rung = bell.as_ref().map_or(0, |bell| bell.0.load(Ordering::Acquire));
        if let Some(bell) = &bell {
            let waker = Waker::from(Arc::clone(bell));
            for place in self.places().skip(MOST_EVENTS) {
                place.waiter.wait(&waker);
            }
            if let Some(Descriptors { set, polled, .. }) = &mut self.descriptors {
                call_when_ready(polled, set.as_fd(), Direction::Read, &waker)?;
            }
        }
        let mut is_busy = false;
        for place in self.places().take(MOST_EVENTS) {
            let event = place.list.event();
            is_busy |= matches!(event, Event::Busy(_));
            place.sleeper.announce(event.count(), || ());
        }
        // One fence for all announcements.
        if is_busy {
            heavy_fence()
        } else {
            fence(Ordering::SeqCst)
        }
        if self.look() {
            return Ok(true);
        }
        let mut next = deadline.remaining();
        let now = Instant::now();
        for place in self.places().take(MOST_EVENTS) {
            let left = place.look_at.saturating_duration_since(now);
            next = Some(next.map_or(left, |next| next.min(left)));
        }
        let places = self.entries.iter().filter_map(|entry| match entry {
            Entry::Event(place) => Some(place.sleeper.word(place.list.event().count())),
            _ => None,
        });
        let bells = bell.as_ref().map(|bell| (&bell.0, rung));
        let words: Vec<_> = bells.into_iter().chain(places.take(MOST_EVENTS)).collect();
        futex::wait_any(&words, next);
        Ok(false)
    }

    /// After a sleep that was in vain.
    fn look_around(&mut self) {
        let now = Instant::now();
        for place in self.places().take(MOST_EVENTS) {
            let (condition, count) = (place.list.condition(), place.list.event().count());
            let was_woken = place.sleeper.was_woken(count);
            let is_due = place.look_at <= now;
            if !was_woken && !is_due {
                continue;
            }
            place.sleeper.leave(count);
            let most = match is_due.then(|| condition.look_around()) {
                Some(Look::Sleep(most)) => most,
                _ => SLICE,
            };
            place.sleeper.go_on(count, was_woken, most);
            place.look_at = now + place.sleeper.slice;
        }
    }

    /// Ends a wait: hands on the wake-ups that this thread got, since it may take nothing.
    fn stand_up(&mut self) {
        for place in self.places() {
            let event = place.list.event();
            place.waiter.leave();
            place.sleeper.leave(event.count());
            if place.sleeper.was_woken(event.count()) && place.list.condition().is_met() {
                event.wake();
            }
            place.sleeper = Sleeper::new();
        }
    }
}

impl Place {
    fn new(list: Arc<WaitList>) -> Self {
        Self { waiter: Waiter::new(&list), list, sleeper: Sleeper::new(), look_at: Instant::now() }
    }
}
