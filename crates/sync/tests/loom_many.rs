//! Lost wake-ups of those that don't sleep alone: futures in a wait list, and selectors. The model's futex has no time-outs, so a waiter
//! that nobody calls is a deadlock that loom reports.
//!
//! Without loom each model runs once, for real.

use multiproc_prim::model::{model, thread};
use multiproc_prim::{AtomicU32, Deadline, Heap, Ordering, Place, Region, futex};
use multiproc_sync::{
    Awaited, BusyEvent, Condition, Event, EventCount, Look, Pace, Reactor, SLICE, Selector, Source, WaitList, Waiter,
};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

/// Items in shared memory.
#[derive(Clone, Debug)]
struct Items {
    event: Place<EventCount>,
    busy: Place<BusyEvent>,
    /// Whether producers use the busy event.
    is_busy: bool,
    count: Place<AtomicU32>,
}

impl Items {
    fn new(is_busy: bool) -> Self {
        let region = Region::new(Heap::new(4096));
        let (event, busy, count) = (region.place(0).unwrap(), region.place(64).unwrap(), region.place(128).unwrap());
        let items = Self { event, busy, is_busy, count };
        items.event.make_fresh();
        items.busy.make_fresh();
        items.count.make_fresh();
        items
    }

    fn put(&self) {
        self.count.fetch_add(1, Ordering::Release);
        if self.is_busy { self.busy.wake(1) } else { self.event.wake(1) }
    }

    fn take(&self) -> Option<()> {
        let mut left = self.count.load(Ordering::Acquire);
        while left > 0 {
            match self.count.compare_exchange(left, left - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(()),
                Err(other) => left = other,
            }
        }
        None
    }

    fn list(&self, reactor: &Arc<Reactor>) -> Arc<WaitList> {
        WaitList::new(self.clone(), Arc::clone(reactor))
    }
}

impl Condition for Items {
    fn event(&self) -> Event<'_> {
        if self.is_busy { Event::Busy(&self.busy) } else { Event::Plain(&self.event) }
    }

    fn is_met(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    fn look_around(&self) -> Look {
        SLICE.into()
    }
}

struct Listed(Arc<WaitList>);

impl Source for Listed {
    fn awaited(&self) -> Awaited<'_> {
        Awaited::Condition(Arc::clone(&self.0))
    }
}

/// A task of an executor that runs one task on one thread.
#[derive(Default)]
struct Task(AtomicU32);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
        futex::wake(&self.0, 1);
    }
}

/// Polls until an item is there.
fn await_one(list: &Arc<WaitList>, items: &Items) {
    let task = Arc::new(Task::default());
    let waker = Waker::from(Arc::clone(&task));
    let mut waiter = Waiter::new(list);
    loop {
        let called = task.0.load(Ordering::Acquire);
        if waiter.poll(&waker, || items.take()).is_ready() {
            return;
        }
        futex::wait(&task.0, called, None);
    }
}

/// A future polls once and is dropped after a put, which may have called it or not.
fn put_while_a_future_gives_up(list: &Arc<WaitList>, items: &Items) {
    let waker = Waker::from(Arc::new(Task::default()));
    let mut waiter = Waiter::new(list);
    assert_eq!(waiter.poll(&waker, || None::<()>), Poll::Pending);
    items.put();
    waiter.leave();
}

/// Runs a story about items and the futures that wait for them, beside a reactor.
fn beside_a_reactor(is_busy: bool, story: impl FnOnce(&Items, &Arc<WaitList>)) {
    let items = Items::new(is_busy);
    let (reactor, station) = Reactor::of_model();
    let theirs = Arc::clone(&station);
    let background = thread::spawn(move || theirs.run());
    story(&items, &items.list(&reactor));
    station.end();
    background.join().unwrap();
}

fn a_future_is_called(items: &Items, list: &Arc<WaitList>) {
    let theirs = items.clone();
    let producer = thread::spawn(move || theirs.put());
    await_one(list, items);
    producer.join().unwrap();
}

#[test]
fn a_future_is_called_for_a_put_at_any_moment() {
    model(|| beside_a_reactor(false, a_future_is_called));
}

#[test]
fn a_future_is_called_by_a_producer_that_runs_no_fence() {
    model(|| beside_a_reactor(true, a_future_is_called));
}

#[test]
fn a_future_that_waits_again_and_again_is_called_each_time() {
    model(|| {
        beside_a_reactor(false, |items, list| {
            let theirs = items.clone();
            let producer = thread::spawn(move || (theirs.put(), theirs.put()));
            await_one(list, items);
            await_one(list, items);
            producer.join().unwrap();
        });
    });
}

#[test]
fn a_future_that_is_dropped_after_its_call_calls_the_next_one() {
    model(|| {
        beside_a_reactor(false, |items, list| {
            let (their_list, theirs) = (Arc::clone(list), items.clone());
            let next = thread::spawn(move || await_one(&their_list, &theirs));
            put_while_a_future_gives_up(list, items);
            next.join().unwrap();
        });
    });
}

#[test]
fn a_future_that_is_dropped_after_its_call_wakes_a_sleeper_elsewhere() {
    model(|| {
        beside_a_reactor(false, |items, list| {
            let theirs = items.clone();
            let sleeper = thread::spawn(move || theirs.event.wait_until(Deadline::NEVER, &Pace::default(), || theirs.take()));
            put_while_a_future_gives_up(list, items);
            sleeper.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_selector_sees_whichever_source_becomes_ready() {
    model(|| {
        let (first, second) = (Items::new(false), Items::new(true));
        let (reactor, _station) = Reactor::of_model();
        let sources = [Listed(first.list(&reactor)), Listed(second.list(&reactor))];
        let producer = thread::spawn(move || second.put());
        let mut selector = Selector::new();
        let keys: Vec<_> = sources.iter().map(|source| selector.add(source)).collect();
        assert_eq!(selector.wait(None).unwrap(), keys[1..]);
        producer.join().unwrap();
        drop(first);
    });
}

#[test]
fn a_selector_is_woken_for_a_source_that_the_reactor_sleeps_for() {
    model(|| {
        beside_a_reactor(false, |items, list| {
            let theirs = items.clone();
            let producer = thread::spawn(move || theirs.put());
            let reactor = Reactor::of_model().0;
            let others = [0, 1].map(|_| Listed(Items::new(false).list(&reactor)));
            let last = Listed(Arc::clone(list));
            let mut selector = Selector::new();
            others.iter().for_each(|other| assert!(selector.add(other) < 2));
            let key = selector.add(&last);
            assert_eq!(selector.wait(None).unwrap(), [key]);
            producer.join().unwrap();
        });
    });
}

#[test]
fn a_selector_that_takes_nothing_wakes_a_sleeper_for_what_it_saw() {
    model(|| {
        let (items, end) = (Items::new(false), Items::new(false));
        let (reactor, _station) = Reactor::of_model();
        let sources = [Listed(items.list(&reactor)), Listed(end.list(&reactor))];
        let waits = thread::spawn(move || {
            let mut selector = Selector::new();
            sources.iter().for_each(|source| assert!(selector.add(source) < 2));
            assert!(!selector.wait(None).unwrap().is_empty());
        });
        let theirs = items.clone();
        let producer = thread::spawn(move || theirs.put());
        items.event.wait_until(Deadline::NEVER, &Pace::default(), || items.take()).unwrap();
        // The sleeper may have been faster than the selector.
        end.put();
        producer.join().unwrap();
        waits.join().unwrap();
    });
}
