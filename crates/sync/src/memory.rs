//! Waiting for memory: a block to write a message into.

use crate::block::ChannelBlock;
use crate::channel::Channel;
use crate::error::ChannelPushError;
use crate::wait::{Look, Wait};
use multiproc_prim::Deadline;
use multiproc_ring::mpmc::{AllocError, Block};

/// A push that waits. What costs much it tries at its first look, and then once before each sleep: the looks between them are as many as
/// the time allows.
pub(crate) struct Pushing<'a, W> {
    wait: W,
    channel: &'a Channel,
    pub(crate) tries_hard: bool,
    /// Its time was up at its last look around: there is none left for a long look.
    is_late: bool,
}

impl<'a, W: Wait> Pushing<'a, W> {
    pub(crate) fn new(wait: W, channel: &'a Channel) -> Self {
        Self { wait, channel, tries_hard: true, is_late: false }
    }
}

impl<W: Wait> Wait for Pushing<'_, W> {
    fn deadline(&self) -> Deadline {
        self.wait.deadline()
    }

    fn look_around(&mut self) -> Look {
        self.tries_hard = true;
        self.is_late = self.deadline().is_over();
        if !self.is_late {
            self.channel.used_up.forget();
            self.channel.trimmed.forget();
        }
        self.wait.look_around()
    }
}

impl Channel {
    /// A block to write a message of `len` bytes into; waits for memory until the deadline.
    ///
    /// # Errors
    ///
    /// There was none in time, the channel is shut down, or the message is too long.
    #[inline(always)]
    pub fn alloc(&self, len: usize, wait: impl Wait) -> Result<ChannelBlock<'_>, ChannelPushError> {
        match self.try_alloc(len) {
            Some(done) => done,
            None => self.alloc_later(len, wait),
        }
    }

    #[cold]
    pub(crate) fn alloc_later(&self, len: usize, wait: impl Wait) -> Result<ChannelBlock<'_>, ChannelPushError> {
        let memory = &self.control.memory;
        let mut trimmed = false;
        let attempt = |pushing: &mut Pushing<'_, _>| {
            let found = self.look_for_block(len, pushing.is_late);
            // Where every block is in use, one will come free. Where the system has no memory for one, free blocks of other sizes may.
            if !matches!(found, Err(AllocError::NoMemory { .. })) || !std::mem::take(&mut pushing.tries_hard) {
                return self.outcome(found);
            }
            trimmed = true;
            let mut again = found;
            if !self.trimmed.is_in_vain(len, memory) {
                let announcement = memory.announce();
                self.ring.trim_all();
                again = self.ring.alloc(len);
                if matches!(again, Err(AllocError::NoMemory { .. })) {
                    self.trimmed.in_vain(announcement, len);
                }
            }
            let again = self.outcome(again);
            if again.is_some() || self.ring.is_memory_in_use() {
                return again;
            }
            // Nobody holds what could come free: nothing is worth waiting for. What came free in between shows now.
            self.ring.trim_all();
            Some(self.outcome(self.ring.alloc(len)).unwrap_or(Err(ChannelPushError::NoMemory)))
        };
        let waited = memory.wait_with(Pushing::new(wait, self), &self.memory_pace, attempt);
        if trimmed {
            // Another producer may have looked for a block while the trim had all free ones.
            memory.wake_all();
        }
        waited.unwrap_or(Err(ChannelPushError::NoMemory))
    }

    /// A block, or why there never is one; `None`: not now.
    #[inline(always)]
    fn try_alloc(&self, len: usize) -> Option<Result<ChannelBlock<'_>, ChannelPushError>> {
        let goes_on = !self.ring.is_shut() && !self.used_up.is_in_vain(len, &self.control.memory);
        self.outcome(if goes_on { self.ring.alloc(len) } else { Err(AllocError::Exhausted) })
    }

    /// Looks for a block. If all are in use, the next looks are short until one comes free.
    fn look_for_block(&self, len: usize, is_late: bool) -> Result<Block<'_>, AllocError> {
        if is_late || self.used_up.is_in_vain(len, &self.control.memory) {
            // A process may have been stopped between freeing a block and telling of it.
            return self.ring.alloc_nearby(len);
        }
        if self.trimmed.is_in_vain(len, &self.control.memory) {
            return self.ring.alloc(len);
        }
        let announcement = self.control.memory.announce();
        self.ring.alloc(len).inspect_err(|error| {
            if *error == AllocError::Exhausted {
                self.used_up.in_vain(announcement, len);
            }
        })
    }

    #[inline(always)]
    fn outcome<'a>(&'a self, found: Result<Block<'a>, AllocError>) -> Option<Result<ChannelBlock<'a>, ChannelPushError>> {
        let found = found.map(|block| ChannelBlock::new(block, &self.control.memory));
        if self.ring.is_shut() {
            return Some(Err(ChannelPushError::ShutDown));
        }
        match found {
            Ok(block) => Some(Ok(block)),
            Err(error) => match error.into() {
                ChannelPushError::NoMemory => None,
                error => Some(Err(error)),
            },
        }
    }
}
