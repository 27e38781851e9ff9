//! The ring for many producers and consumers, with waiting.

use crate::block::ChannelBlock;
use crate::error::{ChannelError, ChannelPopError, ChannelPushError};
use crate::event::{BusyEvent, Event, EventCount, Pace};
use crate::looked::Looked;
use crate::memory::Pushing;
use crate::wait::{Look, Wait};
use multiproc_prim::{Deadline, Hint, Padded, Place, Region, monotonic_millis, shared_struct};
use multiproc_ring::mpmc::{
    Again, Geometry, GiveBackError, Held, Lane, Mpmc, Owner, PopError, PushError, Refused, Swept, Taken, Trimmed,
};
use std::time::Duration;

shared_struct! {
    /// What a channel adds to its ring.
    pub(crate) struct Control {
        /// Told when a message is there.
        items: Padded<EventCount>,
        /// Told when a slot is free.
        slots: Padded<EventCount>,
        /// Told when a block is free.
        pub(crate) memory: Padded<BusyEvent>,
    }
}

/// Messages that may slip in, and be taken by others, while we close a channel that was shut down.
const MOST_SLIPS: u32 = 1000;
/// Bytes of memory looked at in a go when there is time to give some back: some microseconds' worth.
const TRIM: usize = 1 << 20;
/// The same for a consumer that waits anyway, and looks around before each go.
const TRIM_ASLEEP: usize = 4 << 20;
/// After waiting so long for a message, a burst is over.
const IDLE: Duration = Duration::from_millis(500);
/// The sleep between two goes.
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
/// # multiproc_prim::model::for_real(|| {
/// use multiproc_sync::mpmc::{Geometry, Owner};
/// use multiproc_sync::{Channel, Deadline, Heap, Region, channel_len};
///
/// let geometry = Geometry::new(4);
/// let region = Region::new(Heap::new(channel_len(&geometry)?));
/// let channel = Channel::create(&region, 0, &geometry, Owner::new(0, 0))?;
/// let other = Channel::attach(&region, 0, &geometry, Owner::new(1, 0))?;
/// let consumer = std::thread::spawn(move || {
///     let mut message = Vec::new();
///     other.pop(&mut message, Deadline::NEVER).map(|_| message)
/// });
/// channel.push(b"hello", Deadline::NEVER)?;
/// assert_eq!(consumer.join().unwrap()?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # });
/// ```
#[derive(Debug)]
pub struct Channel {
    pub(crate) ring: Mpmc,
    pub(crate) control: Place<Control>,
    item_pace: Pace,
    slot_pace: Pace,
    pub(crate) memory_pace: Pace,
    /// When a look found no block.
    pub(crate) used_up: Looked,
    /// When a trim found no memory.
    pub(crate) trimmed: Looked,
}

/// What an event of a channel tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A message is there.
    Message,
    /// A slot is free.
    Room,
    /// A block is free.
    Memory,
}

/// For how long no message has come to a channel, for [`Channel::rest`].
#[derive(Debug, Default)]
pub struct Quiet {
    pushed: Hint,
    since: Hint,
}

/// An event of a channel.
#[derive(Clone, Debug)]
pub struct ChannelEvent {
    control: Place<Control>,
    of: Told,
}

impl ChannelEvent {
    /// What it tells of.
    pub fn of(&self) -> Told {
        self.of
    }

    /// The event itself.
    pub fn get(&self) -> Event<'_> {
        match self.of {
            Told::Message => Event::Plain(&self.control.items),
            Told::Room => Event::Plain(&self.control.slots),
            Told::Memory => Event::Busy(&self.control.memory),
        }
    }
}

/// A pop that waits, and meanwhile gives back the memory that a burst needed.
struct Popping<'a, W> {
    wait: W,
    channel: &'a Channel,
    busy_until: Deadline,
}

impl<W: Wait> Wait for Popping<'_, W> {
    fn deadline(&self) -> Deadline {
        self.wait.deadline()
    }

    fn look_around(&mut self) -> Look {
        let look = self.wait.look_around();
        // A model must do the same every time, whatever the clock says.
        if !cfg!(loom) && self.busy_until.is_over() {
            self.channel.ring.idle();
        }
        // A little at a time, since a message may come meanwhile.
        match look {
            Look::Sleep(most) if self.channel.trim(TRIM_ASLEEP) => Look::Sleep(most.min(BETWEEN_TRIMS)),
            _ => look,
        }
    }

    fn is_over(&mut self) -> bool {
        self.wait.is_over()
    }
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

    /// Another handle on a channel that [`create`](Self::create) made with the same geometry at the same place.
    ///
    /// # Errors
    ///
    /// As `create`, or the memory holds a channel of another geometry, or none: [`LayoutError::Differs`].
    ///
    /// [`LayoutError::Differs`]: multiproc_ring::mpmc::LayoutError::Differs
    pub fn attach(region: &Region, at: usize, geometry: &Geometry, owner: Owner) -> Result<Self, ChannelError> {
        let control = region.place(at)?;
        region.commit(at..at + RING_AT)?;
        Ok(Self::build(control, Mpmc::attach(region, at + RING_AT, geometry, owner)?))
    }

    fn build(control: Place<Control>, ring: Mpmc) -> Self {
        Self {
            ring,
            control,
            item_pace: Pace::default(),
            slot_pace: Pace::default(),
            memory_pace: Pace::default(),
            used_up: Looked::default(),
            trimmed: Looked::default(),
        }
    }

    /// What tells of messages, of room or of memory: for a [`Condition`](crate::Condition) about this channel, which it outlives.
    pub fn event(&self, of: Told) -> ChannelEvent {
        ChannelEvent { control: self.control.clone(), of }
    }

    /// The ring itself.
    pub fn ring(&self) -> &Mpmc {
        &self.ring
    }

    /// Copies a message in; waits for memory and for a slot until the deadline.
    ///
    /// # Errors
    ///
    /// There was neither in time, the channel is shut down, or the message is too long. Nothing was pushed then.
    #[inline(always)]
    pub fn push(&self, message: &[u8], wait: impl Wait) -> Result<(), ChannelPushError> {
        // The common case first, without the machinery of waiting around it.
        if self.used_up.is_in_vain(message.len(), &self.control.memory) {
            return self.push_later(PushError::Exhausted, message, wait);
        }
        match self.ring.push(message) {
            Ok(()) => {
                self.control.items.wake_after_exchange(1);
                Ok(())
            }
            Err(error) => self.push_later(error, message, wait),
        }
    }

    #[cold]
    fn push_later(&self, error: PushError, message: &[u8], mut wait: impl Wait) -> Result<(), ChannelPushError> {
        let block = match error {
            PushError::Exhausted => self.alloc_later(message.len(), &mut wait)?,
            _ => {
                // The push may have freed a block again.
                self.control.memory.wake_all();
                self.alloc(message.len(), &mut wait)?
            }
        };
        let fits = block.payload().write(message);
        debug_assert!(fits);
        Ok(self.push_block(block, wait)?)
    }

    /// Appends the oldest message to `target`; waits for one until the deadline. Returns its length. Messages that a sweep brought back
    /// come before new ones.
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down and drained.
    pub fn pop(&self, target: &mut Vec<u8>, wait: impl Wait) -> Result<usize, ChannelPopError> {
        let block = self.pop_block(&[Lane::Returned, Lane::Main], wait)?;
        block.payload().append_to(target);
        Ok(block.len())
    }

    /// Pushes a block; waits for a slot until the deadline.
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down. The block comes back.
    #[inline(always)]
    pub fn push_block<'a>(
        &self,
        block: ChannelBlock<'a>,
        wait: impl Wait,
    ) -> Result<(), Refused<ChannelPushError, ChannelBlock<'a>>> {
        match block.push_into(&self.ring) {
            Ok(()) => {
                self.control.items.wake_after_exchange(1);
                Ok(())
            }
            Err(refused) => self.push_block_later(refused, wait),
        }
    }

    #[cold]
    fn push_block_later<'a>(
        &self,
        refused: Refused<ChannelPushError, ChannelBlock<'a>>,
        wait: impl Wait,
    ) -> Result<(), Refused<ChannelPushError, ChannelBlock<'a>>> {
        /// Whether it is worth while to try again.
        const fn may_pass(error: ChannelPushError) -> bool {
            matches!(error, ChannelPushError::Full | ChannelPushError::NoMemory)
        }
        if !may_pass(refused.error) {
            return Err(refused);
        }
        let Refused { error: first, block } = refused;
        let late = match first {
            ChannelPushError::Full if wait.deadline() != Deadline::NOW => ChannelPushError::Timeout,
            first => first,
        };
        let (mut waiting, mut trimmed) = (Some(block), false);
        let attempt = |pushing: &mut Pushing<'_, _>| {
            let mut tried = waiting.take()?.push_into(&self.ring);
            let mut nothing_comes = false;
            match tried {
                // As for a block: where the system has no page for the slot, and no message waits whose memory could come free.
                Err(Refused { error: ChannelPushError::NoMemory, block }) if std::mem::take(&mut pushing.tries_hard) => {
                    trimmed = true;
                    self.ring.trim_all();
                    nothing_comes = !self.ring.is_any_message_left();
                    // What came free before that shows now.
                    if nothing_comes {
                        self.ring.trim_all();
                    }
                    tried = block.push_into(&self.ring);
                }
                done => tried = done,
            }
            tried.map_or_else(
                |Refused { error, block }| {
                    waiting = Some(block);
                    let is_final = !may_pass(error) || nothing_comes && error == ChannelPushError::NoMemory;
                    is_final.then_some(Err(error))
                },
                |()| Some(Ok(())),
            )
        };
        let done = self.control.slots.wait_with(Pushing::new(wait, self), &self.slot_pace, attempt);
        if trimmed {
            // As for a block.
            self.control.memory.wake_all();
        }
        match (done.unwrap_or(Err(late)), waiting) {
            (Err(error), Some(block)) => Err(Refused { error, block }),
            _ => {
                self.control.items.wake(1);
                Ok(())
            }
        }
    }

    /// Pops the oldest block of the first of `lanes` that has one; waits until the deadline.
    ///
    /// # Errors
    ///
    /// There was none in time, or the channel is shut down and drained.
    #[inline(always)]
    pub fn pop_block(&self, lanes: &[Lane], wait: impl Wait) -> Result<ChannelBlock<'_>, ChannelPopError> {
        match self.try_pop_block(lanes) {
            Ok(block) => Ok(block),
            Err(end) => self.pop_block_later(end, lanes, wait),
        }
    }

    #[cold]
    fn pop_block_later(&self, end: PopError, lanes: &[Lane], mut wait: impl Wait) -> Result<ChannelBlock<'_>, ChannelPopError> {
        if let Some(done) = self.verdict(end, lanes, &mut wait) {
            return done;
        }
        let deadline = wait.deadline();
        let late = if deadline == Deadline::NOW { ChannelPopError::Empty } else { ChannelPopError::Timeout };
        // Time to give back what a burst needed: a little if the caller does not wait, or else all, between looks for a message.
        while self.trim(TRIM) && !deadline.is_over() {
            if let Ok(block) = self.try_pop_block(lanes) {
                return Ok(block);
            }
        }
        if deadline == Deadline::NOW {
            return Err(late);
        }
        let attempt = |popping: &mut Popping<'_, _>| {
            self.try_pop_block(lanes).map_or_else(|end| self.verdict(end, lanes, popping), |block| Some(Ok(block)))
        };
        let wait = Popping { wait, channel: self, busy_until: Deadline::after(IDLE) };
        self.control.items.wait_with(wait, &self.item_pace, attempt).unwrap_or(Err(late))
    }

    /// For a waiter that does not sleep here, at a look around that allows a sleep of `most`: gives back some of the memory that a burst
    /// needed, if no message has come for half a second. Returns how long the next sleep may take.
    pub fn rest(&self, quiet: &Quiet, most: Duration) -> Duration {
        let (pushed, now) = (self.ring.pushed(Lane::Main), monotonic_millis());
        if quiet.pushed.get() != pushed {
            quiet.pushed.set(pushed);
            quiet.since.set(now);
        } else if now.saturating_sub(quiet.since.get()) >= IDLE.as_millis() as u64 {
            self.ring.idle();
            if self.trim(TRIM_ASLEEP) {
                return most.min(BETWEEN_TRIMS);
            }
        }
        most
    }

    /// Gives back some of the memory that a burst needed. Returns whether there is more.
    fn trim(&self, most: usize) -> bool {
        let trimmed = self.ring.trim(most);
        if trimmed != Trimmed::Nothing {
            // A producer may have looked for a block while the trim had all free ones.
            self.control.memory.wake_all();
        }
        trimmed == Trimmed::Part
    }

    /// Pops the oldest block of the first of `lanes` that has one, without asking what a shutdown means for an empty channel.
    ///
    /// # Errors
    ///
    /// There is none now. After a shutdown, [`pop_block`](Self::pop_block) says whether there ever will be.
    #[inline(always)]
    pub fn try_pop_block(&self, lanes: &[Lane]) -> Result<ChannelBlock<'_>, PopError> {
        self.try_take(lanes).map(|taken| ChannelBlock::new(taken.into(), &self.control.memory))
    }

    /// Takes the oldest message as [`try_pop_block`](Self::try_pop_block) does, without anything that [frees](Self::free) it by itself.
    ///
    /// # Errors
    ///
    /// There is none now.
    #[inline(always)]
    pub fn try_take(&self, lanes: &[Lane]) -> Result<Taken<'_>, PopError> {
        let mut end = PopError::Empty;
        for &lane in lanes {
            match self.ring.take(lane) {
                Ok(taken) => {
                    if lane == Lane::Main {
                        // Its slot is free from here on, however long the message stays in hand. The popping was an exchange.
                        self.control.slots.wake_after_exchange(1);
                    }
                    return Ok(taken);
                }
                Err(PopError::Empty) => {}
                Err(other) => end = other,
            }
        }
        Err(end)
    }

    /// Frees a message that was [taken](Self::try_take), and wakes the producers that wait for memory.
    #[inline(always)]
    pub fn free(&self, taken: Taken<'_>) {
        taken.free();
        self.control.memory.wake_all();
    }

    /// Frees a message that is held, as [`free`](Self::free) does.
    #[inline(always)]
    pub fn free_held(&self, held: &Held) {
        self.ring.free_held(held);
        self.control.memory.wake_all();
    }

    /// What to tell a caller that found nothing; `None`: to wait.
    fn verdict(&self, end: PopError, lanes: &[Lane], wait: &mut impl Wait) -> Option<Result<ChannelBlock<'_>, ChannelPopError>> {
        match self.end(end, lanes) {
            Err(ChannelPopError::Empty) => None,
            // A message that came back before it was over is there now.
            Err(ChannelPopError::ShutDown) if !wait.is_over() => None,
            Err(ChannelPopError::ShutDown) => Some(self.try_pop_block(lanes).map_err(|_| ChannelPopError::ShutDown)),
            done => Some(done),
        }
    }

    /// What it means that nothing was there. After a shutdown it is the end, unless a message slipped in before.
    fn end(&self, mut end: PopError, lanes: &[Lane]) -> Result<ChannelBlock<'_>, ChannelPopError> {
        for _ in 0..MOST_SLIPS {
            if end != PopError::Empty || !self.is_shut_down() {
                return Err(end.into());
            }
            // A push that was under way when it was shut down gets in before this, or not at all.
            end = self.ring.close_if_empty();
            if end != PopError::Empty {
                return Err(end.into());
            }
            match self.try_pop_block(lanes) {
                Ok(block) => return Ok(block),
                Err(other) => end = other,
            }
        }
        Err(ChannelPopError::Empty)
    }

    /// Gives a popped block to another consumer, as [`Mpmc::give_back`] does, and wakes a consumer for it.
    ///
    /// # Errors
    ///
    /// It is no popped block, the ring has no [room for returns](Geometry::returns), there is no memory, or the memory holds rubbish: the
    /// block comes back.
    pub fn give_back<'a>(&self, block: ChannelBlock<'a>, again: Again) -> Result<Lane, Refused<GiveBackError, ChannelBlock<'a>>> {
        let lane = block.give_back_to(&self.ring, again)?;
        self.control.items.wake(1);
        Ok(lane)
    }

    /// The block that a [`Held`] of this channel stands for; `None` for one of another channel, and where a hostile peer wrote over it.
    pub fn resume(&self, held: Held) -> Option<ChannelBlock<'_>> {
        Some(ChannelBlock::new(self.ring.resume(held)?, &self.control.memory))
    }

    /// Lets nobody push any more. What is in the channel can still be popped.
    pub fn shut_down(&self) {
        self.ring.shut();
        self.wake_everyone();
    }

    /// Whether it was shut down.
    #[inline]
    pub fn is_shut_down(&self) -> bool {
        self.ring.is_shut()
    }

    /// Wakes one waiter for what is there: for a wake-up that went to a process which stopped or died.
    pub fn nudge(&self, lanes: &[Lane]) {
        if lanes.iter().any(|&lane| self.ring.has_message(lane)) {
            self.control.items.wake(1);
        }
        if self.ring.has_room() {
            self.control.slots.wake(1);
        }
    }

    /// Wakes all waiters for memory, and has every producer look for it anew: a process may have stopped or died between freeing a
    /// block and telling of it.
    pub fn nudge_for_memory(&self) {
        self.control.memory.wake_all();
    }

    /// Wakes as many waiters as a sweep has something for. Call it after each [sweep](Mpmc::sweep).
    pub fn wake_after_sweep(&self, swept: &Swept) {
        if swept.returned > 0 {
            self.control.items.wake(u32::try_from(swept.returned).unwrap_or(u32::MAX));
        }
        if swept.freed + swept.lost > 0 {
            self.control.memory.wake_all();
        }
    }

    /// Wakes all waiters.
    pub fn wake_everyone(&self) {
        self.control.items.wake_all();
        self.control.slots.wake_all();
        self.control.memory.wake_all();
    }
}
