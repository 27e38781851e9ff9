//! What happens to a dead participant's blocks. No other participant has to stop meanwhile.
//!
//! A sweeper makes a block its own by one exchange of the exact state word that it read, and only then touches it. So a sweep can
//! be repeated, run twice at once, sleep for long, and die anywhere: what the sweeper made its own is swept in turn.
//!
//! | found | done |
//! |---|---|
//! | `Owned` | freed: never pushed |
//! | `Publishing`, slot holds it | left: it is queued |
//! | `Publishing` in the main lane, slot does not hold it | freed: its owner can't publish it any more; if it was dead before, brought back to the dead |
//! | `Publishing` in another lane, slot does not hold it | brought back anew: a sweeper died with it on its way |
//! | `Taken`, and its owner had finished it | freed |
//! | `Taken` from the dead lanes | brought back to the dead |
//! | `Taken` | freed and counted as lost ([`Orphans::Drop`]), or brought back to be delivered again ([`Orphans::Redeliver`]) |

use super::arena::Found;
use super::block::{Held, Meta};
use super::error::{GiveBackError, SweepError};
use super::handle::Mpmc;
use super::notes::Unfinished;
use super::ring::Filling;
use super::state::{BlockState, Completion, Lane, Origin, Owner, Phase, Ticket};
use multiproc_prim::Ordering;

/// What to do with messages that the dead participant had taken and not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They were delivered: drop them.
    Drop,
    /// Deliver them again.
    Redeliver {
        /// Deliveries after which a message goes to [`Lane::Dead`]; `None`: never.
        max_deliveries: Option<u16>,
        /// How their delivery ended, which is noted beside them.
        how: Unfinished,
    },
}

/// Whether a delivery that did not finish its message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It counts.
    Counted {
        /// Deliveries after which the message goes to [`Lane::Dead`]; `None`: never.
        max_deliveries: Option<u16>,
    },
    /// It does not: nobody tried to finish the message.
    Uncounted,
}

impl Orphan<'_> {
    /// What was finished once this message is, if it is lost.
    pub fn complete(&self, done: Finished) -> Finished {
        match self {
            Self::Lost(held) => held.complete(done),
            Self::Unsent(_) => done,
        }
    }
}

/// What a participant has finished: how many messages, and the word that names the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// How many.
    pub count: u64,
    /// Which one last.
    pub last: Completion,
}

/// What a sweep found. Two sweeps at once share the findings between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blocks that were being written, or finished, and are free now.
    pub freed: usize,
    /// Messages that were in hand and are gone.
    pub lost: usize,
    /// Messages that were in hand and will be delivered again.
    pub returned: usize,
    /// Messages that were in hand once too often.
    pub dead: usize,
}

/// A message of the dead that is not delivered again, for now or for good.
#[derive(Debug)]
pub enum Orphan<'a> {
    /// It is lost. It is in our hands while this is told: if [`Held::complete`] makes it part of what we finished, in one store, then a
    /// loss is counted once, no matter who dies when.
    Lost(&'a Held),
    /// There was no memory to bring it back. It is in our hands from now on, as if we had got it: [give it back](Mpmc::give_back) later.
    Unsent(Held),
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, more: Self) {
        self.freed += more.freed;
        self.lost += more.lost;
        self.returned += more.returned;
        self.dead += more.dead;
    }
}

impl Mpmc {
    /// Accounts for every block of a dead owner. `dead` must really be dead, or its blocks are pulled from under it.
    ///
    /// `is_still_dead` is asked after a block's state was read and before the block is touched: whether the same dead participant still
    /// has its row, which nobody has given to another one. A sweep that slept stops there, since the next participant in that row may
    /// look alike. If rows are never used again, it is `|| true`.
    ///
    /// `done` is what the dead participant had finished: [`Finished::default`] if the program does not count that. `tell` is told of each
    /// message that does not come back at once.
    ///
    /// # Errors
    ///
    /// The memory holds rubbish or could not be committed; blocks already accounted for stay so.
    pub fn sweep(
        &self,
        dead: Owner,
        done: Finished,
        orphans: Orphans,
        is_still_dead: impl Fn() -> bool,
        mut tell: impl FnMut(Orphan<'_>),
    ) -> Result<Swept, SweepError> {
        if matches!(orphans, Orphans::Redeliver { .. }) && self.lane(Lane::Returned).is_none() {
            return Err(SweepError::NoReturns);
        }
        let mut swept = Swept::default();
        for block in self.arena.ever_used() {
            let block = block?;
            // Acquire: the question whether it is still dead comes after, and sees that another one has the row if that one wrote this
            // (pairs with: join). What the dead one wrote is visible, since it died before it was found dead.
            let state = BlockState(block.header.state.load(Ordering::Acquire));
            if !state.may_be_of(dead) || state.phase() == Phase::Free {
                continue;
            }
            if !is_still_dead() {
                break;
            }
            let ring = state.ring();
            let ticket = Ticket(state.ticket_low());
            match state.phase() {
                Phase::Free => {}
                Phase::Owned => swept.freed += usize::from(self.release(block, state)),
                Phase::Publishing => {
                    let rings = self.lane(ring.lane()).ok_or(SweepError::Corrupt)?;
                    if rings.holds(ring.class(), ticket.0, block)? {
                        continue;
                    }
                    // Relaxed: it comes before the state that we read. Should another process sweep the block meanwhile, our exchange
                    // below fails.
                    let was_dead = Meta::unpack(block.header.meta.load(Ordering::Relaxed)).put_anew;
                    if ring.lane() == Lane::Main && !was_dead {
                        swept.freed += usize::from(self.release(block, state));
                        continue;
                    }
                    // The same slot, which does not hold it and never will: the state that the next sweep would find if we died here.
                    let ours = BlockState::publishing(ring, self.owner(), ticket);
                    if self.make_ours(block, state, ours) {
                        let target = if ring.lane() == Lane::Main { Lane::DeadReturned } else { ring.lane() };
                        self.bring_back(block, state, target)?;
                        swept.returned += usize::from(target == Lane::Returned);
                    }
                }
                // What was finished, or counted as lost, and not freed yet.
                Phase::Taken if !ring.lane().is_dead() && done.last.is_of(done.count, ring, ticket.0) => {
                    swept.freed += usize::from(self.release(block, state));
                }
                Phase::Taken => {
                    // Ours as if we had taken it. Should we die from here on, it is found as ours.
                    let ours = BlockState::taken(ring, self.owner(), ticket);
                    if !self.make_ours(block, state, ours) {
                        continue;
                    }
                    // Relaxed: from here on only we touch it.
                    let meta = Meta::unpack(block.header.meta.load(Ordering::Relaxed));
                    let held = Held::of(block, meta.len, Origin::new(ring, ticket));
                    let again = match orphans {
                        Orphans::Drop if !ring.lane().is_dead() => {
                            tell(Orphan::Lost(&held));
                            block.free();
                            swept.lost += 1;
                            continue;
                        }
                        Orphans::Drop => Again::Uncounted,
                        Orphans::Redeliver { max_deliveries, how } => {
                            if let Some(notes) = block.notes().filter(|_| !ring.lane().is_dead()) {
                                notes.end(ring, ticket.0, how);
                            }
                            Again::Counted { max_deliveries }
                        }
                    };
                    match self.deliver_again(block, ours, ring.lane(), again) {
                        Ok(Lane::DeadReturned) => {}
                        Ok(Lane::Dead) => swept.dead += 1,
                        Ok(_) => swept.returned += 1,
                        // It stays ours: were it the dead one's again, another sweeper might have buried that one meanwhile.
                        Err(GiveBackError::NoMemory { .. }) => {
                            tell(Orphan::Unsent(held));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(swept)
    }

    /// Brings back a block that is ours as taken, and counts its delivery if that counts. If that can't be, it is as `seen` again.
    ///
    /// A process that dies after counting leaves the block to be counted once more: a message never comes back with a count too low.
    pub(super) fn deliver_again(
        &self,
        block: Found<'_>,
        seen: BlockState,
        lane: Lane,
        again: Again,
    ) -> Result<Lane, GiveBackError> {
        if lane.is_dead() {
            self.bring_back(block, seen, Lane::DeadReturned)?;
            return Ok(Lane::DeadReturned);
        }
        if let (Lane::Main, Some(notes)) = (lane, block.notes()) {
            notes.identify(self.id_at(seen.ring(), seen.ticket_low()));
        }
        // Relaxed: only the block's owner touches it, and publishing orders it.
        let meta = Meta::unpack(block.header.meta.load(Ordering::Relaxed));
        let (deliveries, max_deliveries) = match again {
            Again::Counted { max_deliveries } => ((meta.counted() + 1).min(Meta::MOST_DELIVERIES), max_deliveries),
            Again::Uncounted => (meta.counted(), None),
        };
        block.header.meta.store(Meta { deliveries, put_anew: false, ..meta }.pack(), Ordering::Relaxed);
        let too_often = max_deliveries.is_some_and(|max| deliveries >= max);
        let target = if too_often { Lane::Dead } else { Lane::Returned };
        self.bring_back(block, seen, target).inspect_err(|_| {
            // Relaxed: as above. The delivery that was counted did not happen.
            block.header.meta.store(meta.pack(), Ordering::Relaxed);
        })?;
        Ok(target)
    }

    /// Makes a block ours whose state is still `seen`. Returns whether it is.
    fn make_ours(&self, block: Found<'_>, seen: BlockState, ours: BlockState) -> bool {
        // Acquire, beyond the models, in which memory never runs out: a sweeper that could not bring it back may have raised its
        // count before (pairs with: bring back). What the dead one did is visible anyway.
        block.header.state.compare_exchange(seen.0, ours.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Frees a block whose state is still `seen`. Returns whether it was us.
    fn release(&self, block: Found<'_>, seen: BlockState) -> bool {
        // Large blocks give their pages back while they are ours.
        let won = self.make_ours(block, seen, BlockState::owned(self.owner()));
        if won {
            block.free();
        }
        won
    }

    /// Puts a block that is ours into `lane`. If that can't be, it is as `seen` again.
    fn bring_back(&self, block: Found<'_>, seen: BlockState, lane: Lane) -> Result<(), GiveBackError> {
        let ring = self.lane(lane).ok_or(GiveBackError::NoReturns)?;
        let pushed = ring.push(&self.arena, self.owner(), Filling::Block(block)).inspect_err(|_| {
            // Release, beyond the models, in which memory never runs out: the count that we raised comes before the next
            // sweeper reads it (pairs with: bring back).
            block.header.state.store(seen.0, Ordering::Release);
        });
        Ok(pushed?)
    }
}
