//! What a user of the types relies on: names, iterators, many values at once, time-outs, errors that compare, handles that move.

use multiproc_process::{Exit, Process};
use multiproc_queue::{
    AttachError, Borrowed, Builder, DeadLetter, Delivery, Flaw, GetError, GetManyError, Iter, JoinThreadError, JoinableQueue,
    Loan, OpenError, PutError, PutManyError, Queue, QueueJoinError, RemoveError, SimpleQueue, TaskDoneError, remove_queue,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::error::Error;
use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);
const WATCHDOG: Duration = Duration::from_secs(60);

type Job = String;

assert_impl_all!(Queue<Job>: Send, Sync, Clone, Debug);
assert_impl_all!(JoinableQueue<Job>: Send, Sync, Clone, Debug);
assert_impl_all!(SimpleQueue<Job>: Send, Sync, Clone, Debug);
assert_impl_all!(Builder<Queue<Job>>: Send, Sync, Clone, Debug);
assert_impl_all!(Iter<'static, Job>: Send, Sync, Debug);
assert_impl_all!(Delivery<Job>: Send, Sync, Debug);
assert_impl_all!(DeadLetter<Job>: Send, Sync, Debug);
assert_impl_all!(Loan<'static, u8>: Send, Debug);
assert_impl_all!(Borrowed<'static, u8>: Send, Debug);
assert_impl_all!(OpenError: Error, Send, Sync, PartialEq);
assert_impl_all!(RemoveError: Error, Send, Sync, PartialEq);
assert_impl_all!(PutError<Job>: Error, Send, Sync, PartialEq);
assert_impl_all!(PutManyError<std::vec::IntoIter<Job>>: Error, Send, Sync);
assert_impl_all!(PutManyError<std::ops::Range<u8>>: Error, Send, Sync, PartialEq);
assert_impl_all!(GetError: Error, Send, Sync, PartialEq);
assert_impl_all!(GetManyError<Job>: Error, Send, Sync, PartialEq);
assert_impl_all!(JoinThreadError: Error, Send, Sync, PartialEq);
assert_impl_all!(TaskDoneError: Error, Send, Sync, PartialEq);
assert_impl_all!(QueueJoinError: Error, Send, Sync, PartialEq);
// A clone of what it would give is a queue whose values nobody has to finish.
assert_not_impl_any!(JoinableQueue<Job>: std::ops::Deref, AsRef<Queue<Job>>, std::borrow::Borrow<Queue<Job>>);

fn unique(what: &str) -> String {
    format!("interface-{what}-{}", std::process::id())
}

const ROUNDS: usize = 40;

fn open_or_create_all((name, go): (String, Queue<()>)) {
    go.get().unwrap();
    for round in 0..ROUNDS {
        let q: Queue<u32> = Queue::builder().named(format!("{name}-{round}")).bounded(8).open_or_create().unwrap();
        q.put(std::process::id()).unwrap();
    }
}

#[test]
fn processes_that_open_or_create_a_name_at_once_share_one_queue() {
    let (name, go) = (unique("race"), Queue::unbounded().unwrap());
    let processes = [(); 4].map(|()| Process::spawn(open_or_create_all, (name.clone(), go.clone())).unwrap());
    go.put_many([(); 4]).unwrap();
    let mut expected = processes.each_ref().map(Process::pid);
    expected.sort_unstable();
    for process in &processes {
        assert_eq!(process.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
    }
    for round in 0..ROUNDS {
        let name = format!("{name}-{round}");
        let mut got: Vec<u32> = Queue::open(&name).unwrap().try_iter().collect();
        remove_queue(&name).unwrap();
        got.sort_unstable();
        assert_eq!(got, expected, "round {round}");
    }
}

#[test]
fn open_or_create_refuses_another_capacity_type_or_kind_and_says_which() {
    let name = unique("differs");
    let named = || Queue::<u32>::builder().named(&name);
    let made = named().bounded(3).open_or_create().unwrap();
    made.put(7).unwrap();
    let found = named().bounded(3).memory(1 << 20).open_or_create().unwrap();
    assert_eq!(found.get(), Ok(7));
    let other = named().bounded(4).open_or_create().unwrap_err();
    assert_eq!(other, OpenError::Capacity { queue: name.clone(), found: Some(3), expected: Some(4) });
    let unbounded = named().open_or_create().unwrap_err();
    assert_eq!(unbounded, OpenError::Capacity { queue: name.clone(), found: Some(3), expected: None });
    let refused = Queue::<String>::builder().named(&name).bounded(3).open_or_create().unwrap_err();
    assert!(matches!(refused, OpenError::Attach(AttachError::Refused { flaw: Flaw::MessageType { .. }, .. })));
    let refused = JoinableQueue::<u32>::builder().named(&name).bounded(3).open_or_create().unwrap_err();
    assert!(matches!(refused, OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { .. }, .. })));
    remove_queue(&name).unwrap();
}

#[test]
fn open_or_create_without_a_name_is_an_error() {
    let refused = Queue::<u32>::builder().open_or_create().unwrap_err();
    assert_eq!(refused, OpenError::NoName);
    assert!(refused.to_string().contains("named("), "{refused}");
}

#[test]
fn a_name_is_removed_whatever_its_kind_and_type() {
    let name = unique("remove");
    let made = SimpleQueue::<Job>::builder().named(&name).build().unwrap();
    made.put("job".into()).unwrap();
    assert_eq!(SimpleQueue::<Job>::open(&name).unwrap().get().unwrap(), "job");
    remove_queue(&name).unwrap();
    assert_eq!(remove_queue(&name), Err(RemoveError::NotFound(name)));
    assert!(matches!(remove_queue("../x"), Err(RemoveError::Refused(AttachError::Name(_)))));
}

#[test]
fn a_simple_queue_waits_as_long_as_it_is_told() {
    let q = SimpleQueue::builder().bounded(1).build().unwrap();
    assert_eq!(q.try_get(), Err(GetError::Empty));
    assert_eq!(q.get_timeout(SHORT), Err(GetError::Timeout));
    assert_eq!(q.try_put(1), Ok(()));
    assert_eq!(q.try_put(2), Err(PutError::Full(2)));
    assert_eq!(q.put_timeout(2, SHORT), Err(PutError::Timeout(2)));
    assert_eq!(q.try_get(), Ok(1));
}

#[test]
fn an_iterator_gives_all_values_until_the_shutdown() {
    let q = Queue::bounded(4).unwrap();
    let consumer = {
        let q = q.clone();
        thread::spawn(move || {
            let mut values = q.iter();
            let all: Vec<u32> = values.by_ref().collect();
            assert_eq!(values.next(), None);
            assert_eq!(values.end(), Some(&GetError::ShutDown));
            all
        })
    };
    q.put_many(0..1000).unwrap();
    q.shutdown();
    assert_eq!(consumer.join().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_loop_over_a_joinable_queue_gets_values_that_task_done_finishes() {
    let q = JoinableQueue::unbounded().unwrap();
    q.put_many([1, 2, 3]).unwrap();
    q.shutdown();
    let mut sum = 0;
    for value in &q {
        sum += value;
        q.task_done().unwrap();
    }
    assert_eq!(sum, 6);
    q.join().unwrap();
}

#[test]
fn try_iter_gives_what_is_there_and_does_not_wait() {
    let q = Queue::bounded(4).unwrap();
    q.put_many([1, 2]).unwrap();
    let mut values = q.try_iter();
    assert_eq!(values.by_ref().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(values.end(), Some(&GetError::Empty));
    // It has ended, although there is a value again.
    q.put(3).unwrap();
    assert_eq!((values.next(), q.try_iter().collect::<Vec<_>>()), (None, vec![3]));
}

#[test]
fn a_message_that_cannot_be_read_ends_an_iterator_and_the_next_one_goes_on() {
    let q = Queue::<u64>::bounded(4).unwrap();
    q.put(1).unwrap();
    assert!(q.loan(1).unwrap().send().is_ok());
    q.put(2).unwrap();
    let mut values = q.try_iter();
    assert_eq!(values.by_ref().collect::<Vec<_>>(), [1]);
    assert!(matches!(values.end(), Some(GetError::Form { .. })));
    assert_eq!(q.try_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_handle_knows_whether_it_was_closed() {
    let q = JoinableQueue::<u8>::bounded(1).unwrap();
    let other = q.clone();
    assert!(!q.is_closed());
    q.close();
    assert!(q.is_closed() && !other.is_closed() && !q.clone().is_closed());
}

#[test]
fn every_handle_knows_whether_the_queue_was_shut_down() {
    let q = JoinableQueue::bounded(4).unwrap();
    let other = q.clone();
    q.put(1).unwrap();
    assert!(!other.is_shut_down());
    q.shutdown();
    assert!(other.is_shut_down() && !other.is_closed());
    assert_eq!(other.get(), Ok(1));
}

#[test]
fn get_many_waits_for_the_first_value_as_long_as_it_is_told() {
    let q = Queue::bounded(4).unwrap();
    assert_eq!(q.try_get_many(2), Err(GetManyError { values: vec![], error: GetError::Empty }));
    let begin = Instant::now();
    assert_eq!(q.get_many_timeout(2, SHORT), Err(GetManyError { values: vec![], error: GetError::Timeout }));
    assert!(begin.elapsed() >= SHORT);
    q.put_many([1, 2, 3]).unwrap();
    assert_eq!(q.try_get_many(2), Ok(vec![1, 2]));
    let begin = Instant::now();
    assert_eq!(q.get_many_timeout(2, WATCHDOG), Ok(vec![3]));
    assert!(begin.elapsed() < WATCHDOG / 2, "it waited for a second value");
}

#[test]
fn put_many_waits_for_room_as_long_as_it_is_told_and_gives_back_the_rest() {
    let q = Queue::bounded(2).unwrap();
    assert_eq!(q.try_put_many(0..5), Err(PutManyError { put: 2, error: PutError::Full(2), rest: 3..5 }));
    let begin = Instant::now();
    assert_eq!(q.put_many_timeout(2..5, SHORT), Err(PutManyError { put: 0, error: PutError::Timeout(2), rest: 3..5 }));
    assert!(begin.elapsed() >= SHORT);
    assert_eq!(q.get_many(5), Ok(vec![0, 1]));
    assert_eq!(q.put_many_timeout(5..7, WATCHDOG), Ok(2));
}

#[test]
fn a_batch_ends_however_fast_the_other_side_is() {
    let q = Queue::bounded(8).unwrap();
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| while q.put(7_u64).is_ok() {});
        assert!(!q.get_many_timeout(usize::MAX, Duration::from_secs(60)).unwrap().is_empty());
        assert!(!q.get_many(usize::MAX).unwrap().is_empty());
        q.shutdown();
        producer.join().unwrap();
    });
    let q = Queue::bounded(8).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| while q.get().is_ok() {});
        let stopped = q.put_many_timeout(0_u64.., Duration::from_millis(50)).unwrap_err();
        assert!(matches!(stopped.error, PutError::Timeout(value) if value == stopped.put as u64), "{stopped}");
        q.shutdown();
    });
}

#[test]
fn equal_errors_have_the_same_kind_value_and_text() {
    assert_eq!(PutError::Full(1), PutError::Full(1));
    assert_ne!(PutError::Full(1), PutError::Full(2));
    assert_ne!(PutError::Full(1), PutError::Timeout(1));
    assert_ne!(QueueJoinError::Timeout { unfinished: 1 }, QueueJoinError::Timeout { unfinished: 2 });
    let open = |name: &str| Queue::<u8>::open(&unique(name)).unwrap_err();
    assert_eq!(open("absent"), open("absent"));
    assert_ne!(open("absent"), open("missing"));
}

/// The text of an error and of each cause.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn an_error_prints_with_its_cause_and_names_it_as_its_source() {
    // Its text says all of it. Only the system's own answer is apart.
    fn check(error: &(dyn Error + 'static), words: &str) {
        assert_eq!(chain(error), [error.to_string()]);
        assert!(error.to_string().contains(words), "{error}");
    }
    check(&Queue::<u8>::open(&unique("absent")).unwrap_err(), "create it first");
    check(&remove_queue("../x").unwrap_err(), "use 1 to 200 letters");
    let q = Queue::bounded(1).unwrap();
    check(&q.try_get_many(1).unwrap_err(), "the queue is empty");
    check(&q.try_put_many(0..2).unwrap_err(), "the queue is full");
    check(&q.try_put(1).unwrap_err(), "the queue is full");
    let holder = Queue::bounded(1).unwrap();
    check(&holder.put(Queue::<u8>::bounded(1).unwrap()).unwrap_err(), "can't be encoded");
}

#[test]
fn a_delivery_goes_to_another_thread_and_outlives_the_handle() {
    let q = JoinableQueue::unbounded().unwrap();
    q.put("job".to_string()).unwrap();
    let (delivery, other) = (q.get_delivery().unwrap(), q.clone());
    drop(q);
    let finisher = thread::spawn(move || delivery.done());
    assert_eq!(finisher.join().unwrap(), "job");
    other.join().unwrap();
}

#[test]
fn a_dead_letter_goes_to_another_thread_and_back_into_the_queue() {
    let q = JoinableQueue::builder().max_deliveries(1).build().unwrap();
    q.put("job".to_string()).unwrap();
    drop(q.get_delivery().unwrap());
    let letter = q.try_get_dead().unwrap();
    thread::spawn(move || letter.put_back().unwrap()).join().unwrap();
    assert_eq!(q.get_delivery().unwrap().done(), "job");
}

#[test]
fn a_dead_letter_waits_for_room_as_long_as_it_is_told() {
    let q = JoinableQueue::builder().bounded(1).max_deliveries(1).build().unwrap();
    q.put(1).unwrap();
    drop(q.get_delivery().unwrap());
    q.put(2).unwrap();
    let full = q.try_get_dead().unwrap().try_put_back().unwrap_err();
    assert!(matches!(full, PutError::Full(_)));
    let full = full.into_inner().put_back_timeout(SHORT).unwrap_err();
    assert!(matches!(full, PutError::Timeout(_)));
    assert_eq!(q.get_delivery().unwrap().done(), 2);
    full.into_inner().try_put_back().unwrap();
    let again = q.get_delivery().unwrap();
    assert_eq!((*again, again.count()), (1, 1));
}

#[test]
fn a_message_in_place_is_written_and_read_by_other_threads() {
    let q = JoinableQueue::<u32>::bounded(1).unwrap();
    let loan = q.loan(100).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            assert!(loan.set(99, 7));
            loan.send().unwrap();
        });
        let message = q.borrow_timeout(WATCHDOG).unwrap();
        scope.spawn(|| {
            assert_eq!(message.get(99), Some(7));
            drop(message);
            // It is in hand of the thread that dropped it.
            q.task_done().unwrap();
        });
    });
    q.join().unwrap();
}

#[test]
fn a_handle_shows_its_kind_and_numbers() {
    let q = JoinableQueue::bounded(3).unwrap();
    q.put_many([1, 2]).unwrap();
    let shown = format!("{q:?}");
    assert!(shown.starts_with("JoinableQueue {") && shown.contains("len: 2, capacity: Some(3), unfinished: 2"), "{shown}");
    assert!(format!("{:?}", SimpleQueue::<u8>::new().unwrap()).starts_with("SimpleQueue {"));
}
