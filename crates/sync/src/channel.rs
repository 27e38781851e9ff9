//! The ring for many producers and consumers, with waiting.

use crate::error::{ChannelError, GetError, PutError};
use crate::event::{EventCount, Pace};
use multiproc_prim::{Deadline, Padded, Place, Region, shared_struct};
use multiproc_ring::mpmc::{AllocError, Block, Geometry, Held, Lane, Mpmc, Owner, Swept, TakeError};
use std::cell::Cell;
use std::time::Duration;

shared_struct! {
    /// What a channel adds to its ring.
    struct Control {
        /// Told when a message is there.
        items: Padded<EventCount>,
        /// Told when a slot is free.
        slots: Padded<EventCount>,
        /// Told when a block is free. All who wait are woken, since they may wait for blocks of different sizes.
        memory: Padded<EventCount>,
    }
}

/// Messages that may slip in, and be taken by others, while we close a channel that was shut down.
const MOST_SLIPS: u32 = 1000;
/// Bytes of memory looked at in a go when there is time to give some back: some microseconds' worth.
const TRIM: usize = 1 << 20;
/// After waiting so long for a message, a burst is over.
const IDLE: Duration = Duration::from_millis(500);
/// The sleep between two goes, for whoever waits anyway.
const BETWEEN_TRIMS: Duration = Duration::from_millis(1);
/// The ring starts on the next page.
const RING_AT: usize = 4096;

/// Bytes of a region that a channel needs.
///
/// # Errors
///
/// The geometry makes no ring.
pub fn channel_len(geometry: &Geometry) -> Result<usize, ChannelError> {
    Ok(RING_AT + geometry.region_len()?)
}

/// Bytes of a region that a channel needs at once, if the region can grow behind them.
///
/// # Errors
///
/// The geometry makes no ring.
pub fn fixed_channel_len(geometry: &Geometry) -> Result<usize, ChannelError> {
    Ok(RING_AT + geometry.fixed_len()?)
}

/// A ring whose users can wait for messages and for room.
///
/// ```
/// use multiproc_prim::{Deadline, Heap, Region};
/// use multiproc_ring::mpmc::{Geometry, Owner};
/// use multiproc_sync::{Channel, SLICE, channel_len};
///
/// let geometry = Geometry::new(4);
/// let region = Region::new(Heap::new(channel_len(&geometry)?));
/// let channel = Channel::create(&region, 0, &geometry, Owner::new(0, 0))?;
/// let other = Channel::attach(&region, 0, &geometry, Owner::new(1, 0))?;
/// let consumer = std::thread::spawn(move || {
///     let mut message = Vec::new();
///     other.pop(&mut message, Deadline::NEVER, || SLICE).map(|_| message)
/// });
/// channel.push(b"hello", Deadline::NEVER, || SLICE)?;
/// assert_eq!(consumer.join().unwrap()?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Channel {
    ring: Mpmc,
    control: Place<Control>,
    item_pace: Pace,
    slot_pace: Pace,
    memory_pace: Pace,
}

impl Channel {
    /// Makes a channel in zeroed memory, `at` bytes (a multiple of 4096) into the region.
    ///
    /// # Errors
    ///
    /// The geometry makes no ring, it does not fit, or the system has no memory for it.
    pub fn create(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, ChannelError> {
        let control: Place<Control> = region.place(at)?;
        region.commit(at..at + RING_AT)?;
        control.make_fresh();
        Ok(Self::build(control, Mpmc::create(region, at + RING_AT, geometry, owner)?))
    }

    /// Another handle on a channel.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn attach(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, ChannelError> {
        let control = region.place(at)?;
        region.commit(at..at + RING_AT)?;
        Ok(Self::build(control, Mpmc::attach(region, at + RING_AT, geometry, owner)?))
    }

    fn build(control: Place<Control>, ring: Mpmc) -> Self {
        Self { ring, control, item_pace: Pace::default(), slot_pace: Pace::default(), memory_pace: Pace::default() }
    }

    /// The ring itself.
    pub fn ring(&self) -> &Mpmc {
        &self.ring
    }

    /// Copies a message in; waits for memory and for a slot until the deadline.
    ///
    /// # Errors
    ///
    /// There was neither in time, the channel is shut down, or the message is too long. Nothing was put then.
    #[inline(always)]
    pub fn push(&self, message: &[u8], deadline: Deadline, look_around: impl FnMut() -> Duration) -> Result<(), PutError> {
        if self.ring.push_now(message) {
            self.control.items.wake_after_exchange(1);
            return Ok(());
        }
        self.push_later(message, deadline, look_around)
    }

    #[cold]
    fn push_later(&self, message: &[u8], deadline: Deadline, mut look_around: impl FnMut() -> Duration) -> Result<(), PutError> {
        // The fast way may have freed a block again.
        self.control.memory.wake_all();
        let block = self.alloc(message.len(), deadline, &mut look_around)?;
        let fits = block.payload().write(message);
        debug_assert!(fits);
        self.publish(block, deadline, look_around).map_err(|(error, block)| {
            drop(block);
            self.control.memory.wake_all();
            error
        })
    }

    /// Appends the oldest message to `target`; waits for one until the deadline. Returns its length.
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down and drained.
    pub fn pop(
        &self,
        target: &mut Vec<u8>,
        deadline: Deadline,
        look_around: impl FnMut() -> Duration,
    ) -> Result<usize, GetError> {
        let block = self.take(&[Lane::Main], deadline, look_around)?;
        block.payload().append_to(target);
        let len = block.len();
        self.release(block);
        Ok(len)
    }

    /// A block to write a message of `len` bytes into; waits for memory until the deadline.
    ///
    /// # Errors
    ///
    /// There was none in time, the channel is shut down, or the message is too long.
    #[inline(always)]
    pub fn alloc(&self, len: usize, deadline: Deadline, look_around: impl FnMut() -> Duration) -> Result<Block<'_>, PutError> {
        // The common case first, without the machinery of waiting around it.
        match self.try_alloc(len) {
            Some(done) => done,
            None => self.alloc_later(len, deadline, look_around),
        }
    }

    #[cold]
    fn alloc_later(
        &self,
        len: usize,
        deadline: Deadline,
        mut look_around: impl FnMut() -> Duration,
    ) -> Result<Block<'_>, PutError> {
        // The dear part at the first look and then once before each sleep: the looks between them are as many as the time allows.
        let dear = Cell::new(true);
        let attempt = || match self.try_alloc(len) {
            None if dear.take() => {
                // Free blocks of other sizes may have what this one needs.
                self.ring.trim_all();
                let again = self.try_alloc(len);
                if again.is_some() || self.ring.is_memory_in_use() {
                    return again;
                }
                // Nobody holds what could come free: nothing is worth waiting for. What came free in between shows now.
                self.ring.trim_all();
                Some(self.try_alloc(len).unwrap_or(Err(PutError::NoMemory)))
            }
            done => done,
        };
        let look_around = || {
            dear.set(true);
            look_around()
        };
        let waited = self.control.memory.wait_until(deadline, &self.memory_pace, look_around, attempt);
        waited.unwrap_or(Err(PutError::NoMemory))
    }

    /// A block, or why there never is one; `None`: not now.
    #[inline(always)]
    fn try_alloc(&self, len: usize) -> Option<Result<Block<'_>, PutError>> {
        if self.ring.is_shut() {
            return Some(Err(PutError::Closed));
        }
        match self.ring.alloc(len) {
            Ok(block) => Some(Ok(block)),
            Err(AllocError::TooLong { len, max }) => Some(Err(PutError::TooLong { len, max })),
            Err(AllocError::Corrupt) => Some(Err(PutError::Corrupt)),
            // The system may have memory again when a message has been taken, like the ring itself.
            Err(_) => None,
        }
    }

    /// Puts a block; waits for a slot until the deadline.
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down. The block comes back.
    #[inline(always)]
    pub fn publish<'a>(
        &self,
        block: Block<'a>,
        deadline: Deadline,
        look_around: impl FnMut() -> Duration,
    ) -> Result<(), (PutError, Block<'a>)> {
        match self.try_publish(block) {
            Ok(()) => {
                self.control.items.wake_after_exchange(1);
                Ok(())
            }
            Err((error, block)) => self.publish_later(error, block, deadline, look_around),
        }
    }

    #[cold]
    fn publish_later<'a>(
        &self,
        error: PutError,
        block: Block<'a>,
        deadline: Deadline,
        mut look_around: impl FnMut() -> Duration,
    ) -> Result<(), (PutError, Block<'a>)> {
        if !matches!(error, PutError::Full | PutError::NoMemory) {
            return Err((error, block));
        }
        let mut waiting = Some(block);
        let dear = Cell::new(true);
        let attempt = || match self.try_publish(waiting.take()?) {
            Ok(()) => Some(Ok(())),
            // As for a block: where the system has no page for the slot, and no message waits whose memory could come free.
            Err((PutError::NoMemory, block)) if dear.take() => {
                self.ring.trim_all();
                let nothing_comes = !self.ring.is_any_message_left();
                // What came free before that shows now.
                if nothing_comes {
                    self.ring.trim_all();
                }
                match self.try_publish(block) {
                    Ok(()) => Some(Ok(())),
                    Err((error, block)) => {
                        waiting = Some(block);
                        let nothing_comes = nothing_comes && error == PutError::NoMemory;
                        (nothing_comes || !matches!(error, PutError::Full | PutError::NoMemory)).then_some(Err(error))
                    }
                }
            }
            Err((error, block)) => {
                waiting = Some(block);
                (!matches!(error, PutError::Full | PutError::NoMemory)).then_some(Err(error))
            }
        };
        let look_around = || {
            dear.set(true);
            look_around()
        };
        let done = self.control.slots.wait_until(deadline, &self.slot_pace, look_around, attempt);
        match (done.unwrap_or(Err(error)), waiting) {
            (Err(error), Some(block)) => Err((error, block)),
            _ => {
                self.control.items.wake(1);
                Ok(())
            }
        }
    }

    #[inline(always)]
    fn try_publish<'a>(&self, block: Block<'a>) -> Result<(), (PutError, Block<'a>)> {
        self.ring.publish(block).map_err(|(error, block)| (error.into(), block))
    }

    /// Takes the oldest block of the first of `lanes` that has one; waits until the deadline.
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down and drained.
    #[inline(always)]
    pub fn take(&self, lanes: &[Lane], deadline: Deadline, look_around: impl FnMut() -> Duration) -> Result<Block<'_>, GetError> {
        match self.take_first(lanes) {
            Ok(block) => Ok(block),
            Err(end) => self.take_later(end, lanes, deadline, look_around, || true),
        }
    }

    /// As [`take`](Self::take), for a caller whose own [`take_first`](Self::take_first) said `end`. After a shutdown, `is_over` says
    /// whether messages that are in hand somewhere can still come back: until it is true, an empty channel is not at its end. A caller
    /// that makes it true [wakes everyone](Self::wake_everyone).
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down and drained.
    #[cold]
    pub fn take_later(
        &self,
        end: TakeError,
        lanes: &[Lane],
        deadline: Deadline,
        mut look_around: impl FnMut() -> Duration,
        is_over: impl Fn() -> bool,
    ) -> Result<Block<'_>, GetError> {
        let attempt_after = |end| match self.end(end, lanes) {
            Err(GetError::Empty) => None,
            // What came back since was there before it was over.
            Err(GetError::Closed) if !is_over() => None,
            Err(GetError::Closed) => Some(self.take_first(lanes).map_err(|_| GetError::Closed)),
            done => Some(done),
        };
        if let Some(done) = attempt_after(end) {
            return done;
        }
        // Time to give back what a burst needed: a little if the caller does not wait, or else all, between looks for a message.
        while self.ring.trim(TRIM) && !deadline.is_over() {
            if let Ok(block) = self.take_first(lanes) {
                return Ok(block);
            }
        }
        let attempt = || self.take_first(lanes).map_or_else(attempt_after, |block| Some(Ok(block)));
        let busy_until = Deadline::after(IDLE);
        let look_around = || {
            let rest = look_around();
            if busy_until.is_over() {
                self.ring.idle();
            }
            // A little at a time, since a message may come meanwhile.
            if self.ring.trim(TRIM) { rest.min(BETWEEN_TRIMS) } else { rest }
        };
        let waited = self.control.items.wait_until(deadline, &self.item_pace, look_around, attempt);
        waited.unwrap_or(Err(GetError::Empty))
    }

    /// The oldest block of the first lane that has one, or why there is none now.
    ///
    /// # Errors
    ///
    /// There is none. After a shutdown [`take`](Self::take) says whether there ever will be.
    #[inline(always)]
    pub fn take_first(&self, lanes: &[Lane]) -> Result<Block<'_>, TakeError> {
        let mut end = TakeError::Empty;
        for &lane in lanes {
            match self.ring.take(lane) {
                Ok(block) => {
                    if lane == Lane::Main {
                        // Its slot is free from here on, however long the message stays in hand. The taking was an exchange.
                        self.control.slots.wake_after_exchange(1);
                    }
                    return Ok(block);
                }
                Err(TakeError::Empty) => {}
                Err(other) => end = other,
            }
        }
        Err(end)
    }

    /// What it means that nothing was there: the end, if the channel was shut down, unless a message slipped in before that.
    fn end(&self, mut end: TakeError, lanes: &[Lane]) -> Result<Block<'_>, GetError> {
        for _ in 0..MOST_SLIPS {
            if end != TakeError::Empty || !self.is_shut_down() {
                return Err(end.into());
            }
            // A put that was under way when it was shut down gets in before this, or not at all.
            end = self.ring.close_if_empty();
            if end != TakeError::Empty {
                return Err(end.into());
            }
            match self.take_first(lanes) {
                Ok(block) => return Ok(block),
                Err(other) => end = other,
            }
        }
        Err(GetError::Empty)
    }

    /// Frees a block and wakes the producers that wait for memory.
    #[inline(always)]
    pub fn release(&self, block: Block<'_>) {
        // Freeing it is an exchange.
        drop(block);
        self.control.memory.wake_after_exchange(u32::MAX);
    }

    /// As [`Mpmc::give_back`], and lets whoever waits for a message know.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn give_back<'a>(&self, block: Block<'a>, max_deliveries: Option<u16>) -> Result<Lane, (PutError, Block<'a>)> {
        let lane = self.ring.give_back(block, max_deliveries).map_err(|(error, block)| (error.into(), block))?;
        self.control.items.wake(1);
        Ok(lane)
    }

    /// Frees a block that was kept in hand.
    pub fn release_held(&self, held: Held) {
        if let Some(block) = self.ring.resume(held) {
            self.release(block);
        }
    }

    /// No more puts, by anyone. What is in the channel can still be got.
    pub fn shut_down(&self) {
        self.ring.shut();
        self.wake_everyone();
    }

    /// Whether it was shut down.
    #[inline]
    pub fn is_shut_down(&self) -> bool {
        self.ring.is_shut()
    }

    /// Wakes one of those who wait for what is there: for a wake-up that went to a process which stopped or died.
    pub fn nudge(&self, lanes: &[Lane]) {
        if lanes.iter().any(|&lane| self.ring.has_message(lane)) {
            self.control.items.wake(1);
        }
        if self.ring.has_room() {
            self.control.slots.wake(1);
        }
        self.control.memory.wake_all();
    }

    /// Wakes as many as a sweep has something for.
    pub fn wake_after_sweep(&self, swept: &Swept) {
        if swept.returned > 0 {
            self.control.items.wake(u32::try_from(swept.returned).unwrap_or(u32::MAX));
        }
        if swept.freed + swept.lost > 0 {
            self.control.memory.wake_all();
        }
    }

    /// Wakes everyone who waits.
    pub fn wake_everyone(&self) {
        self.control.items.wake_all();
        self.control.slots.wake_all();
        self.control.memory.wake_all();
    }
}
