//! Values in hand: got and not done yet; and when everything is done.
//!
//! A message stays in its block until it is done, so that a death brings it back. One store finishes it: the participant's word
//! counts up and names the message at once. A sweep that finds the block still taken can tell from the word whether the message
//! was finished. The number of unfinished values is derived: pushed, minus finished by each participant, minus put aside.
//!
//! Each thread has a list of the values it got. So `task_done` finishes a value of its own thread and no other's, and a get takes
//! no lock. A thread that ends gives back what is left in its list.

use crate::attachment::{Attachment, read};
use crate::delivery::DEAD_LANES;
use crate::ending::Apart;
use crate::error::{QueueJoinError, TaskDoneError};
use crate::layout::{Flavor, Tally};
use multiproc_prim::{Deadline, Ordering};
use multiproc_ring::mpmc::{Again, Held, Lane, Taken, Unfinished};
use multiproc_sync::{ChannelBlock, Refused};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What one thread has in hand of one queue, oldest first.
///
/// It does not keep the attachment alive: when the last handle goes, the attachment itself gives everything back.
struct Mine {
    attachment: Weak<Attachment>,
    held: VecDeque<Held>,
    apart: Arc<Apart>,
}

thread_local! {
    /// What this thread has in hand. It has no destructor, so the destructors of other thread-locals can still get and finish
    /// values.
    static MINE: ManuallyDrop<RefCell<Vec<Mine>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
    /// Empties it when the thread ends.
    static END: End = const { End };
}

struct End;

impl Drop for End {
    fn drop(&mut self) {
        for Mine { attachment, held, .. } in MINE.with(|mine| mine.take()) {
            // In a forked copy the values are still the parent's.
            if let Some(attachment) = attachment.upgrade().filter(|attachment| !attachment.membership.is_inherited()) {
                held.into_iter().for_each(|held| attachment.give_back(held));
            }
        }
    }
}

/// Values of this process that are in no thread's list: they could not be given back yet, for want of memory. With each one goes
/// whether its delivery counts.
#[derive(Debug, Default)]
pub(crate) struct InHand(Mutex<Vec<(Held, Again)>>);

impl InHand {
    /// The lock to hold while finishing messages. A forked copy never takes it: another thread may have held it at the fork.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<(Held, Again)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message that was taken and is being read. If reading it panics, it is given back.
#[derive(Debug)]
pub(crate) struct Unread<'a> {
    attachment: &'a Attachment,
    held: Option<Held>,
}

impl<'a> Unread<'a> {
    #[inline(always)]
    pub(crate) fn new(attachment: &'a Attachment, taken: Taken<'_>) -> Self {
        // This queue keeps all messages in blocks. Only a hostile peer puts one in a slot, and there is nothing to hold then.
        Self { attachment, held: taken.hold() }
    }

    #[inline(always)]
    pub(crate) fn into_held(mut self) -> Option<Held> {
        let held = self.held.take();
        std::mem::forget(self);
        held
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.attachment.give_back(held);
        }
    }
}

/// A value of a queue that is not joinable, out of the queue and being read. If reading it panics, it counts as lost.
#[derive(Debug)]
pub(crate) struct Underway<'a>(&'a Attachment);

impl<'a> Underway<'a> {
    pub(crate) fn new(attachment: &'a Attachment) -> Self {
        Self(attachment)
    }

    #[inline]
    pub(crate) fn arrived(self) {
        // Faster than a check in `drop`.
        std::mem::forget(self);
    }
}

impl Drop for Underway<'_> {
    #[cold]
    fn drop(&mut self) {
        self.0.count_dropped(1);
    }
}

/// Values that a call got and has not returned yet. If the call panics, a `JoinableQueue` delivers them again, and another queue
/// counts them as lost.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    attachment: &'a Attachment,
    count: u64,
    /// The messages of a `JoinableQueue`. A get within a value's `Deserialize` may put others into this thread's list meanwhile.
    held: Vec<Held>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(attachment: &'a Attachment) -> Self {
        Self { attachment, count: 0, held: Vec::new() }
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    pub(crate) fn add(&mut self) {
        self.count += 1;
    }

    /// The values are the caller's.
    pub(crate) fn arrived(mut self) {
        let (attachment, held) = (self.attachment, std::mem::take(&mut self.held));
        std::mem::forget(self);
        held.into_iter().for_each(|held| attachment.keep(held));
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        match self.attachment.shape.flavor {
            Flavor::Joinable => self.held.drain(..).for_each(|held| self.attachment.give_back(held)),
            _ => self.attachment.count_dropped(self.count),
        }
    }
}

impl Attachment {
    /// A block that this process has in hand. In a forked copy of that process: `None`, and the block stays untouched.
    pub(crate) fn ours<'q>(&self, block: ChannelBlock<'q>) -> Option<ChannelBlock<'q>> {
        if self.membership.is_inherited() {
            std::mem::forget(block);
            return None;
        }
        Some(block)
    }

    /// Ends the reading of a message in place: frees its block, or keeps the message in hand until it is done.
    pub(crate) fn put_in_hand(&self, block: ChannelBlock<'_>) {
        if self.shape.flavor == Flavor::Joinable {
            if let Ok(held) = block.hold() {
                self.keep(held);
            }
        }
    }

    /// This thread's list for this queue, if it has one.
    #[inline(always)]
    fn mine<'m>(&self, lists: &'m mut [Mine]) -> Option<&'m mut VecDeque<Held>> {
        let ours = lists.iter_mut().find(|mine| std::ptr::eq(mine.attachment.as_ptr(), self))?;
        Some(&mut ours.held)
    }

    /// Adds a value to what this thread has in hand.
    #[inline]
    pub(crate) fn keep(&self, held: Held) {
        MINE.with(|mine| {
            let mut mine = mine.borrow_mut();
            match self.mine(&mut mine) {
                Some(list) => list.push_back(held),
                None => drop(self.keep_first(&mut mine, Some(held))),
            }
        });
    }

    #[cold]
    fn keep_first(&self, mine: &mut Vec<Mine>, held: Option<Held>) -> Arc<Apart> {
        let apart = Arc::new(Apart::default());
        mine.retain(|other| other.attachment.strong_count() > 0);
        mine.push(Mine { attachment: self.itself.clone(), held: held.into_iter().collect(), apart: Arc::clone(&apart) });
        // Fails only in the destructor of a thread-local that runs after ours: a value that is got there must be finished there.
        let _ = END.try_with(|_| ());
        apart
    }

    /// Finishes the oldest value that this thread has in hand.
    pub(crate) fn task_done(&self) -> Result<(), TaskDoneError> {
        let oldest = MINE.with(|mine| self.mine(&mut mine.borrow_mut())?.pop_front());
        self.complete(oldest.ok_or(TaskDoneError::NothingInHand)?);
        Ok(())
    }

    /// Finishes a value that is in hand and in no list.
    pub(crate) fn complete(&self, held: Held) {
        let finishing = self.in_hand.lock();
        if let Some(ours) = self.tally() {
            ours.complete(&held);
        }
        self.channel.free_held(&held);
        drop(finishing);
        self.wake_if_all_done();
    }

    /// Wakes the joiners if everything is done.
    pub(crate) fn wake_if_all_done(&self) {
        // Of two participants that finish the last two values, at least one sees both done: `wake_all_if` promises it.
        self.words.all_done.wake_all_if(|| self.unfinished() == 0);
        // After a shutdown this may be the end for consumers that wait.
        if self.channel.is_shut_down() {
            self.channel.wake_everyone();
        }
    }

    /// The number of values in this thread's list, and the count of its values that are in no list.
    pub(crate) fn in_hand_here(&self) -> (u64, Arc<Apart>) {
        MINE.with(|mine| {
            let mut mine = mine.borrow_mut();
            match mine.iter().find(|mine| std::ptr::eq(mine.attachment.as_ptr(), self)) {
                Some(ours) => (ours.held.len() as u64, Arc::clone(&ours.apart)),
                None => (0, self.keep_first(&mut mine, None)),
            }
        })
    }

    /// Gives a value that is in hand and in no list to another consumer. A value that was delivered too often goes to the dead
    /// letters, and so does one that came from there.
    pub(crate) fn give_back(&self, held: Held) {
        self.give_back_noting(held, 0);
    }

    pub(crate) fn give_back_noting(&self, held: Held, note: u32) {
        self.hand_on(held, self.shape.again(), Some(Unfinished::GivenBack { note }));
    }

    /// Gives a value back that is not to become a dead letter by this delivery.
    pub(crate) fn give_back_interrupted(&self, held: Held, note: u32) {
        self.hand_on(held, Again::Counted { max_deliveries: None }, Some(Unfinished::GivenBack { note }));
    }

    /// Gives a value back as if it had not been delivered.
    pub(crate) fn give_back_untried(&self, held: Held) {
        self.hand_on(held, Again::Uncounted, None);
    }

    /// Puts a value with the dead letters: `join` does not wait for it. A program that can read what this one could not still can.
    pub(crate) fn put_aside(&self, held: Held, why: Unfinished) {
        self.hand_on(held, Again::Counted { max_deliveries: Some(1) }, Some(why));
    }

    fn hand_on(&self, held: Held, again: Again, how: Option<Unfinished>) {
        let Some(block) = self.channel.resume(held) else { return };
        if let Some(how) = how {
            block.note_end(how);
        }
        match self.channel.give_back(block, again) {
            Ok(_) => self.wake_if_all_done(),
            Err(Refused { block, .. }) => {
                // Tried again at the next look around; and if this process leaves before, it goes the way of the dead's.
                self.in_hand.lock().extend(block.hold().map(|held| (held, again)));
            }
        }
    }

    /// Gives back the values that could not be given back before.
    pub(crate) fn give_back_again(&self) {
        if self.membership.is_inherited() {
            return;
        }
        let waiting = std::mem::take(&mut *self.in_hand.lock());
        // How their deliveries ended is noted already, and that note stays.
        waiting.into_iter().for_each(|(held, again)| self.hand_on(held, again, None));
    }

    /// Counts values that were out of the queue and that a panic dropped.
    fn count_dropped(&self, count: u64) {
        if let Some(ours) = self.tally() {
            // Relaxed: a count that nothing depends on.
            ours.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Values put and not done. Exact while no participant puts or finishes; zero only if at some moment there were none.
    pub(crate) fn unfinished(&self) -> u64 {
        // Reads the finished first and the pushed last: a finished value was pushed, so the difference is never too small.
        let ring = self.channel.ring();
        let done = self.finished();
        let aside = ring.pushed(Lane::Dead);
        ring.pushed(Lane::Main).wrapping_sub(done.wrapping_add(aside))
    }

    /// Values that were put aside and not taken out yet.
    pub(crate) fn dead_len(&self) -> usize {
        DEAD_LANES.iter().map(|&lane| self.channel.ring().len_of(lane)).sum()
    }

    /// Messages that the participants finished.
    fn finished(&self) -> u64 {
        self.tallies_in_use().map(Tally::finished).fold(0, |sum, finished| sum.wrapping_add(finished.count))
    }

    /// Waits until everything is done.
    pub(crate) fn join(&self, deadline: Deadline) -> Result<(), QueueJoinError> {
        let done = || (self.unfinished() == 0).then_some(());
        let joined = self.words.all_done.wait_until(self.until(deadline), &self.join_pace, done);
        joined.ok_or_else(|| QueueJoinError::Timeout { unfinished: self.unfinished() as usize })
    }

    /// Messages that were in the hands of the dead, or that a panic dropped, and are gone. For queues that are not joinable.
    pub(crate) fn lost(&self) -> u64 {
        self.tallies_in_use().fold(self.finished(), |sum, tally| sum.wrapping_add(read(&tally.dropped)))
    }
}
