//! Waiting for descriptors: many at once, and one of our own that says what a thread found.

use crate::Deadline;
use crate::descriptor::{apart, ask, timespec};
use rustix::event::{EventfdFlags, PollFlags, epoll, eventfd};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a descriptor is to be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Something can be read, or the other side is gone.
    Read,
    /// Something can be written, or the other side is gone.
    Write,
}

/// A set of descriptors, each with a number that its owner chose (`epoll`).
///
/// A descriptor stays in the set until it is [removed](Self::remove). Closing it is not enough where a copy is open elsewhere.
#[derive(Debug)]
pub struct PollSet(OwnedFd);

impl PollSet {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        apart(|| epoll::create(epoll::CreateFlags::CLOEXEC)).map(Self)
    }

    /// Adds a descriptor. Returns `false`, and adds nothing, if it is of a kind that is always ready: a regular file, for instance.
    ///
    /// `once`: it is told of at most once, until [`again`](Self::again).
    ///
    /// # Errors
    ///
    /// It is in the set already, or the system has no memory for it.
    pub fn add(&self, descriptor: impl AsFd, number: u64, direction: Direction, once: bool) -> io::Result<bool> {
        match epoll::add(&self.0, descriptor, epoll::EventData::new_u64(number), flags(direction, once)) {
            Ok(()) => Ok(true),
            Err(Errno::PERM) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the set tell of a descriptor once more.
    ///
    /// # Errors
    ///
    /// It is not in the set.
    pub fn again(&self, descriptor: impl AsFd, number: u64, direction: Direction) -> io::Result<()> {
        Ok(epoll::modify(&self.0, descriptor, epoll::EventData::new_u64(number), flags(direction, true))?)
    }

    /// Takes a descriptor out of the set.
    pub fn remove(&self, descriptor: impl AsFd) {
        let _ = epoll::delete(&self.0, descriptor);
    }

    /// Waits until a descriptor of the set is ready or the deadline has passed, and puts the numbers of those that are into `ready`, up to
    /// `most` of them. A signal ends the wait early, with nothing.
    pub fn wait(&self, deadline: Deadline, most: usize, ready: &mut Vec<u64>) {
        ready.clear();
        let mut events = Vec::with_capacity(most.max(1));
        let limit = deadline.remaining().map(timespec);
        if epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), limit.as_ref()).is_ok() {
            ready.extend(events.iter().map(|event| event.data.u64()));
        }
    }
}

impl AsFd for PollSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn flags(direction: Direction, once: bool) -> epoll::EventFlags {
    let flags = match direction {
        Direction::Read => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        Direction::Write => epoll::EventFlags::OUT,
    };
    if once { flags | epoll::EventFlags::ONESHOT } else { flags }
}

/// Whether a descriptor is ready now. One that the system can't look at is: using it tells why.
pub fn is_ready_for(descriptor: impl AsFd, direction: Direction) -> bool {
    let flags = match direction {
        Direction::Read => PollFlags::IN | PollFlags::RDHUP,
        Direction::Write => PollFlags::OUT,
    };
    !matches!(ask(descriptor, flags), Ok(0))
}

/// A descriptor that is readable while it is set.
#[derive(Debug)]
pub struct Signal(OwnedFd);

impl Signal {
    /// One that is not set.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptors left.
    pub fn new() -> io::Result<Self> {
        apart(|| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)).map(Self)
    }

    /// Makes it readable.
    pub fn set(&self) {
        // A counter that is full is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
