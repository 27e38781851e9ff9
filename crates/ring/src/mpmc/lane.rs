//! A lane: one ring, or rings that follow each other as the number of messages grows and shrinks.
//!
//! Two shared words say which ring is *filled* and which is *drained*, each as an era: a number that counts up, and the ring's class.
//!
//! - A producer that finds the ring full begins the next era in a ring four times as large, by one exchange of the first word.
//! - A consumer that finds its ring empty, and the other word in a later era, closes the ring with a mark in the next slot (as after
//!   a shutdown) and goes on in the era after it, by one exchange of the second word. A push that is late gets in before the mark,
//!   or finds it and goes on too. So no message stays behind, and order holds: what is in a later era was pushed after that era began.
//! - A consumer that finds a large ring empty, and no later era, closes it too, and begins the next era in the smallest ring.
//!
//! So while eras wait to be drained, each has a larger ring than the one before; only the first of them may have a larger one, and
//! that is closed and empty. A producer that needs its ring goes on to the era after it first, as a consumer would. If a ring was used
//! before, its mark is taken away when the next era begins there: its tickets go on where they ended. Every step is one exchange
//! that any process can do, so none waits for a process that stopped or died in between.
//!
//! What a process read of a ring counts only while that ring is in the same era: a consumer looks at the second word again between
//! reading a slot and exchanging it, and marks carry the number of their era.

use super::arena::{Arena, Found};
use super::era::Era;
use super::error::{FillError, LayoutError, PopError};
use super::layout::{LaneWords, SLOTS_AT, Stretch};
use super::ring::{Filling, Popped, Ring, Spot, Trouble, Waiting};
use super::state::{Lane, Owner, RingId};
use super::stretches::Stretches;
use multiproc_prim::{Backoff, Ordering, Place, Region, Renewed};
use std::sync::Arc;
use std::{io, iter};

/// Eras that may begin while an operation looks for its own: each is another process's progress, or rubbish.
const MOST_TRIES: u32 = if cfg!(fuzzing) { 1 << 8 } else { 1 << 16 };
/// There is one value per ring, for the life of the handle.
const ONLY: u64 = 0;

pub(crate) struct Rings {
    lane: Lane,
    words: Place<LaneWords>,
    first: Ring,
    /// The rings after the first one that this process has mapped.
    more: Vec<Renewed<Ring>>,
    stretches: Arc<Stretches>,
}

impl Rings {
    pub(crate) fn new(
        region: &Region,
        at: usize,
        lane: Lane,
        stretches: &Arc<Stretches>,
        first_turn: u64,
    ) -> Result<Self, LayoutError> {
        let words = region.place(at)?;
        let first = map(stretches, RingId::new(lane, 0), first_turn)?;
        let more = (1..stretches.layout.rings(lane)).map(|_| Renewed::new()).collect();
        Ok(Self { lane, words, first, more, stretches: Arc::clone(stretches) })
    }

    /// Makes zeroed memory an empty lane.
    pub(crate) fn make_fresh(&self, first_turn: u64) -> io::Result<()> {
        self.words.make_fresh();
        self.first.make_fresh(first_turn)?;
        // A model has all its memory from the start.
        for class in (1..=self.more.len() as u32).filter(|_| cfg!(loom)) {
            self.ring(class)?.make_fresh(1)?;
        }
        Ok(())
    }

    pub(crate) fn capacity(&self) -> usize {
        self.first.capacity()
    }

    fn grows(&self) -> bool {
        !self.more.is_empty()
    }

    /// The ring of a class, whose stretch is added if it is not there yet.
    #[inline(always)]
    fn ring(&self, class: u32) -> io::Result<&Ring> {
        if class == 0 {
            return Ok(&self.first);
        }
        let place = self.more.get(class as usize - 1).ok_or(io::ErrorKind::InvalidData)?;
        match place.peek(ONLY) {
            Some(known) => Ok(known),
            None => self.map_ring(class, place),
        }
    }

    #[cold]
    fn map_ring<'a>(&self, class: u32, place: &'a Renewed<Ring>) -> io::Result<&'a Ring> {
        let ring = map(&self.stretches, RingId::new(self.lane, class), 1)?;
        Ok(place.get(ONLY, || ring))
    }

    #[inline(always)]
    fn filled(&self) -> Era {
        // Acquire: the era's ring is open, and those before it are drained or wait for it (pairs with: era).
        Era(self.words.filled.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn drained(&self) -> Era {
        // Acquire, beyond the models, in which an exchange always meets a slot's newest value: the eras before this one are closed, for
        // handles that read their rings afterwards (pairs with: drained).
        Era(self.words.drained.load(Ordering::Acquire))
    }

    /// Pushes a message into the lane: a small one, or a block that `me` owns.
    #[inline(always)]
    pub(crate) fn push(&self, arena: &Arena, me: Owner, filling: Filling<'_>) -> Result<(), FillError> {
        let era = self.filled();
        if era.is_shut() {
            return Err(FillError::Closed);
        }
        if era.class() == 0 {
            match self.first.push(arena, me, era, filling) {
                Err(FillError::Full | FillError::Closed) if self.grows() => {}
                done => return done,
            }
        }
        self.push_later(arena, me, filling)
    }

    #[cold]
    fn push_later(&self, arena: &Arena, me: Owner, filling: Filling<'_>) -> Result<(), FillError> {
        let mut backoff = Backoff::new();
        while backoff.tries() <= MOST_TRIES {
            let era = self.filled();
            if era.is_shut() {
                return Err(FillError::Closed);
            }
            let ring = self.ring(era.class())?;
            backoff.spin();
            match ring.push(arena, me, era, filling) {
                Err(FillError::Full) => self.grow(era)?,
                // It was empty, and larger than it has to be.
                Err(FillError::Closed) if era.class() > 0 => self.begin(era, 0, &self.first)?,
                Err(FillError::Closed) => self.grow(era)?,
                done => return done,
            }
        }
        Err(FillError::Corrupt)
    }

    /// Begins the era after `era`, in a larger ring, if it has not begun.
    fn grow(&self, era: Era) -> Result<(), FillError> {
        if self.filled() != era {
            return Ok(());
        }
        let class = era.class() + 1;
        if class as usize > self.more.len() {
            return Err(FillError::Full);
        }
        let ring = self.ring(class)?;
        // Relaxed: the era's own word shows it.
        self.words.rings.fetch_max(u64::from(class), Ordering::Relaxed);
        self.begin(era, class, ring)
    }

    /// Begins the era after `era`, if it has not begun, or comes nearer to that.
    fn begin(&self, era: Era, class: u32, ring: &Ring) -> Result<(), FillError> {
        let now = self.drained();
        if now.number() > era.number() {
            return Ok(());
        }
        if now.number() < era.number() && now.class() >= class {
            // A ring that was closed when it was empty, and that consumers have not left yet.
            return self.go_on(now, era).map_err(|_| FillError::Corrupt);
        }
        let next = era.next(class);
        ring.open(next, || self.filled() != era)?;
        // Release, beyond the models, as above: the ring is open, and what was pushed before is in the eras before (pairs with: era).
        // Failure: it has begun.
        let _ = self.words.filled.compare_exchange(era.0, next.0, Ordering::Release, Ordering::Relaxed);
        Ok(())
    }

    /// Pops the oldest message.
    #[inline(always)]
    pub(crate) fn pop<'a>(&self, arena: &'a Arena, me: Owner) -> Result<Popped<'a>, PopError> {
        if self.grows() {
            return self.pop_of_many(arena, me);
        }
        self.first.pop(arena, me, || true)?.ok_or(PopError::Empty)
    }

    #[inline]
    fn pop_of_many<'a>(&self, arena: &'a Arena, me: Owner) -> Result<Popped<'a>, PopError> {
        let mut backoff = Backoff::new();
        while backoff.tries() <= MOST_TRIES {
            let now = self.drained();
            let ring = self.ring(now.class())?;
            match ring.pop(arena, me, || self.drained() == now) {
                Ok(Some(popped)) => return Ok(popped),
                Ok(None) => {}
                Err(PopError::Empty) => {
                    let filled = self.filled();
                    let is_last = filled.number() == now.number();
                    if is_last && (filled.class() == 0 || filled.is_shut()) {
                        return Err(PopError::Empty);
                    }
                    match self.close(arena, now, ring) {
                        // For want of memory it stays the large ring that it is.
                        Err(PopError::NoMemory { .. }) if is_last => return Err(PopError::Empty),
                        closed => closed?,
                    }
                }
                Err(PopError::Closed) => {
                    let filled = self.filled();
                    match filled.number() == now.number() {
                        true if filled.is_shut() => return Err(PopError::Closed),
                        // Closed early, by rubbish: the next push sees to it.
                        true if filled.class() == 0 => return Err(PopError::Empty),
                        true => {
                            self.begin(filled, 0, &self.first).map_err(|_| PopError::Corrupt)?;
                            arena.begin_trim();
                        }
                        false => self.go_on(now, filled)?,
                    }
                }
                Err(other) => return Err(other),
            }
            backoff.spin();
        }
        Err(PopError::Corrupt)
    }

    /// Closes the ring of `now`, if it is still empty.
    fn close(&self, arena: &Arena, now: Era, ring: &Ring) -> Result<(), PopError> {
        match ring.close_if_empty(arena, now, || self.drained() == now) {
            // A message slipped in, or others went on: another look tells. When it is closed it does too.
            PopError::Empty | PopError::Closed => Ok(()),
            trouble => Err(trouble),
        }
    }

    /// Goes on to drain the era after `now`, whose ring is closed and empty.
    fn go_on(&self, now: Era, filled: Era) -> Result<(), PopError> {
        let Some(next) = now.next_towards(filled) else {
            // Others have gone on further, and shrunk it since.
            return if self.drained() == now { Err(PopError::Corrupt) } else { Ok(()) };
        };
        // Release, beyond the models as `drained` is: the ring is closed (pairs with: drained). Failure: another process went on.
        let _ = self.words.drained.compare_exchange(now.0, next.0, Ordering::Release, Ordering::Relaxed);
        Ok(())
    }

    /// Lets nobody push any more.
    pub(crate) fn shut(&self) {
        let mut backoff = Backoff::new();
        while backoff.tries() <= MOST_TRIES {
            let era = self.filled();
            // Release: a handle that sees the end sees what we did before. Failure: another era began, or it was shut already.
            if era.is_shut()
                || self.words.filled.compare_exchange(era.0, era.shut().0, Ordering::Release, Ordering::Relaxed).is_ok()
            {
                return;
            }
            backoff.spin();
        }
    }

    #[inline(always)]
    pub(crate) fn is_shut(&self) -> bool {
        self.filled().is_shut()
    }

    /// Closes a lane that was shut and is empty: no push gets in any more. `Empty` if a message slipped in before, `Closed` once it is
    /// done.
    pub(crate) fn close_if_empty(&self, arena: &Arena) -> PopError {
        let now = self.drained();
        // Pushes may still be on their way into an earlier era.
        if now.number() != self.filled().number() {
            return PopError::Empty;
        }
        match self.ring(now.class()) {
            Ok(ring) => ring.close_if_empty(arena, now, || self.drained() == now),
            Err(error) => error.into(),
        }
    }

    /// Whether a push would find room now. Closed counts as room: the push will say it.
    pub(crate) fn has_room(&self, arena: &Arena) -> bool {
        let era = self.filled();
        era.is_shut() || self.ring(era.class()).is_ok_and(|ring| ring.has_room(arena))
    }

    /// Whether a pop would find something now.
    pub(crate) fn has_message(&self, arena: &Arena) -> bool {
        let mut now = self.drained();
        let mut backoff = Backoff::new();
        while backoff.tries() <= MOST_TRIES {
            if self.ring(now.class()).is_ok_and(|ring| ring.has_message(arena)) {
                return true;
            }
            // A later era may have something, whether or not this one was closed yet.
            match now.next_towards(self.filled()) {
                Some(next) => now = next,
                None => return false,
            }
            backoff.spin();
        }
        false
    }

    /// Whether nothing waits, at some moment during the call, by a look that costs less than a pop. `false` says nothing: a pop tells.
    #[inline(always)]
    pub(crate) fn is_plainly_empty(&self) -> bool {
        let now = self.drained();
        // Where the slot of a ticket that was the head is of the turn before, no message lies there or behind. The lane goes on from its
        // first ring only when that is full, and then the slot is not of the turn before; or when that is closed, which was empty then.
        now.class() == 0 && self.filled() == now && self.first.is_plainly_empty()
    }

    /// Messages waiting, at some moment during the call.
    pub(crate) fn len(&self, arena: &Arena) -> usize {
        let mut sum = 0;
        for _ in 0..MOST_LOOKS {
            let (first, filled) = (self.drained(), self.filled());
            let taken = || self.ring(first.class()).map_or(0, |ring| ring.taken(arena));
            let before = taken();
            sum = 0;
            let mut now = first;
            loop {
                sum += self.ring(now.class()).map_or(0, |ring| ring.len(arena));
                match now.next_towards(filled) {
                    Some(next) => now = next,
                    None => break,
                }
            }
            // One ring tells a number that was true. Of several only the first one is drained and only the last one filled: where nothing
            // was taken meanwhile, so many waited when the last one was asked.
            if (first, filled) == (self.drained(), self.filled()) && (first.number() == filled.number() || taken() == before) {
                break;
            }
        }
        sum
    }

    /// Messages pushed since the lane was made: at least all whose push has returned.
    pub(crate) fn pushed(&self) -> u64 {
        // Acquire: rings beyond are not filled yet by any push that has returned (pairs with: era).
        let _ = self.filled();
        let last = self.words.rings.load(Ordering::Relaxed).min(self.more.len() as u64) as u32;
        (0..=last).fold(0, |sum, class| sum.wrapping_add(self.ring(class).map_or(0, Ring::pushed)))
    }

    /// How many messages were pushed into one of the rings up to the ticket that ends in these bits, that one included.
    pub(crate) fn count_at(&self, class: u32, ticket_low: u64) -> Option<u64> {
        Some(self.ring(class).ok()?.count_at(ticket_low))
    }

    /// The waiting messages, the oldest first. Memory that can't be read ends the messages of its ring.
    pub(crate) fn all_waiting<'r, 'a: 'r>(
        &'r self,
        arena: &'a Arena,
    ) -> impl Iterator<Item = Result<(Spot<'r>, RingId, Waiting<'a>), Trouble>> {
        // The last era is read once: how far we go does not depend on what others write meanwhile.
        let filled = self.filled();
        let eras = iter::successors(Some(self.drained()), move |era| era.next_towards(filled));
        eras.flat_map(move |era| {
            let (ring, failed) = match self.ring(era.class()) {
                Ok(ring) => (Some(ring), None),
                Err(error) => (None, Some(Err(error.into()))),
            };
            let waiting = ring
                .into_iter()
                .flat_map(move |ring| ring.all_waiting(arena).map(|found| found.map(|(spot, waiting)| (spot, ring.id, waiting))));
            failed.into_iter().chain(waiting)
        })
    }

    /// Whether the slot of a ticket of one of the rings holds `block` in that ticket's turn.
    pub(crate) fn holds(&self, class: u32, ticket_low: u64, block: Found<'_>) -> io::Result<bool> {
        self.ring(class)?.holds(ticket_low, block)
    }
}

/// Looks after which a number of waiting messages that changes all the while is told as it was in passing.
const MOST_LOOKS: u32 = 100;

/// The ring's memory. A ring that does not fit it is rubbish in the list.
fn map(stretches: &Stretches, id: RingId, first_turn: u64) -> io::Result<Ring> {
    let region = stretches.add(Stretch::Ring { lane: id.lane(), class: id.class() })?;
    region.commit(0..SLOTS_AT)?;
    Ring::new(region, id, stretches.layout.slots(id.lane(), id.class()), first_turn)
        .map_err(|_| io::ErrorKind::InvalidData.into())
}
