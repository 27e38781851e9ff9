//! How sleepers learn of a death without waking up to look for one.
//!
//! Up to two processes of a segment are its *lookouts*. A lookout holds a seat (a lock byte), and a thread of it sleeps until the
//! kernel says that a process has closed an open file description of the segment (inotify), which every kind of death does. Then it
//! looks at all participants. There are two because one may be stopped.
//!
//! All other processes with sleepers hold pidfds of the lookouts. When a lookout dies, the kernel tells them. One of them takes its
//! seat, starts to listen, and *then* looks at all participants. So no death is missed, however many die at once, as long as one
//! process is left.
//!
//! | what happens | who acts |
//! |---|---|
//! | a participant dies or leaves | the lookouts look |
//! | a lookout dies | its pidfd tells the others: one takes the seat, listens, looks |
//! | a lookout leaves, or becomes another program | it, or the other lookout, wakes the sleepers, who choose anew |
//! | a lookout is stopped | the other one looks |
//! | the system gives neither inotify nor a pidfd of a lookout | [`Notice::Nobody`]: sleepers look for themselves every slice |
//!
//! The thread starts when a sleeper has slept a whole slice in vain. A process has one such thread for all its segments.

use crate::liveness::Identity;
use crate::lock::{LockFile, path_of};
use crate::participant::{Membership, Participant, Participants};
use crate::private::PrivateFd;
use crate::watcher;
use multiproc_prim::PerProcess;
use multiproc_prim::descriptor::{apart, is_ready};
use multiproc_prim::{Counter, Ordering};
use rustix::event::{PollFlags, epoll};
use rustix::fs::inotify;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Lookouts that a segment has at most.
pub(crate) const SEATS: usize = 2;
/// Offset of their words: on the header's page, behind the header.
pub(crate) const SEATS_AT: usize = 2048;
/// The lock byte of the first seat. The lock bytes of the rows come before.
const FIRST_SEAT: u32 = 1024;
/// Bits of the row number in a seat's word; the epoch is above. A word of 0: no lookout yet.
const ROW_BITS: u32 = 10;

/// What the thread that keeps watch calls: implement it for what [`keep_watch`](Membership::keep_watch) gets.
pub trait Watched: Send + Sync {
    /// Looks for dead participants, sweeps and buries them.
    fn look(&self);

    /// Wakes all sleepers of all processes, so that each calls [`keep_watch`](Membership::keep_watch) anew.
    fn wake_everyone(&self);
}

/// Whether a death among the participants is noticed while a process sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nobody notices it: look again soon.
    Nobody,
    /// A lookout notices it.
    Lookout,
    /// This process notices it from now on. Look now, for deaths that came before.
    Us,
}

/// The part of this process in the watch over the segment of one membership.
pub(crate) struct Charge {
    number: u64,
    table: Participants,
    locks: Arc<LockFile>,
    me: Participant,
    pub(crate) watched: Weak<dyn Watched>,
    pub(crate) standing: Standing,
}

pub(crate) enum Standing {
    /// This process is a lookout: its seat, and the segment's number in inotify.
    Lookout { seat: usize, heard_as: i32 },
    /// Other processes are lookouts: their words when we looked, and pidfds of at least one of them.
    Behind { words: [u64; SEATS], _lookouts: Vec<PrivateFd> },
    /// A lookout died, and no process has taken its seat yet.
    Seeking { tries: u32 },
}

/// The watch of this process over all its segments.
#[derive(Default)]
pub(crate) struct Watcher {
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) charges: Vec<Charge>,
    /// The epoll set that the thread sleeps on, once it runs.
    pub(crate) bells: Option<Arc<PrivateFd>>,
    /// The inotify descriptor, once this process was a lookout.
    pub(crate) ear: Option<PrivateFd>,
}

pub(crate) static WATCHER: PerProcess<Watcher> = PerProcess::new(Watcher::default);

impl Watcher {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that no other membership of this process has. 0 is none.
pub(crate) fn next_number() -> u64 {
    static LAST: Counter = Counter::new();
    LAST.count()
}

pub(crate) fn keep_watch(member: &Membership, watched: impl FnOnce() -> Weak<dyn Watched>) -> Notice {
    // The kernel tells nobody of the death of a participant without a lock.
    let Some(locks) = member.locks.as_ref().filter(|_| member.table.all_have_locks()) else { return Notice::Nobody };
    let mut state = WATCHER.get().lock();
    if let Some(at) = state.charges.iter().position(|charge| charge.number == member.number) {
        match &state.charges[at].standing {
            Standing::Lookout { .. } => return Notice::Lookout,
            Standing::Behind { words, .. } if member.table.has_lookouts(words) => return Notice::Lookout,
            Standing::Behind { .. } => drop(state.charges.swap_remove(at)),
            // The thread is choosing.
            Standing::Seeking { .. } => return Notice::Nobody,
        }
    }
    let Some(standing) = state.choose(&member.table, locks, member.participant(), member.number) else { return Notice::Nobody };
    let notice = if matches!(standing, Standing::Lookout { .. }) { Notice::Us } else { Notice::Lookout };
    state.charges.push(Charge {
        number: member.number,
        table: member.table.clone(),
        locks: Arc::clone(locks),
        me: member.participant(),
        watched: watched(),
        standing,
    });
    notice
}

/// Ends the watch of a membership. Returns whether it was a lookout.
pub(crate) fn leave(member: &Membership) -> bool {
    let mut state = WATCHER.get().lock();
    let Some(at) = state.charges.iter().position(|charge| charge.number == member.number) else { return false };
    let charge = state.charges.swap_remove(at);
    let Standing::Lookout { seat, heard_as } = charge.standing else { return false };
    state.stop_listening(heard_as);
    charge.table.give_up_seat(seat, &charge.locks);
    true
}

impl Participants {
    /// Whether the lookouts are those of `words`, and all of them live.
    fn has_lookouts(&self, words: &[u64; SEATS]) -> bool {
        *words == self.seat_words() && (0..SEATS).all(|seat| self.is_seat_taken(seat))
    }

    fn seat_words(&self) -> [u64; SEATS] {
        // Acquire: the lookout listened before it wrote its word (pairs with: seat).
        std::array::from_fn(|seat| self.seats.get(seat).map_or(0, |word| word.load(Ordering::Acquire)))
    }

    fn is_seat_taken(&self, seat: usize) -> bool {
        self.lock_of(FIRST_SEAT + seat as u32) == Some(true)
    }

    fn give_up_seat(&self, seat: usize, locks: &LockFile) {
        if let Some(word) = self.seats.get(seat) {
            word.store(0, Ordering::Relaxed);
        }
        locks.unlock(FIRST_SEAT + seat as u32);
    }

    /// A pidfd of the process in a seat, if it is surely that process.
    fn pidfd_of(&self, seat: usize, word: u64) -> Option<OwnedFd> {
        let who = Participant { row: (word & ((1 << ROW_BITS) - 1)) as u32, epoch: word >> ROW_BITS };
        let (process, _) = self.process_of(who).filter(|_| word != 0)?;
        let here = Identity::current();
        if !process.is_neighbour_of(&here) || process.pid == here.pid {
            return None;
        }
        let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
        let pidfd = apart(|| pidfd_open(pid, PidfdFlags::empty())).ok()?;
        // It holds its locks even now, so the process id was its own all the time.
        let same = self.seat_words()[seat] == word && self.is_seat_taken(seat) && self.lock_of(who.row) == Some(true);
        same.then_some(pidfd)
    }

    /// Whether the process in a seat let go of it without dying, which no pidfd tells: it became another program. Says so once.
    fn is_abandoned(&self, seat: usize) -> bool {
        let (word, Some(place)) = (self.seat_words()[seat], self.seats.get(seat)) else { return false };
        if word == 0 || self.is_seat_taken(seat) {
            return false;
        }
        let who = Participant { row: (word & ((1 << ROW_BITS) - 1)) as u32, epoch: word >> ROW_BITS };
        let pid = self.process_of(who).and_then(|(process, _)| Pid::from_raw(i32::try_from(process.pid).ok()?));
        // Relaxed: it only decides which process says so.
        if place.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        // Where its end can be seen, its pidfd has told the others.
        match pid.map(|pid| apart(|| pidfd_open(pid, PidfdFlags::empty()))) {
            Some(Ok(pidfd)) => !is_ready(pidfd, PollFlags::IN),
            Some(Err(error)) if Errno::from_io_error(&error) == Some(Errno::SRCH) => false,
            _ => true,
        }
    }
}

impl Charge {
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the other lookout has gone in a way that no process was told of.
    pub(crate) fn is_left_alone(&self) -> bool {
        let Standing::Lookout { seat: ours, .. } = self.standing else { return false };
        (0..SEATS).filter(|&seat| seat != ours).any(|seat| self.table.is_abandoned(seat))
    }
}

impl State {
    /// Takes a free seat, or gets pidfds of the lookouts. `None`: deaths would go unnoticed.
    fn choose(&mut self, table: &Participants, locks: &LockFile, me: Participant, number: u64) -> Option<Standing> {
        watcher::start(self)?;
        for seat in 0..SEATS {
            let byte = FIRST_SEAT + seat as u32;
            if !locks.try_lock(byte).ok()? {
                continue;
            }
            let Some(heard_as) = self.listen(table) else {
                locks.unlock(byte);
                return None;
            };
            if let Some(word) = table.seats.get(seat) {
                // Release: we listen before any process relies on us (pairs with: seat).
                word.store(me.epoch << ROW_BITS | u64::from(me.row), Ordering::Release);
            }
            return Some(Standing::Lookout { seat, heard_as });
        }
        let words = table.seat_words();
        let bells = self.bells.clone()?;
        let told = |pidfd: OwnedFd| {
            let pidfd = PrivateFd::new(pidfd).ok()?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
            epoll::add(bells.get()?, pidfd.get()?, epoll::EventData::new_u64(number), flags).ok()?;
            Some(pidfd)
        };
        let lookouts: Vec<_> = (0..SEATS).filter_map(|seat| table.pidfd_of(seat, words[seat])).filter_map(told).collect();
        (!lookouts.is_empty()).then_some(Standing::Behind { words, _lookouts: lookouts })
    }

    /// Hears from now on when a process closes a description of the segment that could hold a lock.
    fn listen(&mut self, table: &Participants) -> Option<i32> {
        if self.ear.is_none() {
            let ear = PrivateFd::open(|| inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)).ok()?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
            epoll::add(self.bells.as_ref()?.get()?, ear.get()?, epoll::EventData::new_u64(watcher::EAR), flags).ok()?;
            self.ear = Some(ear);
        }
        let path = path_of(table.segment.as_fd());
        inotify::add_watch(self.ear.as_ref()?.get()?, path, inotify::WatchFlags::CLOSE_WRITE).ok()
    }

    fn stop_listening(&mut self, heard_as: i32) {
        let others = |charge: &Charge| matches!(charge.standing, Standing::Lookout { heard_as: other, .. } if other == heard_as);
        if let Some(ear) = self.ear.as_ref().and_then(PrivateFd::get).filter(|_| !self.charges.iter().any(others)) {
            let _ = inotify::remove_watch(ear, heard_as);
        }
    }

    /// Chooses anew after the death of a lookout. Returns what the thread has to do about it.
    pub(crate) fn replace(&mut self, number: u64) -> Option<watcher::Act> {
        /// Tries, some milliseconds apart. After them a new lookout has surely written its word.
        const TRIES: u32 = 10;
        let at = self.charges.iter().position(|charge| charge.number == number)?;
        let charge = &self.charges[at];
        let tries = match charge.standing {
            Standing::Lookout { .. } => return None,
            Standing::Behind { .. } => 0,
            Standing::Seeking { tries } => tries + 1,
        };
        let (table, locks, me) = (charge.table.clone(), Arc::clone(&charge.locks), charge.me);
        let standing = self.choose(&table, &locks, me, number);
        let watched = self.charges[at].watched.clone();
        match standing {
            Some(standing) => {
                let appointed = matches!(standing, Standing::Lookout { .. });
                self.charges[at].standing = standing;
                appointed.then_some(watcher::Act::Look(watched))
            }
            None if tries < TRIES => {
                self.charges[at].standing = Standing::Seeking { tries };
                None
            }
            None => {
                self.charges.swap_remove(at);
                Some(watcher::Act::WakeEveryone(watched))
            }
        }
    }
}
