//! What a program can wait for, alone or with others.

use crate::event::Event;
use crate::wait::Look;
use crate::waitlist::WaitList;
use multiproc_prim::Direction;
use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Something that becomes ready: a queue, an end of a pipe, a process, a descriptor. A [`Selector`](crate::Selector) waits for many.
///
/// A source is ready when its operation would not wait: there is a value, or room, or an end, or an error.
pub trait Source {
    /// What tells that the source is ready.
    fn awaited(&self) -> Awaited<'_>;
}

/// What tells that a [`Source`] is ready.
#[derive(Debug)]
pub enum Awaited<'s> {
    /// A condition in shared memory.
    Condition(Arc<WaitList>),
    /// A descriptor.
    Descriptor(BorrowedFd<'s>, Direction),
    /// Nothing: its operation returns at once, with an error for instance.
    Nothing,
}

/// A condition in shared memory. Whatever makes it true wakes a sleeper of its event afterwards.
pub trait Condition: Debug + Send + Sync {
    /// Where to sleep until it is met.
    fn event(&self) -> Event<'_>;

    /// Whether it is met now. A condition of something that is gone is not met.
    fn is_met(&self) -> bool;

    /// Whether [`is_met`](Self::is_met) knows. If not, only the next attempt knows whether there is enough, and every wake-up calls all
    /// waiters.
    fn is_known(&self) -> bool {
        true
    }

    /// Looks around after a sleep that was in vain, as [`Wait::look_around`](crate::Wait::look_around) does.
    /// [`Look::Leave`]: what it is about is gone.
    fn look_around(&self) -> Look;
}

/// A descriptor as a [`Source`]: ready when something can be read, or the other side is gone.
#[derive(Clone, Copy, Debug)]
pub struct Readable<D>(pub D);

/// A descriptor as a [`Source`]: ready when something can be written, or the other side is gone.
#[derive(Clone, Copy, Debug)]
pub struct Writable<D>(pub D);

impl<D: AsFd> Source for Readable<D> {
    fn awaited(&self) -> Awaited<'_> {
        Awaited::Descriptor(self.0.as_fd(), Direction::Read)
    }
}

impl<D: AsFd> Source for Writable<D> {
    fn awaited(&self) -> Awaited<'_> {
        Awaited::Descriptor(self.0.as_fd(), Direction::Write)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn awaited(&self) -> Awaited<'_> {
        (**self).awaited()
    }
}
