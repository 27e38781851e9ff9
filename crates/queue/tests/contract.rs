//! Each promise of the queues, once, within one process.

use multiproc_queue::{
    GetError, JoinThreadError, JoinableQueue, OpenError, PutError, Queue, QueueJoinError, RemoveError, SimpleQueue, TaskDoneError,
};
use multiproc_shm::{AttachError, CreateError, Flaw};
use serde::{Deserialize, Serialize, Serializer};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(60);

#[test]
fn a_bounded_queue_is_full_exactly_at_its_capacity() {
    let q = Queue::bounded(3).unwrap();
    assert!(q.is_empty() && !q.is_full() && q.capacity() == Some(3));
    for i in 0..3 {
        assert!(!q.is_full());
        q.put(i).unwrap();
        assert!(!q.is_empty() && q.len() == i as usize + 1);
    }
    assert!(q.is_full());
    assert!(matches!(q.try_put(3), Err(PutError::Full(3))));
    let begin = Instant::now();
    assert!(matches!(q.put_timeout(3, SHORT), Err(PutError::Timeout(3))));
    assert!(begin.elapsed() >= SHORT);
    assert_eq!((q.get().unwrap(), q.get().unwrap(), q.get().unwrap()), (0, 1, 2));
    assert!(matches!(q.try_get(), Err(GetError::Empty)));
    assert!(matches!(q.get_timeout(SHORT), Err(GetError::Timeout)));
}

#[test]
fn a_blocked_put_and_a_blocked_get_go_on_when_they_can() {
    let q = Queue::bounded(1).unwrap();
    let other = q.clone();
    let thread = thread::spawn(move || (0..1000).map(|_| other.get().unwrap()).collect::<Vec<u32>>());
    for i in 0..1000 {
        q.put(i).unwrap();
    }
    assert_eq!(thread.join().unwrap(), (0..1000).collect::<Vec<_>>());
}

#[test]
fn messages_of_any_size_up_to_the_limit_pass_and_longer_ones_come_back() {
    let q: Queue<Vec<u8>> = Queue::builder().bounded(2).max_message(40 << 20).build().unwrap();
    for len in [0, 1, 50, 1000, 70_000, 1 << 20, 5 << 20, (40 << 20) - 8] {
        let message = vec![len as u8; len];
        q.put(message.clone()).unwrap();
        assert!(q.get().unwrap() == message, "{len} bytes");
    }
    let Err(PutError::TooLong { value, len, max }) = q.put(vec![1; 41 << 20]) else { panic!("too long a message went in") };
    assert!(value.len() == 41 << 20 && len > max);
}

#[test]
fn a_message_of_256_mib_passes() {
    let q = Queue::bounded(1).unwrap();
    let half = (256 << 20) - 8;
    let mut message = vec![7u8; half];
    message[half - 1] = 9;
    q.put(message).unwrap();
    let got = q.get().unwrap();
    assert_eq!((got.len(), got[0], got[half - 1]), (half, 7, 9));
}

/// A value that refuses to be encoded after a part of it was.
#[derive(Debug, PartialEq, Deserialize)]
struct Refuses(u32);

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => Err(serde::ser::Error::custom("zero can't be sent")),
            n => n.serialize(serializer),
        }
    }
}

#[test]
fn an_encoding_error_belongs_to_the_put_that_caused_it() {
    let q = Queue::bounded(2).unwrap();
    q.put((vec![1u8; 100], Refuses(1))).unwrap();
    let Err(PutError::Encode { value, .. }) = q.put((vec![1; 100], Refuses(0))) else { panic!("it went in") };
    assert_eq!(value.1, Refuses(0));
    assert_eq!(q.len(), 1);
    assert_eq!(q.get().unwrap().1, Refuses(1));
}

#[test]
fn a_handle_in_a_queue_is_refused_with_the_way_out() {
    let q = Queue::bounded(2).unwrap();
    let inner: Queue<u8> = Queue::bounded(1).unwrap();
    let error = q.put(inner).unwrap_err();
    assert!(matches!(error, PutError::Encode { .. }));
}

#[test]
fn a_message_of_another_type_is_an_error_and_out_of_the_queue() {
    let text: Queue<String> = Queue::bounded(2).unwrap();
    // A queue without a name does not say of what type its messages are.
    let parcel = multiproc_travel::pass::encode(&text).unwrap();
    let numbers: Queue<(bool, bool, bool)> = multiproc_travel::pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
    text.put("hello".into()).unwrap();
    assert!(matches!(numbers.get(), Err(GetError::Decode(_))));
    assert!(text.is_empty());
}

#[test]
fn many_values_go_in_and_out_at_once() {
    let q = Queue::bounded(100).unwrap();
    assert_eq!(q.put_many(0..50).unwrap(), 50);
    assert_eq!(q.get_many(20).unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!(q.get_many(1000).unwrap(), (20..50).collect::<Vec<_>>());
    assert_eq!(q.get_many(0).unwrap(), Vec::<i32>::new());
    q.shutdown();
    let error = q.put_many([1, 2, 3]).unwrap_err();
    assert_eq!((error.put, error.rest.collect::<Vec<_>>()), (0, vec![2, 3]));
    assert!(matches!(error.error, PutError::ShutDown(1)));
}

#[test]
fn closing_concerns_one_handle_and_no_consumer() {
    let q = Queue::bounded(2).unwrap();
    let other = q.clone();
    q.close();
    assert!(matches!(q.put(1), Err(PutError::Closed(1))));
    assert!(matches!(q.get_timeout(SHORT), Err(GetError::Timeout)));
    other.put(2).unwrap();
    assert_eq!(q.get().unwrap(), 2);
}

#[test]
fn shutdown_ends_puts_at_once_and_gets_when_drained() {
    let q = Queue::bounded(5).unwrap();
    let (a, b) = (q.clone(), q.clone());
    q.put(1).unwrap();
    let full = Queue::bounded(1).unwrap();
    full.put(1).unwrap();
    let blocked_put = {
        let full = full.clone();
        thread::spawn(move || full.put(2))
    };
    let getter = thread::spawn(move || (a.get(), a.get()));
    q.shutdown();
    full.shutdown();
    let (first, second) = getter.join().unwrap();
    assert_eq!(first.unwrap(), 1);
    assert!(matches!(second, Err(GetError::ShutDown)));
    assert!(matches!(blocked_put.join().unwrap(), Err(PutError::ShutDown(2))));
    assert!(matches!(b.put(2), Err(PutError::ShutDown(2))));
}

#[test]
fn an_unbounded_queue_never_blocks_a_put_and_keeps_the_order() {
    let q = Queue::unbounded().unwrap();
    for i in 0..20_000u64 {
        q.put((i, vec![0u8; 500])).unwrap();
    }
    assert!(!q.is_full() && q.capacity().is_none());
    assert!(q.len() >= 20_000 - 1, "{}", q.len());
    for i in 0..20_000 {
        assert_eq!(q.get().unwrap().0, i);
    }
    assert!(q.is_empty());
}

#[test]
fn join_thread_returns_at_once_after_close_and_is_an_error_before() {
    let q = Queue::bounded(1).unwrap();
    q.put(1).unwrap();
    assert_eq!(q.join_thread(), Err(JoinThreadError::NotClosed));
    q.cancel_join_thread();
    q.close();
    q.join_thread().unwrap();
    assert_eq!(q.get().unwrap(), 1);
}

#[test]
fn join_returns_when_everything_is_done_and_not_before() {
    let q = JoinableQueue::bounded(10).unwrap();
    q.join().unwrap();
    q.put_many(0..3).unwrap();
    assert_eq!(q.unfinished(), 3);
    assert!(matches!(q.join_timeout(SHORT), Err(QueueJoinError::Timeout { unfinished: 3 })));
    let consumer = q.clone();
    let thread = thread::spawn(move || {
        for _ in 0..3 {
            consumer.get().unwrap();
        }
        (0..3).for_each(|_| consumer.task_done().unwrap());
    });
    q.join().unwrap();
    assert_eq!(q.unfinished(), 0);
    thread.join().unwrap();
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
}

#[test]
fn join_counts_everything_while_a_queue_grows_and_shrinks() {
    let q: JoinableQueue<Vec<u8>> = JoinableQueue::unbounded().unwrap();
    let consumer = q.clone();
    let thread = thread::spawn(move || {
        for _ in 0..50_000 {
            consumer.get().unwrap();
            consumer.task_done().unwrap();
        }
    });
    q.put_many((0..50_000).map(|_| vec![0; 50])).unwrap();
    q.join().unwrap();
    thread.join().unwrap();
    assert_eq!((q.len(), q.unfinished()), (0, 0));
}

#[test]
fn after_a_shutdown_a_joinable_queue_ends_when_nothing_can_come_back() {
    let q = JoinableQueue::unbounded().unwrap();
    q.put_many([1, 2]).unwrap();
    let delivery = q.get_delivery().unwrap();
    let getter = {
        let q = q.clone();
        thread::spawn(move || {
            let mut got = Vec::new();
            while let Ok(value) = q.get() {
                got.push(value);
                q.task_done().unwrap();
            }
            got
        })
    };
    q.shutdown();
    while q.unfinished() > 1 {
        thread::yield_now();
    }
    // The other thread has nothing to get, and waits for the value that comes back. It does not wait for values of its own.
    delivery.give_back();
    assert_eq!(getter.join().unwrap(), [2, 1]);
    q.join().unwrap();
    assert!(matches!(q.get(), Err(GetError::ShutDown)));
}

#[test]
fn after_a_shutdown_nobody_waits_for_itself_or_for_others_who_wait() {
    let q = JoinableQueue::unbounded().unwrap();
    q.put_many([1, 2]).unwrap();
    let both = std::sync::Arc::new(std::sync::Barrier::new(2));
    let threads = [1, 2].map(|_| {
        let (q, both) = (q.clone(), both.clone());
        thread::spawn(move || {
            q.get().unwrap();
            both.wait();
            q.shutdown();
            // Each thread has one value in hand.
            let end = q.get();
            q.task_done().unwrap();
            end
        })
    });
    for thread in threads {
        assert!(matches!(thread.join().unwrap(), Err(GetError::ShutDown)));
    }
    q.join().unwrap();
}

#[test]
fn a_simple_queue_puts_and_gets() {
    let q = SimpleQueue::new().unwrap();
    assert!(q.is_empty());
    q.put("x".to_string()).unwrap();
    assert!(!q.is_empty());
    assert_eq!(q.clone().get().unwrap(), "x");
    q.close();
    assert!(matches!(q.put("y".into()), Err(PutError::Closed(_))));
}

fn unique(what: &str) -> String {
    format!("test-{what}-{}", std::process::id())
}

#[test]
fn a_named_queue_is_found_by_its_name_until_that_is_removed() {
    let name = unique("named");
    let ours: Queue<u8> = Queue::builder().named(&name).build().unwrap();
    let again = Queue::<u8>::builder().named(&name).build();
    assert!(matches!(again, Err(OpenError::Create(CreateError::Exists(_)))));
    ours.put(1).unwrap();
    let theirs = Queue::<u8>::open(&name).unwrap();
    assert_eq!(theirs.get().unwrap(), 1);
    let wrong = JoinableQueue::<u8>::open(&name).unwrap_err();
    assert!(matches!(wrong, OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { .. }, .. })));
    multiproc_queue::remove_queue(&name).unwrap();
    assert!(matches!(Queue::<u8>::open(&name), Err(OpenError::Attach(AttachError::NotFound(_)))));
    assert_eq!(multiproc_queue::remove_queue(&name), Err(RemoveError::NotFound(name)));
    assert!(matches!(Queue::<u8>::open("../x"), Err(OpenError::Attach(AttachError::Name(_)))));
}

#[test]
fn a_named_queue_is_whole_when_it_is_found() {
    let name = unique("whole");
    let opener = {
        let name = name.clone();
        thread::spawn(move || {
            let mut found = 0;
            while found < 100 {
                if let Ok(q) = Queue::<u8>::open(&name) {
                    found += 1;
                    assert!(matches!(q.try_put(1), Ok(())) && matches!(q.try_get(), Ok(1)));
                }
            }
        })
    };
    while !opener.is_finished() {
        let made: Queue<u8> = Queue::builder().bounded(4).memory(1 << 20).named(&name).build().unwrap();
        multiproc_queue::remove_queue(&name).unwrap();
        drop(made);
    }
    opener.join().unwrap();
}

#[test]
fn numbers_that_make_no_queue_are_refused() {
    assert!(matches!(Queue::<u8>::bounded(0), Err(OpenError::Layout(_))));
    assert!(matches!(Queue::<u8>::builder().memory(10).build(), Err(OpenError::Layout(_))));
    assert!(matches!(Queue::<u8>::builder().participants(5000).build(), Err(OpenError::Create(_))));
}

#[test]
fn an_empty_default_queue_takes_little_memory() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = statm.lines().find(|line| line.starts_with("RssShmem:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let before = resident();
    let q = Queue::<u64>::unbounded().unwrap();
    q.put(1).unwrap();
    q.get().unwrap();
    let grown = resident() - before;
    assert!(grown < 256, "{grown} KiB");
}

#[test]
fn four_producers_and_four_consumers_lose_nothing_and_keep_each_producers_order() {
    const EACH: u64 = 20_000;
    let q = Queue::bounded(64).unwrap();
    let producers: Vec<_> = (0..4u64)
        .map(|p| {
            let q = q.clone();
            thread::spawn(move || (0..EACH).for_each(|i| q.put((p, i)).unwrap()))
        })
        .collect();
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let q = q.clone();
            thread::spawn(move || std::iter::from_fn(|| q.get().ok()).collect::<Vec<(u64, u64)>>())
        })
        .collect();
    producers.into_iter().for_each(|p| p.join().unwrap());
    q.shutdown();
    let mut seen = vec![vec![0u32; EACH as usize]; 4];
    for consumer in consumers {
        let mut last = [None; 4];
        for (p, i) in consumer.join().unwrap() {
            assert!(last[p as usize] < Some(i), "producer {p} out of order");
            last[p as usize] = Some(i);
            seen[p as usize][i as usize] += 1;
        }
    }
    assert!(seen.iter().flatten().all(|&times| times == 1));
}

#[test]
fn a_named_queue_of_another_type_is_refused() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Job {
        id: u32,
    }
    let name = format!("typed-{}", std::process::id());
    let _numbers = Queue::<u32>::builder().named(&name).build().unwrap();
    let refused =
        |error: OpenError| matches!(error, OpenError::Attach(AttachError::Refused { flaw: Flaw::MessageType { .. }, .. }));
    assert!(refused(Queue::<i32>::open(&name).unwrap_err()) && refused(Queue::<Job>::open(&name).unwrap_err()));
    assert!(Queue::<u32>::open(&name).is_ok());
    multiproc_queue::remove_queue(&name).unwrap();
}

#[test]
fn a_value_beside_a_queue_is_compared_as_any_other() {
    fn three() -> Option<u32> {
        Some(3)
    }
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Config {
        #[serde(default = "three", skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    }
    let queue = Queue::<u8>::bounded(1).unwrap();
    for value in [
        (Config { limit: None }, queue.clone(), Config { limit: Some(1) }),
        (Config { limit: Some(1) }, queue.clone(), Config { limit: None }),
    ] {
        let error = multiproc_travel::pass::encode(&value).unwrap_err();
        assert!(error.to_string().contains("another value"), "{error}");
    }
    let parcel = multiproc_travel::pass::encode(&(queue.clone(), Config { limit: Some(1) })).unwrap();
    let (same, config): (Queue<u8>, Config) = multiproc_travel::pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
    queue.put(7).unwrap();
    assert_eq!((same.get().unwrap(), config), (7, Config { limit: Some(1) }));
}
