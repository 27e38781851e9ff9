//! The waiters of this process that don't sleep: futures, and descriptors that become readable.
//!
//! They wait at a condition in a list. A thread in the background, the reactor, sleeps at the condition's event for all of them. When it
//! is woken and the condition is met, it calls the first waiter of the list. That waiter takes what is there, and calls the next one if
//! the condition is still met. So one message calls one waiter, and a thousand waiters cost no more than one.
//!
//! What keeps a wake-up from being lost: the reactor announces itself at the event before each sleep, and looks at the list and at the
//! condition afterwards. So a waiter that is in the list needs no announcement of its own. It has only to try once more: what happened
//! before it came into the list may have called nobody. A waiter that was called is out of the list. Until it comes back or
//! [leaves](Waiter::leave), it answers for the condition. If it leaves with nothing, it calls the next one, or wakes a sleeper of another
//! process.

use crate::event::Event;
use crate::reactor::Reactor;
use crate::source::Condition;
use multiproc_prim::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The waiters of this process at one condition, the first to come first.
#[derive(Debug)]
pub struct WaitList {
    condition: Box<dyn Condition>,
    reactor: Arc<Reactor>,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    waiting: VecDeque<(u64, Waker)>,
    last: u64,
    /// Whether the reactor sleeps for this list, or is about to.
    is_armed: bool,
    /// What the condition is about is gone.
    is_over: bool,
}

/// One waiter: a future, say. Dropped, it waits no longer.
#[derive(Debug)]
pub struct Waiter {
    list: Arc<WaitList>,
    /// Its number in the list, from the first attempt in vain on.
    number: Option<u64>,
}

impl WaitList {
    /// A list without waiters. Where they wait, `reactor` sleeps for them: [this process's](Reactor::of_process), unless it is for a model.
    pub fn new(condition: impl Condition + 'static, reactor: Arc<Reactor>) -> Arc<Self> {
        Arc::new(Self { condition: Box::new(condition), reactor, list: Mutex::new(List::default()) })
    }

    /// The condition that the list is about.
    pub fn condition(&self) -> &dyn Condition {
        &*self.condition
    }

    pub(crate) fn event(&self) -> Event<'_> {
        self.condition.event()
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock()
    }

    /// Calls the next waiter, or wakes a sleeper of another process, if the condition is met.
    fn hand_on(&self) {
        if self.condition.is_met() && !self.call_one() {
            self.event().wake();
        }
    }

    /// Calls the first waiter. Returns whether there was one.
    fn call_one(&self) -> bool {
        let first = self.list().waiting.pop_front();
        first.map(|(_, waker)| waker.wake()).is_some()
    }

    /// The reactor's look before it sleeps: calls a waiter if the condition is met. Returns `false` if nobody waits: then the reactor no
    /// longer sleeps for this list.
    ///
    /// `announce` announces that sleep, and comes before the look at the condition.
    pub(crate) fn look(&self, was_woken: bool, announce: impl FnOnce()) -> bool {
        let mut list = self.list();
        if list.is_over || list.waiting.is_empty() {
            list.is_armed = false;
            drop(list);
            // The wake-up may have been meant for another process.
            if was_woken && self.condition.is_met() {
                self.event().wake();
            }
            return false;
        }
        drop(list);
        announce();
        if self.condition.is_met() {
            self.call_one();
        }
        true
    }

    /// Calls all waiters: what the condition is about is gone, and each attempt says so. The reactor no longer sleeps for this list.
    pub fn close(&self) {
        let mut list = self.list();
        list.is_over = true;
        let (waiting, is_armed) = (std::mem::take(&mut list.waiting), list.is_armed);
        drop(list);
        waiting.into_iter().for_each(|(_, waker)| waker.wake());
        if is_armed {
            self.reactor.ring();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.list().is_over
    }
}

impl Waiter {
    /// One that does not wait yet.
    pub fn new(list: &Arc<WaitList>) -> Self {
        Self { list: Arc::clone(list), number: None }
    }

    /// The list that it waits in.
    pub fn list(&self) -> &Arc<WaitList> {
        &self.list
    }

    /// Makes an attempt. If that gives nothing, it waits, and makes the attempt once more. `waker` is called when the next attempt is worth
    /// while.
    pub fn poll<T>(&mut self, waker: &Waker, mut attempt: impl FnMut() -> Option<T>) -> Poll<T> {
        if let Some(done) = attempt() {
            self.leave();
            return Poll::Ready(done);
        }
        self.wait(waker);
        match attempt() {
            Some(done) => {
                self.leave();
                Poll::Ready(done)
            }
            None => Poll::Pending,
        }
    }

    /// Comes into the list. Look at the condition once more afterwards.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        let mut list = self.list.list();
        if list.is_over {
            drop(list);
            return waker.wake_by_ref();
        }
        let known = self.number.and_then(|number| list.waiting.iter_mut().find(|waiter| waiter.0 == number));
        let before = match known {
            Some(waiter) => Some(std::mem::replace(&mut waiter.1, waker.clone())),
            None => {
                list.last += 1;
                self.number = Some(list.last);
                let waiter = (list.last, waker.clone());
                list.waiting.push_back(waiter);
                None
            }
        };
        let arms = !std::mem::replace(&mut list.is_armed, true);
        drop(list);
        // A waker's destructor is the user's code.
        drop(before);
        if arms && self.list.reactor.sleep_for(&self.list).is_err() {
            // No thread can be had: this waiter's own thread looks again soon.
            self.list.list().is_armed = false;
            std::thread::sleep(Duration::from_millis(1));
            waker.wake_by_ref();
        }
    }

    /// Waits no longer. A waiter that was called calls the next one, unless nothing is left to take.
    pub fn leave(&mut self) {
        let Some(number) = self.number.take() else { return };
        let mut list = self.list.list();
        let ours = list.waiting.iter().position(|waiter| waiter.0 == number).and_then(|at| list.waiting.remove(at));
        drop(list);
        if ours.is_none() {
            self.list.hand_on();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}
