//! Who is attached to a segment, and who of them is dead.
//!
//! A row goes `Free(e)` → `Joining(e+1)` → `Alive(e+1)` → `Free(e+1)`. Its process holds the lock byte of the row through an
//! open file description of its own, so that the kernel frees it at any kind of death.

use crate::error::JoinError;
use crate::fork;
use crate::header::{HEADER_LEN, MAX_PARTICIPANTS};
use crate::liveness::Identity;
use crate::lock::LockFile;
use crate::segment::Segment;
use multiproc_prim::{Array, AtomicU64, Ordering, shared_struct};
use std::os::fd::AsFd;
use std::sync::Arc;

shared_struct! {
    /// One place for a process.
    pub(crate) struct Row {
        /// Status in the low two bits, epoch above.
        word: AtomicU64,
        pid: AtomicU64,
        start: AtomicU64,
        namespace: AtomicU64,
    }
}

#[cfg(not(loom))]
static_assertions::const_assert_eq!(size_of::<Row>(), 32);

const FREE: u64 = 0;
const JOINING: u64 = 1;
const ALIVE: u64 = 2;
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

/// How hard to look whether a participant is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At its lock, which takes a system call that costs nearly nothing. Misses one whose lock a forked copy of it holds.
    Quick,
    /// At its lock and at its process: a hundred times as costly.
    Hard,
}

/// The participant table of a segment.
#[derive(Clone, Debug)]
pub struct Participants {
    rows: Array<Row>,
    /// For asking about locks, and for holding ours: through a description of this process's own.
    locks: Option<Arc<LockFile>>,
    segment: Segment,
}

/// This process's place in a segment. Given up by [`leave`](Self::leave); a process that dies without is found dead.
#[derive(Debug)]
pub struct Membership {
    table: Participants,
    me: Participant,
    stamp: u64,
}

impl Participants {
    pub(crate) fn new(segment: &Segment, rows: u32) -> Option<Self> {
        let rows = segment.region().array(HEADER_LEN, rows as usize).ok()?;
        let locks = LockFile::open(segment.as_fd()).ok().map(Arc::new);
        Some(Self { rows, locks, segment: segment.clone() })
    }

    pub(crate) fn make_fresh(&self) {
        self.rows.make_fresh();
    }

    /// Takes a place. Call it once per attached segment, and again after a fork.
    ///
    /// # Errors
    ///
    /// Every place is taken by a living process, or the system refuses. Places of the dead count until they are swept.
    pub fn join(&self) -> Result<Membership, JoinError> {
        // A description of its own, so that it falls with this process and with no other.
        let locks = LockFile::open(self.segment.as_fd()).ok().map(Arc::new);
        let table = Self { rows: self.rows.clone(), locks, segment: self.segment.clone() };
        for (index, row) in self.rows.iter().enumerate() {
            // Relaxed to look: the exchange decides.
            let word = row.word.load(Ordering::Relaxed);
            if word & STATUS != FREE {
                continue;
            }
            let index = index as u32;
            // The lock comes first: from the exchange on, whoever finds it free takes us for dead.
            let locked = match &table.locks {
                Some(locks) => match locks.try_lock(index) {
                    Ok(true) => true,
                    Ok(false) => continue,
                    Err(_) => false,
                },
                None => false,
            };
            let epoch = (word >> 2).wrapping_add(1);
            // Acquire: what the last one of this row did comes before what we do (pairs with: leave).
            let joining = (epoch << 2) | JOINING;
            if row.word.compare_exchange(word, joining, Ordering::Acquire, Ordering::Relaxed).is_err() {
                if let (true, Some(locks)) = (locked, &table.locks) {
                    locks.unlock(index);
                }
                continue;
            }
            let me = Identity::current();
            // Relaxed: ordered by the release below (pairs with: join).
            row.pid.store(u64::from(me.pid) | if locked { LOCKED } else { 0 }, Ordering::Relaxed);
            row.start.store(me.start, Ordering::Relaxed);
            row.namespace.store(me.namespace, Ordering::Relaxed);
            row.word.store((epoch << 2) | ALIVE, Ordering::Release);
            return Ok(Membership { table, me: Participant { row: index, epoch }, stamp: fork::stamp() });
        }
        Err(JoinError::Full(self.rows.len()))
    }

    /// Everyone attached, the dead included.
    fn list(&self) -> impl Iterator<Item = Participant> {
        self.rows.iter().enumerate().filter_map(|(row, entry)| {
            let word = entry.word.load(Ordering::Relaxed);
            (word & STATUS != FREE).then_some(Participant { row: row as u32, epoch: word >> 2 })
        })
    }

    fn is_dead(&self, who: Participant, how: Look) -> bool {
        let Some(row) = self.rows.get(who.row as usize) else { return false };
        // Acquire: the identity is at least as new as the word (pairs with: join).
        let word = row.word.load(Ordering::Acquire);
        let status = word & STATUS;
        if word >> 2 != who.epoch || status == FREE {
            return false;
        }
        let pid = row.pid.load(Ordering::Relaxed);
        let identity = Identity {
            pid: pid as u32,
            start: row.start.load(Ordering::Relaxed),
            namespace: row.namespace.load(Ordering::Relaxed),
        };
        if status == JOINING {
            // Its identity is not written yet; its lock was taken before, if it could be.
            return self.locks.as_ref().and_then(|locks| locks.is_locked(who.row)) == Some(false)
                && row.word.load(Ordering::Acquire) == word;
        }
        let locked = self.locks.as_ref().filter(|_| pid & LOCKED != 0).and_then(|locks| locks.is_locked(who.row));
        let dead = match locked {
            Some(false) => true,
            // A forked copy of the dead may hold its lock.
            Some(true) => how == Look::Hard && identity.is_alive() == Some(false),
            None => identity.is_alive() == Some(false),
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

/// The right to clear away the dead of a table that has no place left, for one process at a time.
///
/// Its row number is the one that no participant has, so that what a janitor holds when it dies is found by the next one.
#[derive(Debug)]
pub struct Janitor {
    table: Participants,
    locks: Arc<LockFile>,
}

impl Participants {
    /// Becomes the janitor, unless another process is.
    pub fn janitor(&self) -> Option<Janitor> {
        // A description of its own, as for a member.
        let locks = Arc::new(LockFile::open(self.segment.as_fd()).ok()?);
        let held = locks.try_lock(MAX_PARTICIPANTS).ok()?;
        held.then(|| Janitor { table: self.clone(), locks })
    }
}

impl Janitor {
    /// What to call itself.
    pub const PARTICIPANT: Participant = Participant { row: MAX_PARTICIPANTS, epoch: 0 };

    /// The dead. All that they held must be accounted for before they are buried.
    pub fn dead(&self) -> impl Iterator<Item = Participant> {
        self.table.list().filter(|who| self.table.is_dead(*who, Look::Hard))
    }

    /// As [`Membership::is_there`].
    pub fn is_there(&self, who: Participant) -> bool {
        self.table.is_there(who)
    }

    /// As [`Membership::bury`].
    pub fn bury(&self, who: Participant) -> bool {
        self.table.bury(who)
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.locks.unlock(MAX_PARTICIPANTS);
    }
}

impl Membership {
    /// Row and epoch.
    pub fn participant(&self) -> Participant {
        self.me
    }

    /// Everyone attached, this process and the dead included.
    pub fn others(&self) -> impl Iterator<Item = Participant> {
        self.table.list().filter(|who| *who != self.me)
    }

    /// Whether another participant is surely dead. A stopped or slow process is not, nor one that can't be asked about.
    pub fn is_dead(&self, who: Participant, how: Look) -> bool {
        // Our own lock looks free to ourselves, and so does our parent's to a forked copy of us.
        who != self.me && !self.is_inherited() && self.table.is_dead(who, how)
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
        fork::stamp() != self.stamp
    }

    /// Gives the place up. What it held must be accounted for before.
    pub fn leave(&self) {
        if !self.is_inherited() {
            self.table.bury(self.me);
            if let Some(locks) = &self.table.locks {
                locks.unlock(self.me.row);
            }
        }
    }
}
