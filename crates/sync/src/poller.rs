//! A thread in the background that waits for descriptors: for futures, and for a [`Selector`](crate::Selector) that sleeps at an event
//! meanwhile. It starts when it is first needed.

use crate::waitlist::call;
use multiproc_prim::{Deadline, Direction, Mutex, PerProcess, PollSet, background, stamp};
use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The poller of a process. A forked copy has its own.
static OF_PROCESS: PerProcess<Poller> = PerProcess::new(Poller::default);

#[derive(Default)]
struct Poller(Mutex<State>);

#[derive(Default)]
struct State {
    set: Option<Arc<PollSet>>,
    wakers: HashMap<u64, Waker>,
    last: u64,
}

impl Poller {
    /// The set, and the thread that waits on it.
    fn set(&self) -> io::Result<Arc<PollSet>> {
        let mut state = self.0.lock();
        if let Some(set) = &state.set {
            return Ok(Arc::clone(set));
        }
        let set = Arc::new(PollSet::new()?);
        let theirs = Arc::clone(&set);
        background("multiproc-poll", move || run(&theirs))?;
        state.set = Some(Arc::clone(&set));
        Ok(set)
    }
}

/// Descriptors that the thread hears of at once.
const MOST_AT_ONCE: usize = 256;

fn run(set: &PollSet) {
    let mut ready = Vec::new();
    loop {
        set.wait(Deadline::NEVER, MOST_AT_ONCE, &mut ready);
        if ready.is_empty() {
            // Not to be expected, as no signal interrupts this thread. It must not spin.
            std::thread::sleep(Duration::from_millis(1));
        }
        for number in &ready {
            let waker = OF_PROCESS.get().0.lock().wakers.remove(number);
            if let Some(waker) = waker {
                call(waker);
            }
        }
    }
}

/// A descriptor that the thread in the background waits for. It uses one more descriptor as long as it lives.
#[derive(Debug)]
pub struct Polled {
    set: Arc<PollSet>,
    copy: OwnedFd,
    number: u64,
    direction: Direction,
    /// The process that it belongs to.
    stamp: u64,
}

impl Polled {
    /// `None` for a descriptor of a kind that is always ready.
    fn new(descriptor: BorrowedFd<'_>, direction: Direction) -> io::Result<Option<Self>> {
        let poller = OF_PROCESS.get();
        let set = poller.set()?;
        // The kernel knows an entry by the descriptor's number. Others may wait for the same one.
        let copy = multiproc_prim::descriptor::apart(|| descriptor.try_clone_to_owned())?;
        let number = {
            let mut state = poller.0.lock();
            state.last += 1;
            state.last
        };
        let polled = Self { set, copy, number, direction, stamp: stamp() };
        Ok(polled.set.add(&polled.copy, number, direction, true)?.then_some(polled))
    }

    fn call(&self, waker: &Waker) -> io::Result<()> {
        // Its copying and its dropping are the user's code, and happen outside of the lock.
        let waker = waker.clone();
        let before = OF_PROCESS.get().0.lock().wakers.insert(self.number, waker);
        drop(before);
        self.set.again(&self.copy, self.number, self.direction)
    }
}

impl Drop for Polled {
    fn drop(&mut self) {
        if self.stamp == stamp() {
            self.set.remove(&self.copy);
            let before = OF_PROCESS.get().0.lock().wakers.remove(&self.number);
            drop(before);
        }
    }
}

/// Makes an attempt: if it gives nothing, has `waker` called once the descriptor is ready, and makes the attempt once more.
///
/// `polled` is `None` at first. To drop it is to wait no longer.
///
/// # Errors
///
/// The process has no descriptors or threads left.
pub fn poll_descriptor<T>(
    polled: &mut Option<Polled>,
    descriptor: BorrowedFd<'_>,
    direction: Direction,
    waker: &Waker,
    mut attempt: impl FnMut() -> Option<T>,
) -> Poll<io::Result<T>> {
    if let Some(done) = attempt() {
        *polled = None;
        return Poll::Ready(Ok(done));
    }
    if let Err(error) = call_when_ready(polled, descriptor, direction, waker) {
        return Poll::Ready(Err(error));
    }
    match attempt() {
        Some(done) => {
            *polled = None;
            Poll::Ready(Ok(done))
        }
        None => Poll::Pending,
    }
}

pub(crate) fn call_when_ready(
    polled: &mut Option<Polled>,
    descriptor: BorrowedFd<'_>,
    direction: Direction,
    waker: &Waker,
) -> io::Result<()> {
    if polled.as_ref().is_none_or(|polled| polled.stamp != stamp()) {
        *polled = Polled::new(descriptor, direction)?;
    }
    match polled {
        Some(polled) => polled.call(waker),
        None => {
            waker.wake_by_ref();
            Ok(())
        }
    }
}
