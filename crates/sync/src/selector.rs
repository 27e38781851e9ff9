//! Waiting for many sources at once.

use crate::event::{Event, NextLook, Pace, SLICE, Sleeper};
use crate::poller::{Polled, call_when_ready};
use crate::source::{Awaited, Source};
use crate::wait::Look;
use crate::waitlist::{WaitList, Waiter};
use multiproc_prim::descriptor::apart;
use multiproc_prim::{AtomicU32, Deadline, Direction, Ordering, PollSet, fence, futex, heavy_fence, is_ready_for, stamp};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// Events that the calling thread sleeps at. Its bell is one word more. The reactor sleeps at the others. In a model that is the third one.
const MOST_EVENTS: usize = if cfg!(loom) { 2 } else { futex::MOST_WORDS - 1 };

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
/// The system refuses what it takes to wait: descriptors, a thread or memory.
pub fn wait(sources: &[&dyn Source], timeout: impl Into<Option<Duration>>) -> Result<Vec<usize>, WaitError> {
    let mut selector = Selector::new();
    for source in sources {
        selector.add(*source);
    }
    selector.wait(timeout)
}

/// A call that waits for many sources has nothing to wait with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The system refuses descriptors, threads or memory.
    #[error("the system refuses what a wait for many sources needs: descriptors, a thread or memory")]
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
    entries: BTreeMap<usize, Entry<'s>>,
    /// The next key.
    next: usize,
    ready: Vec<usize>,
    /// Where the next answer begins.
    first: usize,
    descriptors: Option<Descriptors>,
    bell: Option<Arc<Bell>>,
    pace: Pace,
    /// The process that its entries belong to.
    stamp: u64,
}

struct Entry<'s> {
    source: &'s dyn Source,
    kind: Kind<'s>,
}

enum Kind<'s> {
    Event(Box<Place>),
    /// `is_told`: the set of descriptors tells when it is ready.
    Descriptor {
        descriptor: BorrowedFd<'s>,
        direction: Direction,
        is_told: bool,
    },
    AlwaysReady,
}

/// A place at an event.
struct Place {
    list: Arc<WaitList>,
    sleeper: Sleeper,
    next_look: NextLook,
    /// Waits where the reactor sleeps for this one.
    waiter: Waiter,
}

/// The descriptors of a selector, in a set of the kernel.
struct Descriptors {
    set: PollSet,
    polled: Option<Polled>,
    told: Vec<u64>,
    /// The kernel knows an entry by its descriptor's number: of a descriptor that is there twice, the second one is a copy.
    _copies: Vec<OwnedFd>,
}

/// What a thread in the background wakes the calling thread with.
#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Relaxed: what the waker saw is ordered by the lock of its list, where we wait again before we look, or is the kernel's.
        self.0.fetch_add(1, Ordering::Relaxed);
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
        Self { stamp: stamp(), ..Self::default() }
    }

    /// Adds a source. Returns its key: the keys count up from 0.
    pub fn add(&mut self, source: &'s dyn Source) -> usize {
        let entry = Entry { source, kind: Kind::of(source) };
        if matches!(entry.kind, Kind::Descriptor { .. }) {
            self.descriptors = None;
        }
        let key = self.next;
        self.next += 1;
        self.entries.insert(key, entry);
        key
    }

    /// Takes a source out. Its key is not used again. Nothing happens if it is out already.
    pub fn remove(&mut self, key: usize) {
        if self.entries.remove(&key).is_some_and(|entry| matches!(entry.kind, Kind::Descriptor { .. })) {
            self.descriptors = None;
        }
    }

    /// Counts the sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Waits until a source is ready, for at most `timeout`; `None` waits for ever, also where there is no source. Returns the keys of all
    /// sources that are ready: none after the time-out.
    ///
    /// # Errors
    ///
    /// The system refuses what it takes to wait: descriptors, a thread or memory.
    pub fn wait(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Vec<usize>, WaitError> {
        let deadline = timeout.into().map_or(Deadline::NEVER, Deadline::after);
        let waited = self.wait_until(deadline);
        self.stand_up();
        waited?;
        let at = self.ready.partition_point(|key| *key < self.first);
        self.ready.rotate_left(at);
        self.first = self.ready.first().map_or(self.first, |first| first + 1);
        Ok(std::mem::take(&mut self.ready))
    }

    fn wait_until(&mut self, deadline: Deadline) -> Result<(), WaitError> {
        self.begin()?;
        if self.look() || deadline.is_over() || self.spin(deadline) {
            return Ok(());
        }
        self.places().for_each(|place| (place.sleeper, place.next_look) = (Sleeper::new(), NextLook::after(SLICE)));
        loop {
            if self.sleep(deadline)? || self.look() {
                return Ok(());
            }
            let is_over = deadline.is_over();
            self.look_around(is_over);
            if is_over {
                // What a look around brought back shows now.
                self.look();
                return Ok(());
            }
        }
    }

    /// Makes sure that all of it is this process's, and that the descriptors are in a set of the kernel.
    fn begin(&mut self) -> io::Result<()> {
        if self.stamp != stamp() {
            // It is a forked copy's: what the parent waited with is of no use here.
            (self.stamp, self.descriptors, self.bell) = (stamp(), None, None);
            self.entries.values_mut().for_each(|entry| entry.kind = Kind::of(entry.source));
        }
        let has_any = self.entries.values().any(|entry| matches!(entry.kind, Kind::Descriptor { .. }));
        if !has_any || self.descriptors.is_some() {
            return Ok(());
        }
        let (set, mut copies) = (PollSet::new()?, Vec::new());
        for (key, entry) in &mut self.entries {
            if let Kind::Descriptor { descriptor, direction, is_told } = &mut entry.kind {
                let mut added = set.add(*descriptor, *key as u64, *direction, false);
                if added.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
                    let copy = apart(|| descriptor.try_clone_to_owned())?;
                    added = set.add(&copy, *key as u64, *direction, false);
                    copies.push(copy);
                }
                *is_told = added?;
            }
        }
        self.descriptors = Some(Descriptors { set, polled: None, told: Vec::new(), _copies: copies });
        Ok(())
    }

    fn places(&mut self) -> impl Iterator<Item = &mut Place> {
        self.entries.values_mut().filter_map(|entry| match &mut entry.kind {
            Kind::Event(place) => Some(&mut **place),
            _ => None,
        })
    }

    /// Finds what is ready now. Returns whether anything is.
    fn look(&mut self) -> bool {
        let Self { entries, ready, descriptors, .. } = self;
        ready.clear();
        let mut told: &[u64] = &[];
        if let Some(known) = descriptors {
            known.set.wait(Deadline::NOW, entries.len(), &mut known.told);
            known.told.sort_unstable();
            told = &known.told;
        }
        let is_ready = |key: usize, kind: &Kind<'_>| match kind {
            Kind::Event(place) => place.list.condition().is_met(),
            Kind::Descriptor { is_told: true, .. } => told.binary_search(&(key as u64)).is_ok(),
            Kind::Descriptor { descriptor, direction, .. } => is_ready_for(descriptor, *direction),
            Kind::AlwaysReady => true,
        };
        ready.extend(entries.iter().filter(|(key, entry)| is_ready(**key, &entry.kind)).map(|(key, _)| *key));
        !ready.is_empty()
    }

    /// Looks again and again, for as long as that is worth while: at the events alone, which costs no system call.
    fn spin(&mut self, deadline: Deadline) -> bool {
        let Self { entries, pace, .. } = self;
        let events = || {
            entries.values().filter_map(|entry| match &entry.kind {
                Kind::Event(place) => Some(&place.list),
                _ => None,
            })
        };
        let spun = events().next().is_some()
            && pace.spin(deadline, || events().any(|list| list.condition().is_met()).then_some(())).is_some();
        spun && self.look()
    }

    /// Sleeps once. Returns whether a last look before the sleep has found something.
    fn sleep(&mut self, deadline: Deadline) -> Result<bool, WaitError> {
        let events = self.places().count();
        if let (0, Some(known)) = (events, &mut self.descriptors) {
            // What it tells is asked again by the next look, together with the descriptors that can't be in a set.
            known.set.wait(deadline, 1, &mut known.told);
            return Ok(false);
        }
        let needs_bell = events == 0 || events > MOST_EVENTS || self.descriptors.is_some();
        let bell = needs_bell.then(|| Arc::clone(self.bell.get_or_insert_with(Arc::default)));
        // Relaxed: before we wait in the lists, so that whoever calls us after that rings once more, and ends the sleep.
        let rung = bell.as_ref().map_or(0, |bell| bell.0.load(Ordering::Relaxed));
        let mut all_told = true;
        if let Some(bell) = &bell {
            let waker = Waker::from(Arc::clone(bell));
            for place in self.places().skip(MOST_EVENTS) {
                all_told &= place.waiter.wait(&waker);
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
        if !all_told {
            // No thread can be had that sleeps for the others.
            next = Some(deadline.within(Duration::from_millis(1)));
        }
        let now = Instant::now();
        for place in self.places().take(MOST_EVENTS) {
            let left = place.next_look.at().saturating_duration_since(now);
            next = Some(next.map_or(left, |next| next.min(left)));
        }
        let places = self.entries.values().filter_map(|entry| match &entry.kind {
            Kind::Event(place) => Some(place.sleeper.word(place.list.event().count())),
            _ => None,
        });
        let bells = bell.as_ref().map(|bell| (&bell.0, rung));
        let words: Vec<_> = bells.into_iter().chain(places.take(MOST_EVENTS)).collect();
        futex::wait_any(&words, next);
        Ok(false)
    }

    /// After a sleep that was in vain; `is_last`: none follows.
    fn look_around(&mut self, is_last: bool) {
        let now = Instant::now();
        let any_due = self.places().take(MOST_EVENTS).any(|place| place.next_look.at() <= now);
        for place in self.places().take(MOST_EVENTS) {
            let (condition, count) = (place.list.condition(), place.list.event().count());
            let was_woken = place.sleeper.was_woken(count);
            let is_due = is_last || place.next_look.is_due(&place.sleeper, now, any_due);
            if !was_woken && !is_due {
                continue;
            }
            place.sleeper.leave(count);
            let most = match is_due.then(|| condition.look_around()) {
                Some(Look::Sleep(most)) => most,
                _ => SLICE,
            };
            place.sleeper.go_on(count, was_woken, most);
            place.next_look.go_on(&place.sleeper, now, is_due);
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

impl<'s> Kind<'s> {
    fn of(source: &'s dyn Source) -> Self {
        match source.awaited() {
            Awaited::Condition(list) => Self::Event(Box::new(Place::new(list))),
            Awaited::Descriptor(descriptor, direction) => Self::Descriptor { descriptor, direction, is_told: false },
            Awaited::Nothing => Self::AlwaysReady,
        }
    }
}

impl Place {
    fn new(list: Arc<WaitList>) -> Self {
        Self { waiter: Waiter::new(&list), list, sleeper: Sleeper::new(), next_look: NextLook::after(SLICE) }
    }
}
