//! Values that know how often they were delivered, and what becomes of them.

use multiproc_process::{Exit, Process};
use multiproc_queue::{GetError, JoinableQueue, PutError, Queue};
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn a_delivery_that_is_done_is_done() {
    let q = JoinableQueue::bounded(4).unwrap();
    q.put_many([1, 2]).unwrap();
    let first = q.get_delivery().unwrap();
    assert_eq!((*first, first.count(), q.unfinished()), (1, 1, 2));
    assert_eq!(first.done(), 1);
    assert_eq!(q.unfinished(), 1);
    assert_eq!(q.try_get_delivery().unwrap().done(), 2);
    q.join().unwrap();
    assert!(matches!(q.try_get_delivery(), Err(GetError::Empty)));
    assert!(matches!(q.get_delivery_timeout(Duration::from_millis(1)), Err(GetError::Timeout)));
    assert!(q.task_done().is_err(), "a delivery is not task_done's to finish");
}

#[test]
fn a_delivery_that_is_dropped_comes_back_first_with_a_raised_count() {
    let q = JoinableQueue::bounded(4).unwrap();
    q.put_many([1, 2]).unwrap();
    drop(q.get_delivery().unwrap());
    let panicked = std::thread::scope(|scope| {
        let work = || {
            let delivery = q.get_delivery().unwrap();
            panic!("while at work on {}", *delivery);
        };
        scope.spawn(work).join().is_err()
    });
    assert!(panicked);
    let again = q.get_delivery().unwrap();
    assert_eq!((*again, again.count(), q.unfinished()), (1, 3, 2));
    again.give_back();
    assert_eq!((q.get().unwrap(), q.get().unwrap()), (1, 2));
    assert!(q.try_get().is_err());
}

#[test]
fn what_is_given_back_wakes_a_sleeping_consumer() {
    let q = JoinableQueue::bounded(4).unwrap();
    q.put(1).unwrap();
    let delivery = q.get_delivery().unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| q.get_delivery_timeout(WATCHDOG).unwrap().done());
        delivery.give_back();
        assert_eq!(other.join().unwrap(), 1);
    });
    q.join().unwrap();
}

fn get_and_die(q: JoinableQueue<u32>) {
    q.get().unwrap();
    std::process::abort();
}

#[test]
fn a_supervisor_that_only_asks_for_dead_letters_or_counts_finds_what_a_dead_worker_left() {
    type Ask = fn(&JoinableQueue<u32>) -> bool;
    let asks: [(u16, Ask); 5] = [
        (1, |q| q.try_get_dead().is_ok()),
        (1, |q| q.dead_len() == 1),
        (1, |q| q.unfinished() == 0),
        (2, |q| q.len() == 1),
        (2, |q| !q.is_empty()),
    ];
    for (max_deliveries, ask) in asks {
        let q = JoinableQueue::builder().bounded(4).max_deliveries(max_deliveries).build().unwrap();
        q.put(13).unwrap();
        let worker = Process::spawn(get_and_die, q.clone()).unwrap();
        worker.join().unwrap();
        let end = Instant::now() + WATCHDOG;
        while !ask(&q) {
            assert!(Instant::now() < end, "nobody looked for the dead");
            std::thread::yield_now();
        }
    }
}

#[test]
fn given_back_too_often_is_put_aside_and_can_be_put_back() {
    let q = JoinableQueue::builder().bounded(1).max_deliveries(2).build().unwrap();
    q.put(13).unwrap();
    q.get_delivery().unwrap().give_back();
    q.get_delivery().unwrap().give_back();
    assert!(q.try_get().is_err());
    // `join` counts it as done.
    q.join().unwrap();
    assert_eq!(q.dead_len(), 1);
    q.put(14).unwrap();
    let letter = q.try_get_dead().unwrap();
    assert_eq!((*letter, letter.count(), q.dead_len()), (13, 2, 0));
    // The queue is full, so it waits.
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| letter.put_back().is_ok());
        assert_eq!(q.get_delivery().unwrap().done(), 14);
        assert!(putter.join().unwrap());
    });
    assert_eq!(q.unfinished(), 1);
    let fresh = q.get_delivery().unwrap();
    assert_eq!((*fresh, fresh.count()), (13, 1));
    fresh.give_back();
    drop(q.get_delivery().unwrap());
    assert_eq!(q.try_get_dead().unwrap().into_inner(), 13);
    assert!(matches!(q.try_get_dead(), Err(GetError::Empty)));
    q.join().unwrap();
}

#[test]
fn a_letter_that_cannot_be_put_back_is_still_a_letter() {
    let q = JoinableQueue::builder().bounded(1).max_deliveries(1).build().unwrap();
    q.put("dead".to_string()).unwrap();
    drop(q.get_delivery().unwrap());
    q.shutdown();
    let error = q.try_get_dead().unwrap().put_back().unwrap_err();
    assert!(matches!(error, PutError::ShutDown(_)));
    assert_eq!(error.into_inner().into_inner(), "dead");
}

fn hold_letter((q, ready): (JoinableQueue<u64>, Queue<u64>)) {
    let letter = q.try_get_dead().unwrap();
    ready.put(*letter).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_letter_outlives_its_reader() {
    let q = JoinableQueue::builder().max_deliveries(1).build().unwrap();
    let ready = Queue::bounded(1).unwrap();
    q.put(13).unwrap();
    drop(q.get_delivery().unwrap());
    let reader = Process::spawn(hold_letter, (q.clone(), ready.clone())).unwrap();
    assert_eq!(ready.get_timeout(WATCHDOG).unwrap(), 13);
    assert_eq!(q.dead_len(), 0);
    reader.kill().unwrap();
    assert_eq!(reader.join().unwrap(), Exit::Signal(9));
    // This get looks for the dead meanwhile.
    assert!(matches!(q.get_timeout(Duration::from_millis(100)), Err(GetError::Timeout)));
    assert_eq!(q.dead_len(), 1);
    let letter = q.try_get_dead().unwrap();
    assert_eq!((*letter, letter.count()), (13, 1));
    q.join().unwrap();
}
