//! The promises about processes, with real processes.

use multiproc_process::{Exit, Process};
use multiproc_queue::{GetError, JoinableQueue, Queue};
use std::time::{Duration, Instant};

/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);

fn put_numbers((q, from, to): (Queue<u64>, u64, u64)) {
    (from..to).for_each(|i| q.put(i).unwrap());
}

#[test]
fn values_cross_to_another_process_in_order() {
    let q = Queue::bounded(8).unwrap();
    let process = Process::spawn(put_numbers, (q.clone(), 0, 10_000)).unwrap();
    for i in 0..10_000 {
        assert_eq!(q.get_timeout(WATCHDOG).unwrap(), i);
    }
    assert_eq!(process.join().unwrap(), Exit::Code(0));
}

fn get_numbers((q, seen): (Queue<u64>, Queue<Vec<u64>>)) {
    let got = std::iter::from_fn(|| q.get().ok()).collect();
    seen.put(got).unwrap();
}

#[test]
fn four_producer_and_four_consumer_processes_lose_nothing_and_double_nothing() {
    const EACH: u64 = 50_000;
    let (q, seen) = (Queue::bounded(64).unwrap(), Queue::unbounded().unwrap());
    let consumers: Vec<_> = (0..4).map(|_| Process::spawn(get_numbers, (q.clone(), seen.clone())).unwrap()).collect();
    let spans = (0..4).map(|p| (p * EACH, (p + 1) * EACH));
    let producers: Vec<_> = spans.map(|(from, to)| Process::spawn(put_numbers, (q.clone(), from, to)).unwrap()).collect();
    for process in producers {
        assert!(process.join().unwrap().success());
    }
    q.shutdown();
    let mut all = Vec::new();
    for _ in 0..4 {
        let got = seen.get_timeout(WATCHDOG).unwrap();
        let mut last = [None; 4];
        for &i in &got {
            let producer = (i / EACH) as usize;
            assert!(last[producer] < Some(i), "the order of producer {producer} is broken");
            last[producer] = Some(i);
        }
        all.extend(got);
    }
    consumers.iter().for_each(|process| assert!(process.join().unwrap().success()));
    all.sort_unstable();
    assert_eq!(all, (0..4 * EACH).collect::<Vec<_>>());
}

fn fill_and_wait((q, ready): (Queue<Vec<u8>>, Queue<()>)) {
    (0..3000u32).for_each(|i| q.put(vec![i as u8; 500]).unwrap());
    ready.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

fn fill_and_exit(q: Queue<Vec<u8>>) {
    (0..3000u32).for_each(|i| q.put(vec![i as u8; 500]).unwrap());
    std::process::exit(7);
}

fn assert_all_there(q: &Queue<Vec<u8>>) {
    assert_eq!(q.len(), 3000);
    for i in 0..3000u32 {
        assert_eq!(q.get_timeout(WATCHDOG).unwrap()[0], i as u8);
    }
}

#[test]
fn what_was_put_is_there_although_the_putter_was_killed() {
    let (q, ready) = (Queue::unbounded().unwrap(), Queue::bounded(1).unwrap());
    let process = Process::spawn(fill_and_wait, (q.clone(), ready.clone())).unwrap();
    ready.get_timeout(WATCHDOG).unwrap();
    process.kill().unwrap();
    assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Signal(9)));
    assert_all_there(&q);
}

#[test]
fn what_was_put_is_there_although_the_putter_exited_in_the_middle() {
    let q = Queue::unbounded().unwrap();
    let process = Process::spawn(fill_and_exit, q.clone()).unwrap();
    assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(7)));
    assert_all_there(&q);
}

fn take_and_wait((q, ready): (Queue<u64>, Queue<()>)) {
    // The message stays in hand: it is read in place, so its block stays taken.
    let _message = q.borrow().unwrap();
    ready.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_killed_consumer_had_in_hand_is_counted_as_lost_and_nothing_else_is() {
    let (q, ready) = (Queue::<u64>::bounded(4).unwrap(), Queue::bounded(1).unwrap());
    let send = |value| {
        // Too long for a slot.
        let loan = q.loan(2).unwrap();
        assert!(loan.set(0, value));
        loan.send().unwrap();
    };
    send(1);
    send(2);
    let process = Process::spawn(take_and_wait, (q.clone(), ready.clone())).unwrap();
    ready.get_timeout(WATCHDOG).unwrap();
    process.kill().unwrap();
    assert_eq!(process.join().unwrap(), Exit::Signal(9));
    assert_eq!(q.borrow().unwrap().get(0), Some(2));
    // A blocked get looks for the dead, and finds them.
    assert!(matches!(q.borrow_timeout(Duration::from_millis(300)), Err(GetError::Timeout)));
    assert_eq!(q.lost(), 1);
}

fn work_until_killed((q, got): (JoinableQueue<u64>, Queue<u64>)) {
    let first = q.get().unwrap();
    q.task_done().unwrap();
    let second = q.get().unwrap();
    got.put(first).unwrap();
    got.put(second).unwrap();
    loop {
        std::thread::park();
    }
}

fn work((q, got): (JoinableQueue<u64>, Queue<u64>)) {
    while let Ok(value) = q.get() {
        got.put(value).unwrap();
        q.task_done().unwrap();
    }
}

#[test]
fn what_a_killed_worker_had_in_hand_is_delivered_again_first_and_join_ends() {
    let q = JoinableQueue::unbounded().unwrap();
    let got = Queue::unbounded().unwrap();
    q.put_many(0..10).unwrap();
    let victim = Process::spawn(work_until_killed, (q.clone(), got.clone())).unwrap();
    assert_eq!((got.get_timeout(WATCHDOG).unwrap(), got.get_timeout(WATCHDOG).unwrap()), (0, 1));
    victim.kill().unwrap();
    victim.join().unwrap();
    assert_eq!(q.unfinished(), 9);
    // `join` notices the death although no other process waits, and the worker gets the value that came back.
    let dead_since = Instant::now();
    assert!(q.join_timeout(Duration::from_millis(300)).is_err());
    let worker = Process::spawn(work, (q.clone(), got.clone())).unwrap();
    q.join().unwrap();
    assert!(dead_since.elapsed() < WATCHDOG);
    q.shutdown();
    assert!(worker.join().unwrap().success());
    let order: Vec<u64> = std::iter::from_fn(|| got.try_get().ok()).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_sleeping_worker_gets_what_a_dead_one_had_within_100_ms() {
    let q = JoinableQueue::unbounded().unwrap();
    let (got, rest) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    q.put_many(0..2).unwrap();
    let victim = Process::spawn(work_until_killed, (q.clone(), got.clone())).unwrap();
    got.get_timeout(WATCHDOG).unwrap();
    got.get_timeout(WATCHDOG).unwrap();
    let sleeper = Process::builder().daemon(true).spawn(work, (q.clone(), rest.clone())).unwrap();
    victim.kill().unwrap();
    let killed = Instant::now();
    assert_eq!(rest.get_timeout(WATCHDOG).unwrap(), 1);
    let took = killed.elapsed();
    q.join().unwrap();
    sleeper.kill().unwrap();
    sleeper.join().unwrap();
    // Twice the promise, for a machine that is busy with other tests.
    assert!(took < Duration::from_millis(200), "{took:?}");
}

fn choke(q: JoinableQueue<u64>) {
    let _ = q.get();
    std::process::abort();
}

#[test]
fn a_value_that_kills_every_worker_is_put_aside_and_join_ends() {
    let q = JoinableQueue::builder().max_deliveries(3).build().unwrap();
    q.put(13).unwrap();
    for round in 0..3 {
        assert_eq!((q.dead_len(), q.unfinished()), (0, 1), "after {round} workers");
        assert_eq!(Process::spawn(choke, q.clone()).unwrap().join().unwrap(), Exit::Signal(6));
        // This operation looks for the dead on its way.
        let _ = q.join_timeout(Duration::from_millis(100));
    }
    q.join().unwrap();
    assert_eq!(q.dead_len(), 1);
    let letter = q.try_get_dead().unwrap();
    assert_eq!((*letter, letter.count()), (13, 3));
    drop(letter);
    assert!(matches!(q.try_get_dead(), Err(GetError::Empty)));
    assert!(matches!(q.try_get(), Err(GetError::Empty)));
    q.put(1).unwrap();
    assert_eq!(q.unfinished(), 1);
}

fn put_one(q: Queue<u64>) {
    q.put(1).unwrap();
}

#[test]
fn places_of_those_who_left_or_died_are_used_again() {
    let q = Queue::builder().bounded(8).participants(3).build().unwrap();
    for _ in 0..20 {
        let process = Process::spawn(put_one, q.clone()).unwrap();
        assert!(process.join().unwrap().success());
        assert_eq!(q.get().unwrap(), 1);
    }
}

#[test]
fn a_stopped_process_is_not_taken_for_dead() {
    let q = JoinableQueue::unbounded().unwrap();
    let got = Queue::unbounded().unwrap();
    q.put_many(0..2).unwrap();
    let process = Process::spawn(work_until_killed, (q.clone(), got.clone())).unwrap();
    got.get_timeout(WATCHDOG).unwrap();
    got.get_timeout(WATCHDOG).unwrap();
    let pid = process.pid().to_string();
    let signal = |name: &str| assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    signal("-STOP");
    assert!(matches!(q.get_timeout(Duration::from_millis(400)), Err(GetError::Timeout)));
    signal("-CONT");
    process.kill().unwrap();
    assert_eq!(q.get_timeout(WATCHDOG).unwrap(), 1);
}
