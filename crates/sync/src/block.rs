//! A block of a channel: its drop wakes the producers that wait for memory.

use crate::error::ChannelPushError;
use crate::event::BusyEvent;
use multiproc_ring::mpmc::{Again, Block, GiveBackError, Held, Lane, Mpmc, Refused, Taken};
use std::ops::{Deref, DerefMut};

/// A message of a channel in this process's hands: a [`Block`], whose drop also wakes the producers that wait for memory.
#[derive(Debug)]
#[must_use = "a block that is dropped is free again, and its message lost"]
pub struct ChannelBlock<'a> {
    // Dropped in this order: the block is free before anyone is woken for it.
    block: Block<'a>,
    wake: WakeForMemory<'a>,
}

/// Wakes every producer that waits for memory, since they may wait for blocks of different sizes.
#[derive(Debug)]
struct WakeForMemory<'a>(&'a BusyEvent);

impl Drop for WakeForMemory<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.wake_all();
    }
}

impl<'a> ChannelBlock<'a> {
    #[inline(always)]
    pub(crate) fn new(block: Block<'a>, memory: &'a BusyEvent) -> Self {
        Self { block, wake: WakeForMemory(memory) }
    }

    #[inline(always)]
    pub(crate) fn push_into(self, ring: &Mpmc) -> Result<(), Refused<ChannelPushError, Self>> {
        self.hand_over(|block| {
            ring.push_block(block).map_err(|refused| Refused { error: refused.error.into(), block: refused.block })
        })
    }

    pub(crate) fn give_back_to(self, ring: &Mpmc, again: Again) -> Result<Lane, Refused<GiveBackError, Self>> {
        self.hand_over(|block| ring.give_back(block, again))
    }

    /// Does something with the block after which it is not ours any more, and frees no memory.
    #[inline(always)]
    fn hand_over<T, E>(self, to: impl FnOnce(Block<'a>) -> Result<T, Refused<E, Block<'a>>>) -> Result<T, Refused<E, Self>> {
        let Self { block, wake } = self;
        match to(block) {
            Ok(done) => {
                std::mem::forget(wake);
                Ok(done)
            }
            Err(Refused { error, block }) => Err(Refused { error, block: Self { block, wake } }),
        }
    }

    /// The message as it was taken: [free](crate::Channel::free) it, or hold it.
    #[inline(always)]
    pub fn into_taken(self) -> Taken<'a> {
        let Self { block, wake } = self;
        std::mem::forget(wake);
        block.into_taken()
    }

    /// Keeps a popped block in hand beyond the borrow, as [`Block::hold`] does.
    ///
    /// # Errors
    ///
    /// The message was allocated, not popped, or lay in a slot: it comes back.
    pub fn hold(self) -> Result<Held, Self> {
        let Self { block, wake } = self;
        match block.hold() {
            Ok(held) => {
                std::mem::forget(wake);
                Ok(held)
            }
            Err(block) => Err(Self { block, wake }),
        }
    }
}

impl<'a> Deref for ChannelBlock<'a> {
    type Target = Block<'a>;

    #[inline(always)]
    fn deref(&self) -> &Block<'a> {
        &self.block
    }
}

impl DerefMut for ChannelBlock<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.block
    }
}
