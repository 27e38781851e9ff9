//! Wake-ups when a participant stops for good between any two of its steps on shared memory: what it owed is made good by
//! the sweeper, which wakes everyone. The model's futex has no time-outs, so a sleeper that nobody wakes is a deadlock that
//! loom reports.
//!
//! Without loom each model runs once, for real, and nobody dies.

use multiproc_prim::model::{model_deaths, mortal, thread};
use multiproc_prim::{AtomicU32, Deadline, Heap, Ordering, Place, Region};
use multiproc_ring::mpmc::{Finished, Geometry, Orphans, Owner};
use multiproc_sync::{Channel, EventCount, Pace, channel_len};

fn event_and_word() -> (Place<EventCount>, Place<AtomicU32>) {
    let region = Region::new(Heap::new(4096));
    let event: Place<EventCount> = region.place(0).unwrap();
    let word: Place<AtomicU32> = region.place(64).unwrap();
    event.make_fresh();
    word.make_fresh();
    (event, word)
}

/// Sleeps until something is there, and takes one of it.
fn wait_and_take(event: &EventCount, there: &AtomicU32) {
    let take = || {
        let mut left = there.load(Ordering::Acquire);
        while left > 0 {
            match there.compare_exchange(left, left - 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(()),
                Err(other) => left = other,
            }
        }
        None
    };
    event.wait_until(Deadline::NEVER, &Pace::default(), take).unwrap();
}

#[test]
fn a_waker_that_dies_anywhere_leaves_nobody_asleep_once_it_is_swept() {
    model_deaths(|steps| {
        let (event, there) = event_and_word();
        let (their_event, put) = (event.clone(), there.clone());
        let waker = thread::spawn(move || {
            mortal(steps, || {
                put.store(1, Ordering::Release);
                their_event.wake(1);
            })
        });
        let (their_event, seen) = (event.clone(), there.clone());
        let sleeper = thread::spawn(move || {
            let look = || (seen.load(Ordering::Acquire) == 1).then_some(());
            their_event.wait_until(Deadline::NEVER, &Pace::default(), look)
        });
        if waker.join().unwrap().is_none() {
            // What it did not come to do, this thread does; for what it did, this thread wakes as a sweeper would.
            if there.load(Ordering::Acquire) == 0 {
                there.store(1, Ordering::Release);
            }
            event.wake_all();
        }
        assert_eq!(sleeper.join().unwrap(), Some(()));
    });
}

#[test]
fn a_sleeper_that_dies_anywhere_takes_no_wake_up_with_it_once_it_is_swept() {
    model_deaths(|steps| {
        let (event, there) = event_and_word();
        let (e, t) = (event.clone(), there.clone());
        let victim = thread::spawn(move || mortal(steps, || wait_and_take(&e, &t)));
        let (e, t) = (event.clone(), there.clone());
        let sleeper = thread::spawn(move || wait_and_take(&e, &t));
        for _ in 0..2 {
            there.fetch_add(1, Ordering::Release);
            event.wake(1);
        }
        if victim.join().unwrap().is_none() {
            event.wake_all();
        }
        sleeper.join().unwrap();
    });
}

#[test]
fn a_producer_that_dies_anywhere_leaves_room_and_its_consumer_awake() {
    model_deaths(|steps| {
        let geometry = Geometry { memory: 64, max_message: 32, ..Geometry::new(1) };
        let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
        let dead = Owner::new(2, 0);
        let ours = Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
        let [theirs, victims] = [Owner::new(1, 0), dead].map(|owner| Channel::attach(&region, 0, &geometry, owner).unwrap());
        let victim = thread::spawn(move || mortal(steps, || victims.push(b"1", Deadline::NEVER).unwrap()));
        let consumer = thread::spawn(move || {
            let mut message = Vec::new();
            theirs.pop(&mut message, Deadline::NEVER).map(|_| message)
        });
        if victim.join().unwrap().is_none() {
            ours.ring().sweep(dead, Finished::default(), Orphans::Drop, || true, |_| ()).unwrap();
            ours.wake_everyone();
            // The only block may be with a message that was put before the death.
            ours.push(b"1", Deadline::NEVER).unwrap();
        }
        assert_eq!(consumer.join().unwrap(), Ok(b"1".to_vec()));
    });
}
