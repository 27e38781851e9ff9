//! Who has which value of a `JoinableQueue` in hand, and what a dead letter died of.

use multiproc_process::Process;
use multiproc_queue::{GetError, Holder, JoinableQueue, Queue, Unfinished};
use multiproc_travel::pass;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);
/// A tick of the clock, and some more.
const TICK: Duration = Duration::from_millis(30);

type Handles = (JoinableQueue<u64>, Queue<u64>);

/// Gets values, reports each, and keeps them all.
fn hold((jobs, got): Handles) {
    while let Ok(value) = jobs.get() {
        got.put(value).unwrap();
    }
}

fn start((jobs, got): &Handles) -> Process {
    Process::builder().daemon(true).spawn(hold, (jobs.clone(), got.clone())).unwrap()
}

fn new(max_deliveries: u16) -> Handles {
    (JoinableQueue::builder().max_deliveries(max_deliveries).build().unwrap(), Queue::unbounded().unwrap())
}

fn by(pid: u32) -> impl Fn(&Holder) -> bool {
    move |holder| holder.pid == pid
}

#[test]
fn each_value_in_hand_is_listed_with_its_process_its_deliveries_and_for_how_long() {
    let queues = new(0);
    let (jobs, got) = &queues;
    assert_eq!(jobs.holders(), []);
    jobs.put_many([1, 2, 3]).unwrap();
    let begun = Instant::now();
    let ours = jobs.get_delivery().unwrap();
    let taken = Instant::now();
    let process = start(&queues);
    for value in [2, 3] {
        assert_eq!(got.get_timeout(WATCHDOG).unwrap(), value);
    }
    let listed = Instant::now();
    let holders = jobs.holders();
    assert_eq!(holders.len(), 3);
    let mine = holders.iter().find(|holder| by(std::process::id())(holder)).unwrap();
    assert_eq!((mine.is_alive, mine.deliveries), (true, 1));
    assert!(mine.held_for + TICK >= listed - taken && mine.held_for <= begun.elapsed() + TICK, "{:?}", mine.held_for);
    assert_eq!(holders.iter().filter(|holder| by(process.pid())(holder)).filter(|holder| holder.is_alive).count(), 2);
    // A value that comes back is held anew.
    ours.give_back();
    assert_eq!(got.get_timeout(WATCHDOG).unwrap(), 1);
    let holders = jobs.holders();
    assert!(holders.iter().all(by(process.pid())));
    let again: Vec<_> = holders.iter().filter(|holder| holder.deliveries == 2).collect();
    assert_eq!(again.len(), 1);
    assert!(again[0].held_for <= begun.elapsed() + TICK);
    process.kill().unwrap();
    process.join().unwrap();
    // The dead process is listed until its values are delivered again.
    assert!(jobs.holders().iter().all(|holder| !holder.is_alive));
    for _ in 0..3 {
        jobs.get().unwrap();
    }
    assert!(jobs.holders().iter().all(by(std::process::id())));
    (0..3).for_each(|_| jobs.task_done().unwrap());
    assert_eq!(jobs.holders(), []);
}

#[test]
fn a_dead_letter_names_the_process_that_died_with_it() {
    let queues = new(1);
    let (jobs, got) = &queues;
    jobs.put(7).unwrap();
    let process = start(&queues);
    assert_eq!(got.get_timeout(WATCHDOG).unwrap(), 7);
    process.kill().unwrap();
    process.join().unwrap();
    jobs.join_timeout(WATCHDOG).unwrap();
    assert_eq!(jobs.try_get_dead().unwrap().ended(), Unfinished::Died { pid: process.pid() });
}

#[test]
fn a_dead_letter_tells_that_it_was_given_back_or_could_not_be_read() {
    let (jobs, _) = new(1);
    jobs.put(7).unwrap();
    jobs.get_delivery().unwrap().give_back();
    let letter = jobs.try_get_dead().unwrap();
    assert_eq!(letter.ended(), Unfinished::GivenBack { note: 0 });
    // It is put anew, and what ends it then is told.
    letter.put_back().unwrap();
    std::thread::scope(|scope| scope.spawn(|| jobs.get().unwrap()).join().unwrap());
    assert_eq!(jobs.try_get_dead().unwrap().ended(), Unfinished::GivenBack { note: 0 });
    // No text has these bytes.
    jobs.put(u64::MAX).unwrap();
    let parcel = pass::encode(&jobs).unwrap();
    let of_another_type: JoinableQueue<String> = pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
    assert!(matches!(of_another_type.get(), Err(GetError::Decode(_))));
    assert_eq!(jobs.try_get_dead().unwrap().ended(), Unfinished::Unreadable);
}
