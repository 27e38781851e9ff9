//! What happens to a dead participant's blocks. Nobody else has to stop meanwhile.
//!
//! Whoever sweeps first makes the block its own, by one exchange of the exact state word that it read, and only then touches
//! it. So a sweep can be repeated, can run twice at once, can sleep for long, and can itself die anywhere: what it made its own
//! is swept in turn.
//!
//! | found | done |
//! |---|---|
//! | `Owned` | freed: never published |
//! | `Publishing` in the main lane, slot holds it | left: it is queued |
//! | `Publishing` in the main lane, slot does not hold it | freed: its owner can't publish it any more |
//! | `Publishing` in another lane, slot does not hold it | brought back anew: a sweeper died with it on its way |
//! | `Taken`, and its owner had finished it | freed |
//! | `Taken` from the dead lane | freed |
//! | `Taken` | freed ([`Orphans::Drop`]) or returned to be delivered again ([`Orphans::Redeliver`]) |

use super::arena::Found;
use super::error::PublishError;
use super::handle::{DELIVERIES_SHIFT, Mpmc};
use super::state::{BlockState, Completion, Kind, Lane, Owner, Ticket};
use multiproc_prim::Ordering;

/// What to do with messages that the dead participant had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    /// They were delivered: drop them.
    Drop,
    /// Deliver them again, but for the one that the completion names.
    Redeliver {
        /// What the dead participant had finished.
        done: Completion,
        /// Deliveries after which a message goes to [`Lane::Dead`]; `None`: never.
        max_deliveries: Option<u16>,
    },
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

impl Mpmc {
    /// Accounts for every block of a dead owner. `dead` must really be dead, or its blocks are pulled from under it.
    ///
    /// # Errors
    ///
    /// The memory holds rubbish or could not be committed; blocks already accounted for stay so.
    pub fn sweep(&self, dead: Owner, orphans: Orphans) -> Result<Swept, PublishError> {
        let mut swept = Swept::default();
        for number in self.arena.ever_used() {
            let block = self.arena.find(number).ok_or(PublishError::Corrupt)?.map_err(|_| PublishError::NoMemory)?;
            let header = block.header;
            // Acquire: the owner's last writes come before what we do with the block (pairs with: publish).
            let state = BlockState(header.state.load(Ordering::Acquire));
            if state.owner() != dead {
                continue;
            }
            match (state.kind(), state.lane()) {
                (Some(Kind::Owned), _) => swept.freed += usize::from(self.release(block, state)),
                (Some(Kind::Publishing), Some(lane)) => {
                    let ring = self.lane(lane).ok_or(PublishError::Corrupt)?;
                    if ring.holds(state.ticket_low(), number).map_err(|_| PublishError::NoMemory)? {
                        continue;
                    }
                    if lane == Lane::Main {
                        swept.freed += usize::from(self.release(block, state));
                    } else {
                        let ours = BlockState::publishing(lane, self.owner(), ring.next_ticket());
                        if self.make_ours(block, state, ours) {
                            self.bring_back(block, state, lane)?;
                        }
                    }
                }
                (Some(Kind::Taken), Some(lane)) => match orphans {
                    // Whoever reads the dead letters takes them out for good.
                    _ if lane == Lane::Dead => swept.lost += usize::from(self.release(block, state)),
                    Orphans::Drop => swept.lost += usize::from(self.release(block, state)),
                    Orphans::Redeliver { done, .. } if done.is_of(lane, state.ticket_low()) => {
                        swept.freed += usize::from(self.release(block, state));
                    }
                    Orphans::Redeliver { max_deliveries, .. } => {
                        // Ours as if we had taken it. A sweeper that dies after it has counted leaves it to be counted once more:
                        // a message never comes back with a count that is too low.
                        let ours = BlockState::taken(lane, self.owner(), Ticket(state.ticket_low()));
                        if !self.make_ours(block, state, ours) {
                            continue;
                        }
                        // Relaxed: only the block's owner touches it, and publishing orders it.
                        let meta = header.meta.load(Ordering::Relaxed);
                        let deliveries = ((meta >> DELIVERIES_SHIFT) as u16).saturating_add(1);
                        let length = meta & ((1 << DELIVERIES_SHIFT) - 1);
                        header.meta.store(length | u64::from(deliveries) << DELIVERIES_SHIFT, Ordering::Relaxed);
                        let too_often = max_deliveries.is_some_and(|max| deliveries >= max);
                        let target = if too_often { Lane::Dead } else { Lane::Returned };
                        self.bring_back(block, state, target)?;
                        *(if too_often { &mut swept.dead } else { &mut swept.returned }) += 1;
                    }
                },
                _ => {}
            }
        }
        Ok(swept)
    }

    /// Makes a block ours whose state is still `seen`. Returns whether it is.
    fn make_ours(&self, block: Found<'_>, seen: BlockState, ours: BlockState) -> bool {
        // Acquire: what the dead one and earlier sweepers did comes before what we do (pairs with: free). Release: and our look at
        // its slot before what others see of us.
        block.header.state.compare_exchange(seen.0, ours.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
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

    /// Puts a block that is ours into `lane`. If that can't be, it is the dead one's again, as `seen`, for the next sweep.
    fn bring_back(&self, block: Found<'_>, seen: BlockState, lane: Lane) -> Result<(), PublishError> {
        let ring = self.lane(lane).ok_or(PublishError::Corrupt)?;
        ring.publish(&self.arena, self.owner(), block).inspect_err(|_| {
            // Release: what we did with the block comes before whoever sweeps it next.
            block.header.state.store(seen.0, Ordering::Release);
        })
    }
}
