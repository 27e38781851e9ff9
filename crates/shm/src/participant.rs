//! Who is attached to a segment, and who of them is dead.
//!
//! A row goes `Free(e)` → `Joining(e+1)` or `JoiningBare(e+1)` → `Alive(e+1)` → `Free(e+1)`. Its process holds the lock byte of the row through an
//! open file description of its own, so that the kernel frees it at any kind of death.
//!
//! A participant is dead if that lock is free, or if its process is of our own pid namespace and the kernel knows no such process
//! (which also tells of a participant without a lock, and of one whose lock a raw copy of it holds). Nothing else is taken for
//! death: where nothing can be known, nobody is dead.

use crate::error::JoinError;
use crate::header::{HEADER_LEN, JANITORS, table_rows};
use crate::liveness::Identity;
use crate::lock::{LockFile, is_locked};
use crate::lookout::{self, SEATS, SEATS_AT};
use crate::segment::Segment;
use multiproc_prim::stamp;
use multiproc_prim::{Array, AtomicU64, Ordering, shared_struct};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

pub use crate::lookout::{Notice, Watched};

shared_struct! {
    /// One place for a process.
    pub(crate) struct Row {
        /// Status in the low two bits, epoch above.
        word: AtomicU64,
        pid: AtomicU64,
        namespace: AtomicU64,
        reserved: AtomicU64,
    }
}

#[cfg(not(loom))]
static_assertions::const_assert_eq!(size_of::<Row>(), 32);

const FREE: u64 = 0;
const JOINING: u64 = 1;
const ALIVE: u64 = 2;
/// Joining without a lock: nothing can be known of it yet.
const JOINING_BARE: u64 = 3;
const STATUS: u64 = 3;

/// Set in the process id of a row whose lock byte says whether it lives.
const LOCKED: u64 = 1 << 32;

/// A process's place in the table, at one time: the row may be another's later, in another epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    /// The row.
    pub row: u32,
    /// How often the row was handed out.
    pub epoch: u64,
}

/// The participant table of a segment.
#[derive(Clone, Debug)]
pub struct Participants {
    rows: Array<Row>,
    /// Who the lookouts are.
    pub(crate) seats: Array<AtomicU64>,
    pub(crate) segment: Segment,
}

/// This process's place in a segment. Given up by [`leave`](Self::leave); a process that dies without is found dead.
#[derive(Debug)]
pub struct Membership {
    pub(crate) table: Participants,
    /// What holds our lock byte; `None` where the system gives us no description of our own.
    pub(crate) locks: Option<Arc<LockFile>>,
    me: Participant,
    stamp: u64,
    /// Tells this membership from every other one of this process.
    pub(crate) number: u64,
}

impl Participants {
    pub(crate) fn new(segment: &Segment, participants: u32) -> Option<Self> {
        let table = segment.region().array(HEADER_LEN, table_rows(participants) as usize).ok()?;
        let seats = segment.region().array(SEATS_AT, SEATS).ok()?;
        Some(Self { rows: table, seats, segment: segment.clone() })
    }

    pub(crate) fn make_fresh(&self) {
        self.rows.make_fresh();
        self.seats.make_fresh();
    }

    /// Takes a place. Call it once per attached segment, and again after a fork.
    ///
    /// # Errors
    ///
    /// Every place is taken by a living process, or the system refuses. Places of the dead count until they are swept.
    pub fn join(&self) -> Result<Membership, JoinError> {
        self.join_in(JANITORS..self.rows.len() as u32)
    }

    /// Takes one of a few places kept free for those who found all others taken: to clear away the dead, who may be alone in the
    /// table, and [`leave`](Membership::leave). Several processes may do it at once.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_as_janitor(&self) -> Result<Membership, JoinError> {
        self.join_in(0..JANITORS)
    }

    fn join_in(&self, places: Range<u32>) -> Result<Membership, JoinError> {
        let count = places.len();
        // A description of its own, so that it falls with this process and with no other.
        let locks = LockFile::open(self.segment.as_fd()).ok().map(Arc::new);
        for index in places {
            let Some(row) = self.rows.get(index as usize) else { continue };
            // Relaxed to look: the exchange decides.
            let word = row.word.load(Ordering::Relaxed);
            if word & STATUS != FREE {
                continue;
            }
            // The lock comes first: from the exchange on, a process that finds it free takes us for dead.
            let locked = match &locks {
                Some(locks) => match locks.try_lock(index) {
                    Ok(true) => true,
                    Ok(false) => continue,
                    Err(_) => false,
                },
                None => false,
            };
            let epoch = (word >> 2).wrapping_add(1);
            // Acquire: what the last one of this row did comes before what we do (pairs with: leave).
            let joining = (epoch << 2) | if locked { JOINING } else { JOINING_BARE };
            if row.word.compare_exchange(word, joining, Ordering::Acquire, Ordering::Relaxed).is_err() {
                if let (true, Some(locks)) = (locked, &locks) {
                    locks.unlock(index);
                }
                continue;
            }
            let me = Identity::current();
            // Relaxed: ordered by the release below (pairs with: join).
            row.pid.store(u64::from(me.pid) | if locked { LOCKED } else { 0 }, Ordering::Relaxed);
            row.namespace.store(me.namespace, Ordering::Relaxed);
            row.word.store((epoch << 2) | ALIVE, Ordering::Release);
            let me = Participant { row: index, epoch };
            let locks = locks.filter(|_| locked);
            return Ok(Membership { table: self.clone(), locks, me, stamp: stamp(), number: lookout::next_number() });
        }
        Err(JoinError::Full(count))
    }

    /// Everyone attached, the dead included.
    fn list(&self) -> impl Iterator<Item = Participant> {
        self.rows.iter().enumerate().filter_map(|(row, entry)| {
            let word = entry.word.load(Ordering::Relaxed);
            (word & STATUS != FREE).then_some(Participant { row: row as u32, epoch: word >> 2 })
        })
    }

    /// The process of a participant, and whether it has a lock; `None` if that one has left, or says nothing of itself yet.
    pub(crate) fn process_of(&self, who: Participant) -> Option<(Identity, bool)> {
        let row = self.rows.get(who.row as usize)?;
        let word = (who.epoch << 2) | ALIVE;
        // Acquire: the identity is at least as new as the word (pairs with: join).
        if row.word.load(Ordering::Acquire) != word {
            return None;
        }
        let (pid, namespace) = (row.pid.load(Ordering::Relaxed), row.namespace.load(Ordering::Relaxed));
        let still = row.word.load(Ordering::Acquire) == word;
        still.then_some((Identity { pid: pid as u32, namespace }, pid & LOCKED != 0))
    }

    pub(crate) fn lock_of(&self, byte: u32) -> Option<bool> {
        is_locked(self.segment.as_fd(), byte)
    }

    /// Whether each participant holds a lock, so that the kernel tells of its death.
    pub(crate) fn all_have_locks(&self) -> bool {
        self.list().all(|who| self.process_of(who).is_none_or(|(_, locked)| locked))
    }

    fn is_dead(&self, who: Participant) -> bool {
        let Some(row) = self.rows.get(who.row as usize) else { return false };
        let word = row.word.load(Ordering::Acquire);
        let status = word & STATUS;
        if word >> 2 != who.epoch || status == FREE {
            return false;
        }
        let dead = if status == JOINING {
            // Its identity is not written yet; its lock was taken before.
            self.lock_of(who.row) == Some(false)
        } else {
            // Of a bare one that joins, `process_of` knows nothing.
            let Some((process, locked)) = self.process_of(who) else { return false };
            locked && self.lock_of(who.row) == Some(false) || process.is_gone()
        };
        // Still the same one that we asked about.
        dead && row.word.load(Ordering::Acquire) == word
    }

    fn is_there(&self, who: Participant) -> bool {
        // Acquire: a sweeper asks this between reading a block and exchanging it.
        let word = self.rows.get(who.row as usize).map(|row| row.word.load(Ordering::Acquire));
        word.is_some_and(|word| word >> 2 == who.epoch && word & STATUS != FREE)
    }

    fn bury(&self, who: Participant) -> bool {
        let Some(row) = self.rows.get(who.row as usize) else { return false };
        let word = row.word.load(Ordering::Relaxed);
        word >> 2 == who.epoch
            && word & STATUS != FREE
            // Release: the sweep comes before the next one's life in this row (pairs with: leave).
            && row.word.compare_exchange(word, who.epoch << 2, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl Membership {
    /// Row and epoch.
    pub fn participant(&self) -> Participant {
        self.me
    }

    /// Everyone attached but this process, the dead included.
    pub fn others(&self) -> impl Iterator<Item = Participant> {
        self.table.list().filter(|who| *who != self.me)
    }

    /// Whether another participant is surely dead. A stopped or slow process is not, nor one that can't be asked about.
    pub fn is_dead(&self, who: Participant) -> bool {
        who != self.me && !self.is_inherited() && self.table.is_dead(who)
    }

    /// Whether a participant still has its row: alive, or dead and not buried.
    pub fn is_there(&self, who: Participant) -> bool {
        self.table.is_there(who)
    }

    /// Frees the row of a participant that is dead and swept. Returns whether it was us.
    pub fn bury(&self, who: Participant) -> bool {
        who != self.me && self.table.bury(who)
    }

    /// Whether this process is another one than the one that joined: a forked copy, which has to join anew.
    #[inline]
    pub fn is_inherited(&self) -> bool {
        stamp() != self.stamp
    }

    /// Whether others learn from the kernel when this process ends. Not where the system gives it no open file description of its
    /// own, as without `/proc` or in a segment of another user.
    pub fn is_announced(&self) -> bool {
        self.locks.is_some()
    }

    /// Sees to it that a death among the others is noticed while this process sleeps: call it after a sleep in vain, before the
    /// next one. From then on a thread of this process tells `watched` what it has to do.
    pub fn keep_watch<W: Watched + 'static>(&self, watched: &Weak<W>) -> Notice {
        if self.is_inherited() {
            return Notice::Nobody;
        }
        lookout::keep_watch(self, || -> Weak<dyn Watched> { watched.clone() })
    }

    /// Ends what [`keep_watch`](Self::keep_watch) began. Returns whether this process was a lookout: then wake everyone who sleeps, so
    /// that another one becomes it.
    pub fn stop_watching(&self) -> bool {
        !self.is_inherited() && lookout::leave(self)
    }

    /// Gives the place up. What it held must be accounted for before.
    pub fn leave(&self) {
        if !self.is_inherited() {
            self.table.bury(self.me);
            if let Some(locks) = &self.locks {
                locks.unlock(self.me.row);
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // The watch shares in our locks, which must fall now.
        self.stop_watching();
    }
}
