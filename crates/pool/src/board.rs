//! Words in shared memory that outlive their writer: what each worker has in hand, and which orders have begun.
//!
//! A message per element would say the same, and would cost more than many a task. So this crate has a segment of its own.

use multiproc_prim::{Array, AtomicU64, Ordering, Padded, monotonic_millis, shared_struct};
use multiproc_shm::{AttachError, CreateError, Kind, Segment, Spec};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

const KIND: Kind = Kind(*b"POOL");

/// Bits of an element's number in a hand word. The number of an order is above.
const ELEMENT_BITS: u32 = 24;
const ELEMENTS: u64 = 1 << ELEMENT_BITS;
/// The worker reads the arguments.
const READING: u64 = ELEMENTS - 1;
/// The worker writes results, those of the element below and of some behind it.
const WRITING: u64 = ELEMENTS / 2;
/// Elements that an order can have.
pub(crate) const MOST_ELEMENTS: usize = (WRITING - 1) as usize;
/// Numbers of orders come again after that many. Full speed takes days.
pub(crate) const NUMBERS: u64 = 1 << (64 - ELEMENT_BITS);

/// Orders that can wait or run at once and be cancelled. Those beyond can't be cancelled.
const SLOTS: usize = 1 << 20;
/// No slot.
pub(crate) const NO_SLOT: u32 = u32::MAX;
/// Slots that are committed at once: a page.
const SLOT_STEP: usize = 512;

/// Whether an order has begun, below its number in its slot.
const WAITING: u64 = 0;
const BEGUN: u64 = 1;
const CANCELLED: u64 = 2;
const STATE_BITS: u32 = 2;

shared_struct! {
    /// What one worker alone writes.
    struct Row {
        /// The order and the element in hand; 0: none.
        hand: AtomicU64,
        /// When the worker took the element in hand, in milliseconds of the monotonic clock.
        since: AtomicU64,
        /// A [`Stage`].
        stage: AtomicU64,
    }
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its initializer has not returned.
    Starting = 0,
    /// It takes orders.
    Ready = 1,
    /// It has run as many tasks as one worker may.
    Spent = 2,
}

/// An order, and how far a worker has come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hand(u64);

/// What a worker does with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Reads the arguments.
    Reading,
    /// Calls the function with those of an element.
    Element(u32),
    /// Writes results, from those of this element on.
    Writing(u32),
}

impl Hand {
    pub(crate) fn new(order: u64, at: At) -> Self {
        let element = match at {
            At::Reading => READING,
            At::Element(element) => u64::from(element),
            At::Writing(first) => WRITING | u64::from(first),
        };
        Self(order << ELEMENT_BITS | element)
    }

    /// The number of the order; `None`: the hand is empty.
    pub(crate) fn order(self) -> Option<u64> {
        Some(self.0 >> ELEMENT_BITS).filter(|&order| order != 0)
    }

    pub(crate) fn at(self) -> At {
        match self.0 & (ELEMENTS - 1) {
            READING => At::Reading,
            writing if writing & WRITING != 0 => At::Writing((writing & !WRITING) as u32),
            element => At::Element(element as u32),
        }
    }
}

/// The words of one pool.
#[derive(Debug)]
pub(crate) struct Board {
    segment: Segment,
    rows: Array<Padded<Row>>,
    slots: Array<AtomicU64>,
}

/// Bytes of the rows, in whole pages.
fn rows_len(workers: usize) -> usize {
    (workers * size_of::<Padded<Row>>()).next_multiple_of(4096)
}

impl Board {
    pub(crate) fn create(workers: usize) -> Result<Self, CreateError> {
        let geometry = [workers as u64, 0, 0, 0, 0, 0, 0, 0];
        let spec = Spec { geometry, ..Spec::new(KIND, rows_len(workers) + SLOTS * size_of::<u64>()) };
        let segment = Segment::create(&spec)?;
        let refused = |source| CreateError::System { segment: segment.name().into(), what: "get memory for a pool", source };
        Self::of(segment.clone(), workers).map_err(refused)
    }

    /// The board behind a descriptor, in a worker.
    pub(crate) fn attach(descriptor: OwnedFd) -> Result<Self, AttachError> {
        let segment = Segment::attach(descriptor, KIND)?;
        let workers = segment.geometry()[0] as usize;
        let refused = |source| AttachError::System { segment: segment.name().into(), what: "get memory for a pool", source };
        Self::of(segment.clone(), workers).map_err(refused)
    }

    fn of(segment: Segment, workers: usize) -> io::Result<Self> {
        let at = segment.content_at();
        let region = segment.region();
        let rows = region.array(at, workers).map_err(io::Error::other)?;
        let slots_at = at + rows_len(workers);
        let slots = region.array(slots_at, SLOTS).map_err(io::Error::other)?;
        region.commit(at..slots_at)?;
        Ok(Self { rows, slots, segment })
    }

    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.segment.as_fd().try_clone_to_owned()
    }

    fn row(&self, worker: usize) -> Option<&Row> {
        self.rows.get(worker).map(|row| &row.0)
    }

    /// What a worker has in hand, and since when. After its death, what it had in hand then.
    pub(crate) fn hand(&self, worker: usize) -> (Hand, u64) {
        let Some(row) = self.row(worker) else { return (Hand(0), 0) };
        // Acquire: the time is that of this hand, or a later one (pairs with: hand).
        let hand = Hand(row.hand.load(Ordering::Acquire));
        (hand, row.since.load(Ordering::Relaxed))
    }

    /// The number of the worker that has an order in hand, or died with it.
    pub(crate) fn holder(&self, order: u64) -> Option<usize> {
        (0..self.rows.len()).find(|&worker| self.hand(worker).0.order() == Some(order))
    }

    pub(crate) fn stage(&self, worker: usize) -> Stage {
        // Acquire: what the worker did before it said so is visible (pairs with: stage).
        match self.row(worker).map_or(0, |row| row.stage.load(Ordering::Acquire)) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Spent,
        }
    }

    /// Clears the row of a worker that has ended, for the next one.
    pub(crate) fn clear(&self, worker: usize) {
        if let Some(row) = self.row(worker) {
            // Relaxed: the next worker starts by a system call, which orders them.
            row.hand.store(0, Ordering::Relaxed);
            row.stage.store(Stage::Starting as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_stage(&self, worker: usize, stage: Stage) {
        if let Some(row) = self.row(worker) {
            // Release (pairs with: stage).
            row.stage.store(stage as u64, Ordering::Release);
        }
    }

    /// Says what this worker has in hand; `timed`: from now on.
    #[inline]
    pub(crate) fn take(&self, worker: usize, hand: Hand, timed: bool) {
        let Some(row) = self.row(worker) else { return };
        if timed {
            row.since.store(monotonic_millis(), Ordering::Relaxed);
        }
        // Release: the time first, or a supervisor would take a new element for an old one (pairs with: hand). A worker that dies leaves
        // the word as it wrote it last, whatever the order.
        row.hand.store(hand.0, Ordering::Release);
    }

    /// Says that this worker has nothing in hand.
    pub(crate) fn put_down(&self, worker: usize) {
        self.take(worker, Hand(0), false);
    }

    /// Makes the first `count` slots usable. Returns whether they are.
    pub(crate) fn commit_slots(&self, count: usize) -> bool {
        let at = self.segment.content_at() + rows_len(self.rows.len());
        count <= SLOTS && self.segment.region().commit(at..at + count * size_of::<u64>()).is_ok()
    }

    /// Slots to commit next, when the first `made` are.
    pub(crate) fn next_slots(made: usize) -> usize {
        made + SLOT_STEP
    }

    /// Says that an order waits.
    pub(crate) fn enter(&self, slot: u32, order: u64) {
        if let Some(word) = self.slot(slot) {
            // Relaxed: the queue that carries the order brings this with it.
            word.store(order << STATE_BITS | WAITING, Ordering::Relaxed);
        }
    }

    /// Begins an order in a worker; false if it was cancelled, or is one of long ago.
    pub(crate) fn begin(&self, slot: u32, order: u64) -> bool {
        self.slot(slot).is_none_or(|word| Self::decide(word, order, BEGUN))
    }

    /// Cancels an order that has not begun; false if it has.
    pub(crate) fn cancel(&self, slot: u32, order: u64) -> bool {
        self.slot(slot).is_some_and(|word| Self::decide(word, order, CANCELLED))
    }

    fn decide(word: &AtomicU64, order: u64, state: u64) -> bool {
        let waiting = order << STATE_BITS | WAITING;
        // Relaxed: the word alone decides, and nothing else is read by what it says.
        word.compare_exchange(waiting, order << STATE_BITS | state, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn slot(&self, slot: u32) -> Option<&AtomicU64> {
        self.slots.get(slot as usize)
    }
}
