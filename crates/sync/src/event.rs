//! The event count: how a process sleeps until another one has done something, without ever sleeping through it.
//!
//! Three shared words: one counts wake-ups and is slept on, one counts announcements of sleepers, and one says up to which
//! announcement nobody is left asleep. A sleeper reads the first, announces itself, looks once more, and sleeps only while
//! the first is as it read it. A waker that finds every announcement answered does nothing; otherwise it counts up and wakes, and
//! once the kernel says that nobody is left, the announcements that it saw are answered. There is no number of sleepers that
//! a death could leave too high, and no loop that another process could keep from ending.
//!
//! A process that is woken may be stopped before it acts. While things happen, one of the sleepers is therefore *on watch*: it sleeps
//! for one slice at a time and looks again. A fourth word says when it last did. A waker that finds nobody on watch wakes one sleeper
//! more, which is on watch from then on, until a whole slice passes in which nobody was woken.

use crate::wait::{Look, Wait};
use multiproc_prim::{
    AtomicU32, Deadline, Hint, Ordering, fence, fence_after_exchange, futex, heavy_fence, light_fence, monotonic_millis,
    shared_struct, spin_loop, yield_now,
};
use std::time::{Duration, Instant};

shared_struct! {
    /// Where processes wait for something to happen. Zero is its fresh state.
    pub struct EventCount {
        wakes: AtomicU32,
        announced: AtomicU32,
        answered: AtomicU32,
        watched: AtomicU32,
    }
}

/// How long a waiter sleeps before its first look around. Each look says how long to sleep until the next one.
///
/// Looks notice deaths that nobody else notices, and make good a wake-up that went to a process which died.
pub const SLICE: Duration = Duration::from_millis(80);

/// A guess of how long it is worth while to spin before a sleep: make one per handle and event.
///
/// A handle spins long as long as that is enough, and hardly at all once it was not. Every now and then it tries long again, the more
/// seldom the more such tries were in vain. Where both sides share a processor, spinning steals the time of the side that is waited for;
/// the tries find that out soon, which the number of processors would not tell. So before a sleep the waiter lets others run.
///
/// In the word, the low half counts the waits until the next long try, and the high half says how many it will be after that.
#[derive(Debug, Default)]
pub struct Pace(Hint);

/// About as long as a sleep and a wake-up take.
const LONG: u64 = 250;
const SHORT: u64 = 4;
/// Pauses between two attempts while spinning.
const MOST_PAUSES: u64 = 16;
/// Waits for which one failure keeps us from spinning long, and for which many do.
const SOBER: u64 = 32;
const MOST_SOBER: u64 = 4096;
/// How often others may run before we sleep.
const YIELDS: u32 = if cfg!(loom) { 0 } else { 2 };

impl Pace {
    /// Tries `attempt` for as long as that is worth while and the deadline allows, without sleeping.
    #[inline]
    pub fn spin<T>(&self, deadline: Deadline, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let known = self.0.get();
        let (sober, until) = (known >> 32, known & u64::from(u32::MAX));
        // In a model it is only more to explore.
        let spins = match until {
            _ if cfg!(loom) => 0,
            0 => LONG,
            _ => SHORT,
        };
        for spin in 0..spins {
            // Every attempt takes cache lines away from the side that works: leave them to it longer, the longer it takes.
            for _ in 0..=(spin / 8).min(MOST_PAUSES) {
                spin_loop();
            }
            if let Some(result) = attempt() {
                self.0.set(0);
                return Some(result);
            }
            // An attempt may have to look at many blocks.
            if spin % 8 == 7 && deadline.is_over() {
                return None;
            }
        }
        let (sober, until) = match until {
            0 => ((2 * sober).clamp(SOBER, MOST_SOBER), sober.max(SOBER)),
            _ => (sober, until - 1),
        };
        self.0.set(sober << 32 | until);
        (0..YIELDS).find_map(|_| {
            yield_now();
            attempt()
        })
    }
}

/// How long a look of a sleeper on watch holds, in milliseconds: a little less than its slice, by the clock's tick.
const WATCH: u32 = 72;

/// Milliseconds, which come round every 50 days: at worst one sleeper more is woken then, or one fewer watches for a slice.
fn now() -> u32 {
    monotonic_millis() as u32
}

impl EventCount {
    /// Tries `attempt` until it gives something or the deadline has passed (`None`): spins first, then sleeps.
    ///
    /// Whatever makes `attempt` succeed must be followed by a wake-up. After a sleep that was in vain the waiter
    /// [looks around](Wait::look_around), which says how long the next sleep may take: on watch at most a [`SLICE`], as the first one. `attempt`
    /// is made at least once, and once more after the deadline.
    pub fn wait_until<T>(&self, wait: impl Wait, pace: &Pace, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        self.wait_with(wait, pace, |_| attempt())
    }

    pub(crate) fn wait_with<W: Wait, T>(&self, wait: W, pace: &Pace, attempt: impl FnMut(&mut W) -> Option<T>) -> Option<T> {
        self.wait_behind(|| fence(Ordering::SeqCst), wait, pace, attempt)
    }

    fn wait_behind<W: Wait, T>(
        &self,
        fence: impl Fn(),
        mut wait: W,
        pace: &Pace,
        mut attempt: impl FnMut(&mut W) -> Option<T>,
    ) -> Option<T> {
        if let Some(result) = attempt(&mut wait) {
            return Some(result);
        }
        let deadline = wait.deadline();
        if deadline.is_over() {
            return None;
        }
        if let Some(result) = pace.spin(deadline, || attempt(&mut wait)) {
            return Some(result);
        }
        let mut sleeper = Sleeper::new();
        loop {
            sleeper.announce(self, &fence);
            if let Some(result) = attempt(&mut wait) {
                sleeper.leave(self);
                return Some(result);
            }
            if deadline.is_over() {
                sleeper.leave(self);
                return None;
            }
            futex::wait(&self.wakes, sleeper.seen, Some(deadline.within(sleeper.slice)));
            if let Some(result) = attempt(&mut wait) {
                sleeper.leave(self);
                return Some(result);
            }
            let was_woken = sleeper.was_woken(self);
            // Read before the look around, which may wake others.
            match wait.look_around() {
                Look::Sleep(most) => sleeper.go_on(self, was_woken, most),
                Look::Leave => {
                    sleeper.leave(self);
                    return attempt(&mut wait);
                }
            }
        }
    }

    fn announce_behind(&self, fence: impl Fn()) -> u32 {
        // Relaxed: the announcement keeps it before itself.
        let seen = self.wakes.load(Ordering::Relaxed);
        // Release, beyond the models, in which nobody reads what is written only later: our reading of `wakes` comes before, or
        // it could give what a waker that saw us wrote, and we would sleep on that (pairs with: announce).
        self.announced.fetch_add(1, Ordering::Release);
        // Either the waker's look sees our announcement, or our attempt after it sees what the waker did before it looked
        // (pairs with: wake).
        fence();
        seen
    }

    /// Wakes up to `count` sleepers. Call it after what they wait for was done; it costs a fence and a load if nobody sleeps.
    #[inline]
    pub fn wake(&self, count: u32) {
        // What we did comes before our look (pairs with: wake).
        fence(Ordering::SeqCst);
        self.look(count);
    }

    /// Wakes up to `count` sleepers, for a caller that did what they wait for by a successful exchange. Where the processor has it so, that
    /// exchange is the fence, and a look costs no other one.
    #[inline(always)]
    pub fn wake_after_exchange(&self, count: u32) {
        // As in `wake` (pairs with: wake).
        fence_after_exchange(Ordering::SeqCst);
        self.look(count);
    }

    #[inline(always)]
    fn look(&self, count: u32) {
        self.look_if(count, || true);
    }

    #[inline(always)]
    fn look_if(&self, count: u32, worth_while: impl FnOnce() -> bool) {
        // Acquire, beyond the models as above: a sleeper that announced itself read `wakes` before we change it, and so finds it
        // changed (pairs with: announce).
        let announced = self.announced.load(Ordering::Acquire);
        // An older answer costs a wake-up for nobody, nothing else. Acquire: where another waker has answered, its change of `wakes` comes
        // before what this caller does next (pairs with: answer).
        if announced != self.answered.load(Ordering::Acquire) && worth_while() {
            self.wake_sleepers(announced, count);
        }
    }

    /// Wakes every sleeper.
    #[inline]
    pub fn wake_all(&self) {
        self.wake(u32::MAX);
    }

    /// The moment, unless another sleeper is on watch.
    fn go_on_watch(&self) -> Option<u32> {
        // In the models nobody is stopped for ever.
        if cfg!(loom) {
            return None;
        }
        let now = now();
        // Relaxed, here and below: it is about time, not about order.
        let last = self.watched.load(Ordering::Relaxed);
        let ours = now.wrapping_sub(last) >= WATCH / 2;
        (ours && self.watched.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()).then_some(now)
    }

    /// Ends the watch of a sleeper that goes on with what it got.
    fn leave_watch(&self, since: Option<u32>) {
        if let Some(since) = since {
            let _ = self.watched.compare_exchange(since, since.wrapping_sub(WATCH), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn is_watched(&self) -> bool {
        now().wrapping_sub(self.watched.load(Ordering::Relaxed)) < WATCH
    }

    #[cold]
    fn wake_sleepers(&self, announced: u32, count: u32) {
        let count = if cfg!(loom) || self.is_watched() { count } else { count.saturating_add(1) };
        // A waiter that is announced but does not sleep yet finds this changed, and looks again. Relaxed: the kernel compares under
        // its own lock, and what to look at is ordered by the fences.
        self.wakes.fetch_add(1, Ordering::Relaxed);
        if futex::wake(&self.wakes, count) < count as usize {
            // Of the announced sleepers none is left asleep. If we are so late that a newer answer stands there, the next waker wakes
            // nobody once. Release: our change of `wakes` comes before (pairs with: answer).
            self.answered.store(announced, Ordering::Release);
        }
    }
}

/// When a thread that sleeps at many events looks around for one of them next.
#[derive(Debug)]
pub(crate) struct NextLook(Instant);

impl NextLook {
    pub(crate) fn after(pause: Duration) -> Self {
        Self(Instant::now() + pause)
    }

    pub(crate) const fn at(&self) -> Instant {
        self.0
    }

    /// Whether it is time to. Looks that come soon are made together, so that the thread wakes up once for all: `any_is` says whether it is
    /// time to for some event.
    pub(crate) fn is_due(&self, sleeper: &Sleeper, now: Instant, any_is: bool) -> bool {
        any_is && self.0 <= now + sleeper.slice / 4
    }

    /// The sleeper goes on. A look that was not due comes no later than it would have.
    pub(crate) fn go_on(&mut self, sleeper: &Sleeper, now: Instant, was_due: bool) {
        let next = now + sleeper.slice;
        self.0 = if was_due { next } else { next.min(self.0) };
    }
}

/// A thread that is about to sleep at an event, or sleeps.
#[derive(Debug)]
pub(crate) struct Sleeper {
    seen: u32,
    is_announced: bool,
    on_watch: Option<u32>,
    /// How long the next sleep may take.
    pub(crate) slice: Duration,
}

impl Sleeper {
    pub(crate) const fn new() -> Self {
        Self { seen: 0, is_announced: false, on_watch: None, slice: SLICE }
    }

    /// Announces the sleeper. Look once more before it sleeps, behind `fence`.
    pub(crate) fn announce(&mut self, event: &EventCount, fence: impl Fn()) {
        self.seen = event.announce_behind(fence);
        self.is_announced = true;
    }

    /// What it sleeps on: a word, and the value that the word has while nothing happens.
    pub(crate) fn word<'e>(&self, event: &'e EventCount) -> (&'e AtomicU32, u32) {
        (&event.wakes, self.seen)
    }

    /// Whether it announced itself since it was made.
    pub(crate) const fn is_announced(&self) -> bool {
        self.is_announced
    }

    pub(crate) const fn is_on_watch(&self) -> bool {
        self.on_watch.is_some()
    }

    /// Whether there was a wake-up since its announcement.
    pub(crate) fn was_woken(&self, event: &EventCount) -> bool {
        // Relaxed: a wake-up seen late is one that came late.
        self.is_announced && event.wakes.load(Ordering::Relaxed) != self.seen
    }

    /// After a sleep in vain, and a look around that allows a next one of `most`.
    pub(crate) fn go_on(&mut self, event: &EventCount, was_woken: bool, most: Duration) {
        self.on_watch = was_woken.then(|| event.go_on_watch()).flatten();
        self.slice = if self.on_watch.is_some() { most.min(SLICE) } else { most };
    }

    /// The sleeper goes on with what it got, or gives up.
    pub(crate) fn leave(&self, event: &EventCount) {
        event.leave_watch(self.on_watch);
    }
}

/// An event count of either kind.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// One whose waker has a fence of its own.
    Plain(&'e EventCount),
    /// One whose sleeper runs the fence for both.
    Busy(&'e BusyEvent),
}

impl<'e> Event<'e> {
    pub(crate) fn count(self) -> &'e EventCount {
        match self {
            Self::Plain(event) => event,
            Self::Busy(event) => &event.event,
        }
    }

    /// The sleeper's fence.
    pub(crate) fn fence(self) {
        match self {
            Self::Plain(_) => fence(Ordering::SeqCst),
            Self::Busy(_) => heavy_fence(),
        }
    }

    /// Wakes one sleeper.
    pub fn wake(self) {
        match self {
            Self::Plain(event) => event.wake(1),
            Self::Busy(event) => event.wake(1),
        }
    }
}

shared_struct! {
    /// An [`EventCount`] for a side that acts much more often than the other one sleeps.
    ///
    /// Waking costs two loads and no fence if nobody sleeps. Going to sleep costs one system call more, which interrupts the processors
    /// of the others for a moment.
    pub struct BusyEvent {
        event: EventCount,
    }
}

impl BusyEvent {
    /// Tries `attempt` until it gives something or the deadline has passed, as [`EventCount::wait_until`] does.
    pub fn wait_until<T>(&self, wait: impl Wait, pace: &Pace, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        self.wait_with(wait, pace, |_| attempt())
    }

    pub(crate) fn wait_with<W: Wait, T>(&self, wait: W, pace: &Pace, attempt: impl FnMut(&mut W) -> Option<T>) -> Option<T> {
        self.event.wait_behind(heavy_fence, wait, pace, attempt)
    }

    /// Announces an attempt as a sleeper does, without sleeping. If the attempt is in vain, the next one would be, too, for as long as
    /// it [is quiet](Self::is_quiet_since).
    pub(crate) fn announce(&self) -> u32 {
        self.event.announce_behind(heavy_fence)
    }

    /// Whether nothing was done that this thread has been told of since an [announcement](Self::announce).
    pub(crate) fn is_quiet_since(&self, announcement: u32) -> bool {
        // Relaxed: what another process did, and then told this thread of, counted up `wakes` before.
        self.event.wakes.load(Ordering::Relaxed) == announcement
    }

    /// Wakes up to `count` sleepers. Call it after what they wait for was done; it costs two loads if nobody sleeps.
    #[inline(always)]
    pub fn wake(&self, count: u32) {
        // What we did comes before our look (pairs with: wake).
        light_fence();
        self.event.look(count);
    }

    /// Wakes every sleeper.
    #[inline(always)]
    pub fn wake_all(&self) {
        self.wake(u32::MAX);
    }

    /// Wakes every sleeper, if there is any and `worth_while` says so: it is not asked otherwise. Of two callers that each did a part of
    /// what is waited for, at least one sees both parts when it is asked.
    #[inline(always)]
    pub fn wake_all_if(&self, worth_while: impl FnOnce() -> bool) {
        // As in `wake` (pairs with: wake).
        light_fence();
        self.event.look_if(u32::MAX, || {
            // SeqCst, beyond the models, in which light fences are full: what we did comes before we look at what the other caller
            // did (pairs with: wake).
            fence(Ordering::SeqCst);
            worth_while()
        });
    }
}
