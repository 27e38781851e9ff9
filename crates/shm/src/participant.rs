//! The participant table of a segment: which processes are attached, and which of them are dead.
//!
//! A row goes `Free(e)` → `Joining(e+1)` or `JoiningBare(e+1)` → `Alive(e+1)` → `Free(e+1)`. Its process holds the lock byte of the
//! row through an open file description of its own, so the kernel frees the lock at any kind of death.
//!
//! A participant is dead if that lock is free. It is also dead if its process is of our own pid namespace and the kernel knows no
//! such process: that tells of a participant without a lock, and of one whose lock a raw copy of it holds. Nothing else counts as
//! death: where nothing can be known, nobody is dead.

use crate::error::ParticipantError;
use crate::header::{HEADER_LEN, JANITORS, table_rows};
use crate::liveness::Identity;
use crate::lock::{LockFile, is_locked};
use crate::lookout::{self, Notice, SEATS, SEATS_AT, Watched};
use crate::segment::Segment;
use multiproc_prim::{Array, AtomicU64, Ordering, fence, shared_struct, stamp};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

shared_struct! {
    /// The place of one participant.
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
/// Joining without a lock: nothing can be known of the participant yet.
const JOINING_BARE: u64 = 3;
const STATUS: u64 = 3;

/// Set in the process id of a row whose lock byte says whether it lives.
const LOCKED: u64 = 1 << 32;

/// The number of a participant: its row, and an epoch that tells it from those that had the row before.
///
/// Write it beside what a participant holds in the segment. After a death, the sweeper finds by it what to account for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Participant {
    /// The row in the table: below [`table_rows`](crate::table_rows).
    pub row: u32,
    /// How often the row was handed out, this time included.
    pub epoch: u64,
}

/// The participant table of a segment.
#[derive(Clone, Debug)]
pub struct Participants {
    rows: Array<Row>,
    /// The words of the lookouts.
    pub(crate) seats: Array<AtomicU64>,
    pub(crate) segment: Segment,
}

/// A place of this process in a segment. Each membership is one participant: a process that joins twice is two.
///
/// It ends in one of three ways:
///
/// | how | what the others see |
/// |---|---|
/// | [`leave`](Self::leave), or drop | The row is free at once, and nobody sweeps it: account for what it held before. |
/// | [`abandon`](Self::abandon) | The participant is dead: they sweep and bury it. |
/// | the process ends, or becomes another program | The same. |
#[must_use = "a membership that is dropped has left its segment"]
#[derive(Debug)]
pub struct Membership {
    pub(crate) table: Participants,
    /// The description that holds our lock byte. `None`: the system gives us none of our own, or the membership is abandoned.
    pub(crate) locks: Option<Arc<LockFile>>,
    me: Participant,
    stamp: u64,
    /// Tells this membership from every other one of this process.
    pub(crate) number: u64,
    is_abandoned: bool,
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

    /// Takes a place for this process. A forked copy joins anew: its parent's place is not its own.
    ///
    /// # Errors
    ///
    /// Every place is taken. Places of the dead count until they are buried: see [`join_as_janitor`](Self::join_as_janitor).
    pub fn join(&self) -> Result<Membership, ParticipantError> {
        self.join_in(JANITORS..self.rows.len() as u32)
    }

    /// Takes one of eight places that are kept free for a process that found all others taken. It sweeps and buries the dead, who may
    /// be alone in the table, and leaves; then it joins. Several processes may do so at once.
    ///
    /// # Errors
    ///
    /// These eight places are taken, too.
    pub fn join_as_janitor(&self) -> Result<Membership, ParticipantError> {
        self.join_in(0..JANITORS)
    }

    fn join_in(&self, places: Range<u32>) -> Result<Membership, ParticipantError> {
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
            // The lock comes first: from the exchange on, a process that finds the lock free takes us for dead.
            let locked = match &locks {
                Some(locks) => match locks.try_lock(index) {
                    Ok(true) => true,
                    Ok(false) => continue,
                    Err(_) => false,
                },
                None => false,
            };
            let epoch = (word >> 2).wrapping_add(1);
            // Acquire: what the last participant of this row did comes before what we do (pairs with: leave).
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
            // Release: whoever sees anything that we write from now on, and then asks whose the row is, sees that it is ours (pairs with: sweep).
            fence(Ordering::Release);
            let me = Participant { row: index, epoch };
            let locks = locks.filter(|_| locked);
            let number = lookout::next_number();
            return Ok(Membership { table: self.clone(), locks, me, stamp: stamp(), number, is_abandoned: false });
        }
        Err(ParticipantError::Full(count))
    }

    /// All participants, the dead included.
    fn list(&self) -> impl Iterator<Item = Participant> {
        self.rows.iter().enumerate().filter_map(|(row, entry)| {
            let word = entry.word.load(Ordering::Relaxed);
            (word & STATUS != FREE).then_some(Participant { row: row as u32, epoch: word >> 2 })
        })
    }

    /// The process of a participant, and whether it has a lock. `None`: the participant has left, or has not written its process yet.
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
            // `process_of` knows nothing of a participant that joins without a lock.
            let Some((process, locked)) = self.process_of(who) else { return false };
            locked && self.lock_of(who.row) == Some(false) || process.is_gone()
        };
        // The row is still that participant's.
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
            // Release: the sweep comes before the life of the row's next participant (pairs with: leave).
            && row.word.compare_exchange(word, who.epoch << 2, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl Membership {
    /// The number of this participant.
    pub fn participant(&self) -> Participant {
        self.me
    }

    /// All participants but this one, the dead included. Other memberships of this same process are among them.
    pub fn others(&self) -> impl Iterator<Item = Participant> {
        self.table.list().filter(|who| *who != self.me)
    }

    /// Whether another participant is surely dead: its process has ended, has become another program, or has
    /// [abandoned](Self::abandon) it. A participant that is stopped, slow, or in a place that can't be seen from here is not.
    pub fn is_dead(&self, who: Participant) -> bool {
        who != self.me && !self.is_inherited() && self.table.is_dead(who)
    }

    /// The process of a participant, this one included, until it has left or is buried.
    pub fn process_of(&self, who: Participant) -> Option<Identity> {
        self.table.process_of(who).map(|(process, _)| process)
    }

    /// Whether a participant still has its row: it lives, or is dead and not buried.
    pub fn is_there(&self, who: Participant) -> bool {
        self.table.is_there(who)
    }

    /// Frees the row of another participant that is dead and swept. Returns whether this call did it, and no other process's.
    pub fn bury(&self, who: Participant) -> bool {
        who != self.me && self.table.bury(who)
    }

    /// Whether this process is a forked copy of the process that joined. It is no participant until it joins itself.
    #[inline]
    pub fn is_inherited(&self) -> bool {
        stamp() != self.stamp
    }

    /// Whether the kernel tells the others when this process ends. It does not where the process can't have an open file
    /// description of its own: without `/proc`, or in a segment of another user.
    pub fn is_announced(&self) -> bool {
        self.locks.is_some()
    }

    /// Sees to it that a death among the others is noticed while this process sleeps. Call it after a sleep in vain, before the next
    /// one. From then on a thread of this process tells `watched` what to do.
    pub fn keep_watch<W: Watched + 'static>(&self, watched: &Weak<W>) -> Notice {
        if self.is_inherited() {
            return Notice::Nobody;
        }
        lookout::keep_watch(self, || -> Weak<dyn Watched> { watched.clone() })
    }

    /// Ends what [`keep_watch`](Self::keep_watch) began. Returns whether this process was a lookout. If so, wake all sleepers: one of
    /// them takes its place.
    pub fn stop_watching(&self) -> bool {
        !self.is_inherited() && lookout::leave(self)
    }

    /// Gives the place up, as dropping the membership does. Account before for what this participant holds in the segment:
    /// nobody sweeps it afterwards.
    pub fn leave(&self) {
        if !self.is_inherited() && !self.is_abandoned {
            self.table.bury(self.me);
            if let Some(locks) = &self.locks {
                locks.unlock(self.me.row);
            }
        }
    }

    /// Gives the place up with all that this participant still holds in the segment. The others find it dead from now on, and sweep
    /// it. If it is not [announced](Self::is_announced), they find it dead when this process ends.
    pub fn abandon(&mut self) {
        self.stop_watching();
        self.is_abandoned = true;
        // The lock falls with its description.
        self.locks = None;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // The watch shares in our locks, which must fall now.
        self.stop_watching();
        self.leave();
    }
}
