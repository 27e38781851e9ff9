//! Messages of plain data written and read in place, without a copy between.
//!
//! Another process may write shared memory at any moment, so a slice of it would be unsound to hand out. The methods here copy
//! elements, or runs of them, atomically. For code that goes over the data once this is as fast as a slice.

use crate::attachment::Attachment;
use crate::ending::Apart;
use crate::error::{GetError, PutError, put_error};
use crate::layout::Flavor;
use crate::queue::{ENCODED, IN_PLACE, Queue};
use bytemuck::Pod;
use multiproc_prim::{Bytes, Deadline};
use multiproc_ring::mpmc::Unfinished;
use multiproc_sync::{ChannelBlock, Refused};
use multiproc_travel::pass;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// Room for a message of `T`s in shared memory: write it, then [`send`](Self::send) it. A loan that is dropped was never put.
///
/// It may go to another thread, within the life of the handle that made it.
#[derive(Debug)]
#[must_use = "a loan that is not sent is as if it had never been"]
pub struct Loan<'q, T> {
    attachment: &'q Attachment,
    block: Option<ChannelBlock<'q>>,
    of: PhantomData<T>,
}

/// A message of `T`s in shared memory, out of the queue and in this process's hands until it is dropped.
///
/// It may go to another thread, within the life of the handle that took it. In a [`JoinableQueue`](crate::JoinableQueue) it is in
/// hand of the thread that drops it from then on, as if that thread had got it.
#[derive(Debug)]
#[must_use = "a message that is dropped has left the queue"]
pub struct Borrowed<'q, T> {
    attachment: &'q Attachment,
    block: Option<ChannelBlock<'q>>,
    /// Where the values are, unless they are in the block itself.
    shared: Option<Bytes<'q>>,
    /// The count of the thread that got it from a `JoinableQueue`.
    apart: Option<Arc<Apart>>,
    of: PhantomData<T>,
}

impl<T> Queue<T> {
    /// `form`: the tag of the message, which says how it can be got.
    pub(crate) fn loan_by<E: Pod>(&self, form: u8, count: usize, deadline: Deadline) -> Result<Loan<'_, E>, PutError<()>> {
        if self.is_closed() {
            return Err(PutError::Closed(()));
        }
        let attachment = self.share().here().map_err(|error| PutError::Forked {
            value: (),
            queue: self.share().name().into(),
            why: error.into(),
        })?;
        let len = count.saturating_mul(size_of::<E>());
        let block = attachment.channel.alloc(len, attachment.until(deadline));
        let mut block = block.map_err(|error| put_error(attachment, error, ()))?;
        block.set_tag(form);
        Ok(Loan { attachment, block: Some(block), of: PhantomData })
    }

    pub(crate) fn borrow_by<E: Pod>(&self, form: u8, deadline: Deadline) -> Result<Borrowed<'_, E>, GetError> {
        let attachment = self.here()?;
        let block = attachment.pop(deadline).map_err(|error| attachment.get_error(error))?;
        let rest = block.len() % size_of::<E>().max(1);
        if block.tag() != form || rest != 0 {
            match attachment.shape.flavor {
                Flavor::Joinable => block.hold().into_iter().for_each(|held| attachment.put_aside(held, Unfinished::Unreadable)),
                _ => drop(block),
            }
            return Err(match form {
                IN_PLACE => GetError::Form { written: "was not written as this type in place", asked: "in place (borrow)" },
                _ => GetError::Form { written: "was written as plain data in place (loan)", asked: "as bytes (borrow_bytes)" },
            });
        }
        let apart = (attachment.shape.flavor == Flavor::Joinable).then(|| attachment.in_hand_here().1);
        if let Some(apart) = &apart {
            apart.add();
        }
        Ok(Borrowed { attachment, shared: block.shared_payload(), block: Some(block), apart, of: PhantomData })
    }
}

/// Values in a message.
fn count<T>(block: &Option<ChannelBlock<'_>>) -> usize {
    block.as_ref().map_or(0, |block| block.len() / size_of::<T>().max(1))
}

/// The bytes of elements from `first` on, as many as `count`.
#[inline(always)]
fn window<T>(payload: Bytes<'_>, first: usize, count: usize) -> Option<Bytes<'_>> {
    payload.part(first.checked_mul(size_of::<T>())?, count.checked_mul(size_of::<T>())?)
}

impl<'q, T: Pod> Loan<'q, T> {
    /// Returns the number of values in the message.
    pub fn len(&self) -> usize {
        count::<T>(&self.block)
    }

    /// Returns whether the message has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes values from index `first` on. Returns whether they fit; if not, nothing is written, and nothing ever by a forked
    /// copy. Values that are never written are left from an earlier message.
    #[inline(always)]
    #[must_use = "nothing is written if the values don't fit"]
    pub fn copy_from(&self, first: usize, values: &[T]) -> bool {
        let Some(block) = self.block.as_ref().filter(|_| !self.attachment.membership.is_inherited()) else { return false };
        window::<T>(block.payload(), first, values.len()).is_some_and(|to| to.write(bytemuck::cast_slice(values)))
    }

    /// Writes one value. Returns whether there is such an index.
    #[inline(always)]
    #[must_use = "nothing is written if there is no such index"]
    pub fn set(&self, index: usize, value: T) -> bool {
        self.copy_from(index, &[value])
    }

    /// Puts the message; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// The message can't be put ever, by this loan or another one.
    pub fn send(self) -> Result<(), PutError<()>> {
        self.send_by(Deadline::NEVER).map_err(|error| error.map(drop))
    }

    /// Puts the message if the queue has room now.
    ///
    /// # Errors
    ///
    /// [`PutError::Full`], or as [`send`](Self::send). The error gives the loan back.
    #[expect(clippy::result_large_err, reason = "the error gives the loan back, which has a block in hand")]
    pub fn try_send(self) -> Result<(), PutError<Self>> {
        self.send_by(Deadline::NOW)
    }

    /// Puts the message; waits at most `timeout` while the queue is full.
    ///
    /// # Errors
    ///
    /// [`PutError::Timeout`], or as [`send`](Self::send). The error gives the loan back.
    #[expect(clippy::result_large_err, reason = "the error gives the loan back, which has a block in hand")]
    pub fn send_timeout(self, timeout: Duration) -> Result<(), PutError<Self>> {
        self.send_by(Deadline::after(timeout))
    }

    #[expect(clippy::result_large_err, reason = "the error gives the loan back, which has a block in hand")]
    fn send_by(mut self, deadline: Deadline) -> Result<(), PutError<Self>> {
        let attachment = self.attachment;
        let Some(block) = self.block.take().and_then(|block| attachment.ours(block)) else {
            return Err(PutError::Inherited(self));
        };
        if attachment.texts_only && block.tag() == ENCODED {
            let mut bytes = vec![0; block.len()];
            let is_read = block.payload().read(&mut bytes);
            if let Err(why) = if is_read { pass::check_text::<Vec<u8>>(&bytes) } else { Ok(()) } {
                self.block = Some(block);
                return Err(PutError::Encode { value: self, why });
            }
        }
        attachment.channel.push_block(block, attachment.until(deadline)).map_err(|Refused { error, block }| {
            self.block = Some(block);
            put_error(attachment, error, self)
        })
    }
}

impl<T: Pod> Borrowed<'_, T> {
    /// Returns the number of values in the message.
    pub fn len(&self) -> usize {
        count::<T>(&self.block)
    }

    /// Returns whether the message has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies one value; `None` beyond the end.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<T> {
        let mut value = [T::zeroed()];
        self.copy_to(index, &mut value).then_some(value[0])
    }

    /// Copies values from index `first` on. Returns whether there are as many; if not, nothing is copied, and nothing ever in a forked
    /// copy of the process, which has no part in the message.
    #[inline(always)]
    #[must_use = "nothing is copied if there are fewer values"]
    pub fn copy_to(&self, first: usize, target: &mut [T]) -> bool {
        let mut read =
            |payload| window::<T>(payload, first, target.len()).is_some_and(|from| from.read(bytemuck::cast_slice_mut(target)));
        match self.shared {
            _ if self.attachment.membership.is_inherited() => false,
            Some(payload) => read(payload),
            None => self.block.as_ref().is_some_and(|block| read(block.payload())),
        }
    }

    /// Where the message lies, for code that is not Rust's: a view for another language, for instance. `None` for a message of up to 8
    /// bytes, which lies in here, and in a forked copy of the process.
    ///
    /// The memory is this message's until this is dropped. Other processes have it mapped: code that reads through the pointer has to bear
    /// that one writes meanwhile, or makes the memory smaller.
    pub fn as_ptr(&self) -> Option<NonNull<T>> {
        self.shared.filter(|_| !self.attachment.membership.is_inherited()).map(|payload| payload.as_ptr().cast())
    }

    /// Iterates over all values, which are copied one by one.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Copies all values; none in a forked copy of the process.
    pub fn to_vec(&self) -> Vec<T> {
        let mut values = vec![T::zeroed(); self.len()];
        if !self.copy_to(0, &mut values) {
            values.clear();
        }
        values
    }
}

impl<T> Drop for Borrowed<'_, T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take().and_then(|block| self.attachment.ours(block)) {
            if let Some(apart) = &self.apart {
                apart.remove(self.attachment);
            }
            self.attachment.put_in_hand(block);
        }
    }
}

impl<T> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take().and_then(|block| self.attachment.ours(block)) {
            drop(block);
        }
    }
}
