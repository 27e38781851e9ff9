//! Lost wake-ups: in every interleaving, a waiter for something that happens goes on. The model's futex has no
//! time-outs, so a sleeper that nobody wakes is a deadlock that loom reports.
//!
//! Without loom each model runs once, for real.

use multiproc_prim::model::{Arc, model, thread};
use multiproc_prim::{AtomicU32, Deadline, Heap, Ordering, Place, Region};
use multiproc_ring::mpmc::{Geometry, Lane, Owner};
use multiproc_sync::{
    BusyEvent, Channel, ChannelPopError, EventCount, Pace, StreamReceiver, StreamRecvError, StreamSender, channel_len, stream_len,
};

/// Takes one of what the flag counts. Fails only if there is none.
fn take_one(flag: &AtomicU32) -> Option<()> {
    let mut left = flag.load(Ordering::Acquire);
    while left > 0 {
        match flag.compare_exchange(left, left - 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(()),
            Err(other) => left = other,
        }
    }
    None
}

#[test]
fn one_sleeper_is_never_missed() {
    model(|| {
        let region = Region::new(Heap::new(4096));
        let event = region.place::<EventCount>(0).unwrap();
        let flag = region.place::<AtomicU32>(64).unwrap();
        event.make_fresh();
        flag.make_fresh();
        let (their_event, their_flag) = (event.clone(), flag.clone());
        let waker = thread::spawn(move || {
            their_flag.store(1, Ordering::Release);
            their_event.wake(1);
        });
        let got = event.wait_until(Deadline::NEVER, &Pace::default(), || take_one(&flag));
        assert_eq!(got, Some(()));
        waker.join().unwrap();
    });
}

#[test]
fn of_two_that_do_a_part_each_at_least_one_wakes_whoever_waits_for_both() {
    model(|| {
        let region = Region::new(Heap::new(4096));
        let event = region.place::<BusyEvent>(0).unwrap();
        event.make_fresh();
        let parts = [64, 128].map(|at| {
            let part = region.place::<AtomicU32>(at).unwrap();
            part.make_fresh();
            part
        });
        let both = |parts: &[Place<AtomicU32>; 2]| parts.iter().all(|part| part.load(Ordering::Acquire) == 1);
        let workers = [0, 1].map(|mine| {
            let (event, parts) = (event.clone(), parts.clone());
            thread::spawn(move || {
                parts[mine].store(1, Ordering::Release);
                event.wake_all_if(|| both(&parts));
            })
        });
        event.wait_until(Deadline::NEVER, &Pace::default(), || both(&parts).then_some(())).unwrap();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

#[test]
fn two_sleepers_for_two_wakes_both_go_on() {
    model(|| {
        let region = Region::new(Heap::new(4096));
        let event = region.place::<EventCount>(0).unwrap();
        let flag = region.place::<AtomicU32>(64).unwrap();
        event.make_fresh();
        flag.make_fresh();
        let sleeper = {
            let (event, flag) = (event.clone(), flag.clone());
            thread::spawn(move || event.wait_until(Deadline::NEVER, &Pace::default(), || take_one(&flag)))
        };
        let waker = {
            let (event, flag) = (event.clone(), flag.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    flag.fetch_add(1, Ordering::Release);
                    event.wake(1);
                }
            })
        };
        event.wait_until(Deadline::NEVER, &Pace::default(), || take_one(&flag)).unwrap();
        sleeper.join().unwrap().unwrap();
        waker.join().unwrap();
    });
}

fn channels(slots: u32, blocks: u64) -> (Channel, Arc<Channel>) {
    let geometry = Geometry { memory: 64 * blocks, max_message: 32, ..Geometry::new(slots) };
    let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
    let ours = Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    (ours, Arc::new(Channel::attach(&region, 0, &geometry, Owner::new(1, 0)).unwrap()))
}

fn pop(channel: &Channel) -> Result<Vec<u8>, ChannelPopError> {
    let mut message = Vec::new();
    channel.pop(&mut message, Deadline::NEVER).map(|_| message)
}

#[test]
fn a_full_channel_and_an_empty_one_wake_their_sleepers() {
    model(|| {
        // One slot and one block: the second put waits for the first get, for memory as for the slot.
        let (ours, theirs) = channels(1, 1);
        let consumer = thread::spawn(move || [pop(&theirs), pop(&theirs)]);
        ours.push(b"1", Deadline::NEVER).unwrap();
        ours.push(b"2", Deadline::NEVER).unwrap();
        assert_eq!(consumer.join().unwrap(), [Ok(b"1".to_vec()), Ok(b"2".to_vec())]);
    });
}

#[test]
fn shutting_down_wakes_a_sleeping_consumer() {
    model(|| {
        let (ours, theirs) = channels(1, 1);
        let consumer = thread::spawn(move || pop(&theirs));
        ours.shut_down();
        assert_eq!(consumer.join().unwrap(), Err(ChannelPopError::ShutDown));
    });
}

#[test]
fn whoever_sees_a_shutdown_sees_what_came_before_it() {
    model(|| {
        let region = Region::new(Heap::new(4096));
        let (ours, theirs) = channels(1, 1);
        assert!(region.bytes(0, 8).unwrap().write(&[0; 8]));
        let there = region.clone();
        let other = thread::spawn(move || {
            assert!(there.bytes(0, 8).unwrap().write(&[1; 8]));
            theirs.shut_down();
        });
        if ours.is_shut_down() {
            let mut seen = [0; 8];
            assert!(region.bytes(0, 8).unwrap().read(&mut seen));
            assert_eq!(seen, [1; 8]);
        }
        other.join().unwrap();
    });
}

#[test]
fn a_put_beside_a_shutdown_is_refused_or_delivered() {
    model(|| {
        let (ours, theirs) = channels(1, 1);
        let producer = thread::spawn(move || theirs.push(b"1", Deadline::after(std::time::Duration::ZERO)));
        ours.shut_down();
        let got = pop(&ours);
        assert_eq!(got.is_ok(), producer.join().unwrap().is_ok());
    });
}

#[test]
fn a_stream_wakes_its_reader_for_records_and_for_the_end() {
    model(|| {
        let region = Region::new(Heap::new(stream_len(64).unwrap()));
        let mut sender = StreamSender::create(&region, 0, 64).unwrap();
        let mut receiver = StreamReceiver::attach(&region, 0, 64).unwrap();
        let writer = thread::spawn(move || {
            sender.send(7, b"x", Deadline::NEVER).unwrap();
            sender.close();
        });
        let record = receiver.recv(Deadline::NEVER).unwrap();
        assert_eq!(record.tag, 7);
        record.release();
        assert_eq!(receiver.recv(Deadline::NEVER).unwrap_err(), StreamRecvError::Closed);
        writer.join().unwrap();
    });
}

/// A putter that waits, while this thread does what wakes it.
fn woken_by(slots: u32, blocks: u64, wake: fn(&Channel)) {
    let geometry = Geometry { small_in_slots: false, memory: blocks * 64, max_message: 32, ..Geometry::new(slots) };
    model(move || {
        let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
        let ours = Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
        let theirs = Channel::attach(&region, 0, &geometry, Owner::new(1, 0)).unwrap();
        ours.push(b"first", Deadline::NOW).unwrap();
        let putter = thread::spawn(move || theirs.push(b"later", Deadline::NEVER).unwrap());
        wake(&ours);
        putter.join().unwrap();
    });
}

#[test]
fn a_putter_that_waits_for_a_slot_is_woken_by_a_get_whose_message_stays_in_hand() {
    woken_by(1, 2, |channel| {
        let block = channel.pop_block(&[Lane::Main], Deadline::NEVER).unwrap();
        std::mem::forget(block);
    });
}

#[test]
fn a_putter_that_waits_for_memory_is_woken_when_a_message_is_let_go() {
    woken_by(2, 1, |channel| {
        let block = channel.pop_block(&[Lane::Main], Deadline::NEVER).unwrap();
        drop(block);
    });
}

#[test]
fn a_put_that_was_refused_for_memory_finds_what_was_let_go_before_the_next_one() {
    model(|| {
        let geometry = Geometry { small_in_slots: false, memory: 2 * 64, max_message: 32, ..Geometry::new(2) };
        let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
        let ours = Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
        let theirs = Arc::new(Channel::attach(&region, 0, &geometry, Owner::new(1, 0)).unwrap());
        let flags = Region::new(Heap::new(4096)).array::<AtomicU32>(0, 2).unwrap();
        flags.make_fresh();
        let consumers = [0, 1].map(|number| {
            ours.push(b"first", Deadline::NOW).unwrap();
            let held = theirs.pop_block(&[Lane::Main], Deadline::NOW).unwrap().hold().unwrap();
            (number, held)
        });
        let consumers = consumers.map(|(number, held)| {
            let (theirs, flags) = (Arc::clone(&theirs), flags.clone());
            thread::spawn(move || {
                drop(theirs.resume(held).unwrap());
                flags.get(number).unwrap().store(1, Ordering::Release);
            })
        });
        let put = u32::from(ours.push(b"later", Deadline::NOW).is_ok());
        let let_go = flags.iter().map(|flag| flag.load(Ordering::Acquire)).sum();
        for _ in put..let_go {
            ours.push(b"later", Deadline::NOW).unwrap();
        }
        for consumer in consumers {
            consumer.join().unwrap();
        }
    });
}
