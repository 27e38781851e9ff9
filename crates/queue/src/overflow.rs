//! The buffer behind an unbounded queue: values for which the shared memory has no room, written out by a background thread.
//!
//! The thread runs only while something is buffered. While it does, every put of the process goes through the buffer, so
//! that each producer's values keep their order.

use crate::core::Core;
use crate::layout::Buffered;
use multiproc_prim::{AtomicU32, Deadline, Ordering};
use multiproc_sync::PutError;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Overflow {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether puts have to go through the buffer. Changes under the lock only.
    in_use: AtomicFlag,
}

#[derive(Debug)]
struct AtomicFlag(AtomicU32);

impl Default for AtomicFlag {
    fn default() -> Self {
        Self(AtomicU32::new(0))
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
}

impl Overflow {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_in_use(&self) -> bool {
        // Acquire: once it reads unused, what was buffered before is in the ring, ahead of what we put next.
        self.in_use.0.load(Ordering::Acquire) != 0
    }

    /// Values buffered, the one being written out included.
    pub(crate) fn len(&self) -> usize {
        if self.is_in_use() { self.lock().waiting.len() } else { 0 }
    }

    /// Waits until nothing is buffered.
    pub(crate) fn wait_until_written(&self, deadline: Deadline) {
        let mut state = self.lock();
        while !state.waiting.is_empty() && !deadline.is_over() {
            let slice = deadline.within(std::time::Duration::from_secs(3600));
            state = self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Core {
    /// Puts without ever waiting: into the ring, or into the buffer when there is no room or something is buffered already.
    #[inline(always)]
    pub(crate) fn push_unbounded(&self, message: &[u8]) -> Result<(), PutError> {
        if !self.overflow.is_in_use() {
            match self.push(message, Deadline::NOW) {
                Err(PutError::Full | PutError::NoMemory) => {}
                other => return other,
            }
        }
        self.buffer(message)
    }

    #[cold]
    fn buffer(&self, message: &[u8]) -> Result<(), PutError> {
        let max = self.channel.ring().max_message();
        if message.len() > max {
            return Err(PutError::TooLong { len: message.len(), max });
        }
        if self.channel.is_shut_down() {
            return Err(PutError::Closed);
        }
        let mut state = self.overflow.lock();
        if state.waiting.is_empty() {
            let core = self.share().ok_or(PutError::NoMemory)?;
            let thread = std::thread::Builder::new().name("multiproc-feeder".into());
            thread.spawn(move || core.write_out()).map_err(|_| PutError::NoMemory)?;
            self.overflow.in_use.0.store(1, Ordering::Release);
        }
        state.waiting.push_back(message.to_vec());
        self.note_buffered(&state);
        Ok(())
    }

    /// For `join`, which counts what is buffered anywhere. Under the lock, so that the count follows the buffer.
    fn note_buffered(&self, state: &State) {
        if let Some(tally) = self.tally() {
            let buffered = Buffered::new(self.membership.participant(), state.waiting.len());
            tally.buffered.store(buffered.0, Ordering::Release);
        }
    }

    /// The background thread: writes out what is buffered, in order, and ends when nothing is left.
    fn write_out(&self) {
        let mut state = self.overflow.lock();
        // A value stays in the buffer until it is in the ring: it is always in one of the two at least.
        while let Some(message) = state.waiting.front_mut().map(std::mem::take) {
            drop(state);
            let done = self.push(&message, Deadline::NEVER);
            state = self.overflow.lock();
            if done.is_err() {
                state.waiting.clear();
            } else {
                state.waiting.pop_front();
            }
            self.note_buffered(&state);
        }
        self.overflow.in_use.0.store(0, Ordering::Release);
        drop(state);
        self.overflow.changed.notify_all();
        self.words.all_done.wake_all();
    }
}
