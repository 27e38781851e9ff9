//! The waiters of this process that don't sleep: futures, and descriptors that become readable.
//!
//! They wait at a condition in a list. A thread in the background, the reactor, sleeps at the condition's event for all of them. When it
//! is woken and the condition is met, it calls the first waiter of the list. That waiter takes what is there, and calls the next one if
//! the condition is still met. So one message calls one waiter, and a thousand waiters cost no more than one.
//!
//! What keeps a wake-up from being lost: the reactor announces itself at the event before each sleep, and looks at the condition
//! afterwards. It sleeps for a list only while somebody waits there. So a waiter that is in the list needs no announcement of its own. It
//! has only to try once more: what happened before it came into the list may have called nobody. A waiter that was called is out of the
//! list. It must take what is there, or hand on: to the next waiter, or to a sleeper of another process.
//!
//! Where the condition [is not known](Condition::is_known), whether an attempt succeeds depends on what the waiter wants: how much memory,
//! say. Then the reactor calls all waiters whenever it is woken.

use crate::event::Event;
use crate::reactor::Reactor;
use crate::source::Condition;
use multiproc_prim::{Mutex, MutexGuard, stamp};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Their numbers ascend.
    waiting: VecDeque<(u64, Waker)>,
    last: u64,
    /// Whether the reactor sleeps for this list, or is about to.
    is_armed: bool,
    /// What the condition is about is gone.
    is_over: bool,
}

impl List {
    fn place_of(&self, number: Option<u64>) -> Option<usize> {
        self.waiting.binary_search_by_key(&number?, |waiter| waiter.0).ok()
    }
}

/// One waiter: a future, say. Dropped, it waits no longer.
#[derive(Debug)]
pub struct Waiter {
    list: Arc<WaitList>,
    /// Its number in the list, from the first attempt in vain on.
    number: Option<u64>,
    /// The process that it belongs to. A forked copy must not touch the list: a thread of the parent may have held its lock at the fork.
    stamp: u64,
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

    /// Calls the next waiter, or wakes a sleeper of another process, if the condition is met. For a waiter that was called, and that
    /// leaves or takes nothing. Returns whether it was met.
    pub fn hand_on(&self) -> bool {
        // Where it is not known, all waiters were called.
        let is_met = self.condition.is_known() && self.condition.is_met();
        if is_met && !self.call_one() {
            self.event().wake();
        }
        is_met
    }

    /// Calls the first waiter. Returns whether there was one.
    fn call_one(&self) -> bool {
        let first = self.list().waiting.pop_front();
        first.map(|(_, waker)| call(waker)).is_some()
    }

    fn call_all(&self) {
        let waiting = std::mem::take(&mut self.list().waiting);
        waiting.into_iter().for_each(|(_, waker)| call(waker));
    }

    /// Whether somebody waits here. If not, the reactor sleeps for this list no longer.
    pub(crate) fn is_wanted(&self) -> bool {
        let mut list = self.list();
        list.is_armed = !list.is_over && !list.waiting.is_empty();
        list.is_armed
    }

    /// The reactor's look, after it has announced its next sleep. `is_told`: it was woken, or has just come to this list. Returns whether
    /// it called a waiter that may be long in coming: a stream that is kept, and not polled.
    pub(crate) fn look(&self, is_told: bool) -> bool {
        if self.condition.is_known() {
            return self.hand_on();
        }
        if is_told {
            self.call_all();
        }
        false
    }

    /// Calls all waiters: what the condition is about is gone, and each attempt says so. The reactor sleeps for this list no longer.
    pub fn close(&self) {
        let is_armed = {
            let mut list = self.list();
            list.is_over = true;
            list.is_armed
        };
        self.call_all();
        if is_armed {
            self.reactor.ring();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.list().is_over
    }
}

/// Calls a waker, which is the user's code. Its panic has been reported, and takes nothing of the caller's along.
pub fn call(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

impl Waiter {
    /// One that does not wait yet.
    pub fn new(list: &Arc<WaitList>) -> Self {
        Self { list: Arc::clone(list), number: None, stamp: stamp() }
    }

    /// The list that it waits in.
    pub fn list(&self) -> &Arc<WaitList> {
        &self.list
    }

    /// Whether it is this process's. That of a forked copy's parent is of no use.
    pub fn is_ours(&self) -> bool {
        self.stamp == stamp()
    }

    /// Makes an attempt. If that gives nothing, it waits, and makes the attempt once more. `waker` is called when the next attempt is worth
    /// while.
    pub fn poll<T>(&mut self, waker: &Waker, mut attempt: impl FnMut() -> Option<T>) -> Poll<T> {
        if let Some(done) = attempt() {
            self.leave();
            return Poll::Ready(done);
        }
        if !self.wait(waker) {
            // No thread can be had. Until one can, the waiters poll, as often as that does no harm.
            std::thread::sleep(Duration::from_millis(1));
            self.list.call_all();
        }
        match attempt() {
            Some(done) => {
                self.leave();
                Poll::Ready(done)
            }
            None => Poll::Pending,
        }
    }

    /// Comes into the list. Look at the condition once more afterwards. Returns `false` if no thread can be had that would call `waker`.
    pub fn wait(&mut self, waker: &Waker) -> bool {
        // Its copying and its dropping are the user's code, and happen outside of the lock.
        let waker = waker.clone();
        let mut list = self.list.list();
        if list.is_over {
            drop(list);
            call(waker);
            return true;
        }
        let mut before = None;
        match list.place_of(self.number) {
            Some(at) => before = Some(std::mem::replace(&mut list.waiting[at].1, waker)),
            None => {
                list.last += 1;
                let number = list.last;
                self.number = Some(number);
                list.waiting.push_back((number, waker));
            }
        }
        let arms = !std::mem::replace(&mut list.is_armed, true);
        drop(list);
        drop(before);
        if arms && self.list.reactor.sleep_for(&self.list).is_err() {
            self.list.list().is_armed = false;
            return false;
        }
        true
    }

    /// Waits no longer. A waiter that was called calls the next one, unless nothing is left to take.
    pub fn leave(&mut self) {
        let number = self.number.take();
        if number.is_none() || !self.is_ours() {
            return;
        }
        let mut list = self.list.list();
        let ours = list.place_of(number).and_then(|at| list.waiting.remove(at));
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
