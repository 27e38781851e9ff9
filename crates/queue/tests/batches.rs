//! What batches promise: each value is put or got on its own, in order, and a batch that stops says where.

use multiproc_process::Process;
use multiproc_queue::{GetError, JoinableQueue, PutError, Queue};
use serde::{Deserialize, Serialize, Serializer};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);
/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn a_batch_fills_a_bounded_queue_exactly_and_gives_back_the_rest() {
    let q = Queue::bounded(40).unwrap();
    for first in [0u64, 1000, 2000] {
        let error = q.try_put_many(first..first + 100).unwrap_err();
        assert_eq!((error.put, q.len()), (40, 40));
        assert!(matches!(error.error, PutError::Full(value) if value == first + 40));
        assert_eq!(error.rest, first + 41..first + 100);
        // Three places free again, and the batch after that has three values.
        assert_eq!(q.get_many(3).unwrap(), [first, first + 1, first + 2]);
        assert_eq!(q.try_put_many(first + 200..first + 300).unwrap_err().put, 3);
        let expected: Vec<u64> = (first + 3..first + 40).chain(first + 200..first + 203).collect();
        assert_eq!(q.get_many(1000).unwrap(), expected);
    }
}

#[test]
fn a_batch_that_runs_out_of_time_says_how_many_went() {
    let q = Queue::bounded(20).unwrap();
    let start = Instant::now();
    let error = q.put_many_timeout(0u64.., SHORT).unwrap_err();
    assert!(start.elapsed() >= SHORT && start.elapsed() < WATCHDOG);
    assert_eq!((error.put, error.rest.start), (20, 21));
    assert!(matches!(error.error, PutError::Timeout(20)));
    assert_eq!(q.get_many(100).unwrap(), (0..20).collect::<Vec<_>>());
}

/// A number that can't be encoded from 16 on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
struct Low(u64);

impl Serialize for Low {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 < 16 { serializer.serialize_newtype_struct("Low", &self.0) } else { Err(serde::ser::Error::custom("too high")) }
    }
}

#[test]
fn a_batch_stops_at_the_value_that_cannot_be_encoded() {
    let q = Queue::bounded(100).unwrap();
    let error = q.put_many((0..30).map(Low)).unwrap_err();
    assert_eq!((error.put, q.len()), (16, 16));
    assert!(matches!(error.error, PutError::Encode { value: Low(16), .. }));
    assert_eq!(error.rest.map(|low| low.0).collect::<Vec<_>>(), (17..30).collect::<Vec<_>>());
    assert_eq!(q.get_many(100).unwrap(), (0..16).map(Low).collect::<Vec<_>>());
}

#[test]
fn a_batch_stops_where_its_handle_is_closed_or_the_queue_shut_down() {
    let q = Queue::bounded(100).unwrap();
    let closing = q.clone();
    let error = closing
        .put_many((0u64..30).inspect(|&value| {
            if value == 5 {
                closing.close()
            }
        }))
        .unwrap_err();
    assert_eq!((error.put, error.rest.count()), (5, 24));
    assert!(matches!(error.error, PutError::Closed(5)));
    let error = q
        .put_many((0u64..30).inspect(|&value| {
            if value == 7 {
                q.shutdown()
            }
        }))
        .unwrap_err();
    assert_eq!((error.put, error.rest.count()), (7, 22));
    assert!(matches!(error.error, PutError::ShutDown(7)));
    assert_eq!(q.get_many(100).unwrap(), (0..5).chain(0..7).collect::<Vec<_>>());
    assert!(matches!(q.get_many(100).unwrap_err().error, GetError::ShutDown));
}

#[test]
fn each_value_of_a_batch_is_there_before_the_next_one_is_asked_for() {
    let q = Queue::bounded(4).unwrap();
    let got = std::cell::RefCell::new(Vec::new());
    q.put_many((0u64..1000).inspect(|&value| {
        if value > 0 {
            got.borrow_mut().push(q.try_get().unwrap())
        }
    }))
    .unwrap();
    assert_eq!(got.into_inner(), (0..999).collect::<Vec<_>>());
    assert_eq!(q.get_many(10).unwrap(), [999]);
}

#[test]
fn a_consumer_that_sleeps_gets_the_first_value_of_a_batch_that_goes_on() {
    let q = Queue::bounded(100).unwrap();
    let consumer = q.clone();
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || (0..3).for_each(|_| tell.send(consumer.get_many(1).unwrap()).unwrap()));
    let mut seen = Vec::new();
    // The iterator waits until the consumer has the value before.
    let values = (0u64..3).inspect(|&value| {
        if value > 0 {
            seen.extend(told.recv_timeout(WATCHDOG).unwrap())
        }
    });
    q.put_many(values).unwrap();
    thread.join().unwrap();
    assert_eq!(seen, [0, 1]);
}

#[test]
fn a_batch_of_short_and_long_values_keeps_its_order() {
    let value = |i: usize| if i % 3 == 0 { "x".repeat(i) } else { (i % 10).to_string() };
    let q = Queue::bounded(50).unwrap();
    for round in 0..20 {
        let values: Vec<String> = (round..round + 50).map(value).collect();
        q.put_many(values.clone()).unwrap();
        assert_eq!(q.get_many(30).unwrap(), values[..30]);
        assert_eq!(q.get_many(50).unwrap(), values[30..]);
    }
}

#[test]
fn a_batch_makes_an_unbounded_queue_grow_and_is_got_in_order() {
    let q = Queue::unbounded().unwrap();
    for _ in 0..3 {
        assert_eq!(q.put_many(0u64..20_000).unwrap(), 20_000);
        let mut got = Vec::new();
        while got.len() < 20_000 {
            got.extend(q.get_many(777).unwrap());
        }
        assert_eq!(got, (0..20_000).collect::<Vec<_>>());
        assert!(q.is_empty());
    }
}

#[test]
fn a_batch_from_a_joinable_queue_is_in_hand_until_each_value_is_done() {
    let q = JoinableQueue::unbounded().unwrap();
    q.put_many(0u64..200).unwrap();
    assert_eq!(q.get_many(150).unwrap(), (0..150).collect::<Vec<_>>());
    (0..150).for_each(|_| q.task_done().unwrap());
    assert_eq!(q.unfinished(), 50);
}

const EACH: u64 = 50_000;

fn put_batches((q, from): (Queue<u64>, u64)) {
    let mut next = from;
    while next < from + EACH {
        let batch = (1 + next % 97).min(from + EACH - next);
        assert_eq!(q.put_many(next..next + batch).unwrap() as u64, batch);
        next += batch;
    }
}

fn get_batches((q, seen): (Queue<u64>, Queue<Vec<u64>>)) {
    let mut got = Vec::new();
    while let Ok(batch) = q.get_many(1 + got.len() % 50) {
        got.extend(batch);
    }
    seen.put(got).unwrap();
}

#[test]
fn processes_that_put_and_get_batches_lose_nothing_double_nothing_and_keep_the_order() {
    let (q, seen) = (Queue::bounded(64).unwrap(), Queue::unbounded().unwrap());
    let consumers: Vec<_> = (0..2).map(|_| Process::spawn(get_batches, (q.clone(), seen.clone())).unwrap()).collect();
    let producers: Vec<_> = (0..2).map(|p| Process::spawn(put_batches, (q.clone(), p * EACH)).unwrap()).collect();
    producers.iter().for_each(|process| assert!(process.join().unwrap().success()));
    q.shutdown();
    let mut all = Vec::new();
    for _ in 0..2 {
        let got: Vec<u64> = seen.get_timeout(WATCHDOG).unwrap();
        for p in 0..2 {
            let of_one = got.iter().filter(|&&value| value / EACH == p);
            assert!(of_one.is_sorted(), "the order of producer {p} is broken");
        }
        all.extend(got);
    }
    consumers.iter().for_each(|process| assert!(process.join().unwrap().success()));
    all.sort_unstable();
    assert_eq!(all, (0..2 * EACH).collect::<Vec<_>>());
}
