//! What was got and is not done yet, and when everything is.
//!
//! A message stays in its block until it is done, so that a death brings it back. Finishing it is one store: the participant's
//! word counts up and names the message at once; a sweep that finds the block still taken can tell whether it was finished.
//! The number of unfinished values is derived: published, minus finished by each, minus put aside.

use crate::core::Core;
use crate::error::{JoinTimeout, TaskDoneError};
use crate::layout::{Flavor, Tally};
use multiproc_prim::{Deadline, this_thread};
use multiproc_ring::mpmc::{Held, Lane};
use multiproc_sync::{BiasedLock, Guard};
use std::collections::VecDeque;

/// What a process has in hand, oldest first, and the [number](this_thread) of the thread that got it.
type List = VecDeque<(u64, Held)>;

/// What this process got and has not finished, oldest first, by the thread that got it.
#[derive(Debug, Default)]
pub(crate) struct InHand(BiasedLock<List>);

impl InHand {
    pub(crate) fn add(&self, held: Held) {
        self.lock().push_back((this_thread(), held));
    }

    /// What to hold while finishing messages.
    pub(crate) fn lock(&self) -> Guard<'_, List> {
        self.0.lock()
    }
}

impl Core {
    /// Finishes the oldest value that this thread has in hand, or else the oldest that the process has.
    pub(crate) fn task_done(&self) -> Result<(), TaskDoneError> {
        let mut in_hand = self.in_hand.lock();
        let me = this_thread();
        let mine = in_hand.iter().position(|(thread, _)| *thread == me).unwrap_or(0);
        let (_, held) = in_hand.remove(mine).ok_or(TaskDoneError::NothingInHand)?;
        self.complete_and_free(held, in_hand);
        Ok(())
    }

    /// Finishes a value that is in hand outside the list.
    pub(crate) fn complete(&self, held: Held) {
        self.complete_and_free(held, self.in_hand.lock());
    }

    fn complete_and_free(&self, held: Held, finishing: Guard<'_, List>) {
        if let Some(ours) = self.tally() {
            ours.complete(&held);
        }
        self.channel.release_held(held);
        drop(finishing);
        self.wake_if_all_done();
    }

    fn wake_if_all_done(&self) {
        // The fence in there: of two who finish the last two values, at least one sees both done.
        self.words.all_done.wake_all_if(|| self.unfinished() == 0);
    }

    /// Gives a value that is in hand outside the list to another consumer, or to the dead if it was delivered too often.
    pub(crate) fn give_back(&self, held: Held) {
        let Some(block) = self.channel.ring().resume(held) else { return };
        match self.channel.give_back(block, self.shape.max_deliveries()) {
            Ok(_) => self.wake_if_all_done(),
            // It stays in hand, and goes to others when this process leaves.
            Err((_, block)) => self.put_in_hand(block),
        }
    }

    /// Values put and not done. Exact when nobody puts or finishes meanwhile; zero only if at some moment there were none.
    pub(crate) fn unfinished(&self) -> u64 {
        // Finished first, published last: what is finished was published, so the difference is never too small.
        let ring = self.channel.ring();
        let done = self.finished();
        let aside = ring.published(Lane::Dead);
        ring.published(Lane::Main).wrapping_sub(done.wrapping_add(aside))
    }

    /// Messages finished by anybody.
    fn finished(&self) -> u64 {
        self.tallies_in_use().map(Tally::finished).fold(0, |sum, finished| sum.wrapping_add(finished.count))
    }

    pub(crate) fn join(&self, deadline: Deadline) -> Result<(), JoinTimeout> {
        let done = || (self.unfinished() == 0).then_some(());
        let joined = self.words.all_done.wait_until(deadline, &self.join_pace, || self.look_around(), done);
        self.awake();
        joined.ok_or_else(|| JoinTimeout { unfinished: self.unfinished() as usize })
    }

    /// Messages that were in the hands of the dead and are gone.
    pub(crate) fn lost(&self) -> u64 {
        match self.shape.flavor {
            // They are not: they are delivered again.
            Flavor::Joinable => 0,
            _ => self.finished(),
        }
    }
}
