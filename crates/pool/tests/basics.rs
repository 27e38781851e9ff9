//! What a pool does while no worker dies: each promise once, with real processes. Tests call no `init()`: workers run before `main`.

use multiproc_pool::{JoinPoolError, MapError, Pool, SubmitError, TaskError};
use multiproc_process::current_process;
use multiproc_queue::Queue;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::OnceLock;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

fn square(n: u64) -> u64 {
    n * n
}

#[test]
fn map_keeps_the_order_of_its_arguments() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(square, 0..10_000).unwrap(), (0..10_000).map(square).collect::<Vec<_>>());
}

/// Numbers from 0 on that say they are `said` many.
struct Says {
    numbers: std::ops::Range<u64>,
    said: usize,
}

impl Iterator for Says {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.numbers.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.said, Some(self.said))
    }
}

#[test]
fn map_gives_all_results_of_an_input_that_says_a_wrong_length() {
    let pool = Pool::new(2).unwrap();
    for (len, said) in [(1_000, 0), (1_000, 999), (1_000, 1_001), (0, 5), (1_000, usize::MAX)] {
        let results = pool.map(square, Says { numbers: 0..len, said }).unwrap();
        assert_eq!(results, (0..len).map(square).collect::<Vec<_>>(), "{len} numbers that say they are {said}");
    }
}

#[test]
fn map_runs_the_first_tasks_while_it_takes_the_last_arguments() {
    fn report(n: u64) -> u64 {
        GATE.get().unwrap().0.put(1).unwrap();
        n
    }
    let (pool, began, _) = gated(1);
    const LEN: u64 = 300_000;
    let arguments = (0..LEN).inspect(|&n| {
        if n == LEN - 1 {
            began.get_timeout(WATCHDOG).unwrap();
        }
    });
    assert_eq!(pool.map(report, arguments).unwrap().len() as u64, LEN);
}

#[test]
fn one_pool_runs_different_functions_and_tuples_are_arguments() {
    let pool = Pool::new(2).unwrap();
    let words = pool.map(|(word, times): (String, usize)| word.repeat(times), [("ab".to_string(), 2), ("c".to_string(), 3)]);
    assert_eq!(words.unwrap(), ["abab", "ccc"]);
    assert_eq!(pool.map(square, [3]).unwrap(), [9]);
    assert!(pool.spawn(std::process::id, ()).unwrap().wait().unwrap() != std::process::id());
    assert!(pool.map(square, []).unwrap().is_empty());
}

/// The gate that workers wait at, and the bell that they ring first.
static GATE: OnceLock<(Queue<u32>, Queue<u32>)> = OnceLock::new();

fn remember(queues: (Queue<u32>, Queue<u32>)) {
    GATE.set(queues).unwrap();
}

/// Says that it has begun, and ends when it is let through.
fn pass(n: u32) -> u32 {
    let (began, let_through) = GATE.get().unwrap();
    began.put(n).unwrap();
    let_through.get().unwrap() + n
}

fn gated(workers: usize) -> (Pool, Queue<u32>, Queue<u32>) {
    let (began, let_through) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let pool = Pool::builder().workers(workers).initializer(remember, (began.clone(), let_through.clone())).build().unwrap();
    (pool, began, let_through)
}

#[test]
fn a_task_is_ready_once_it_has_ended_and_not_before() {
    let (pool, began, let_through) = gated(1);
    let task = pool.spawn(pass, 1).unwrap();
    began.get_timeout(WATCHDOG).unwrap();
    assert!(!task.is_ready());
    let task = task.wait_timeout(Duration::from_millis(1)).unwrap_err();
    let_through.put(41).unwrap();
    assert_eq!(task.wait_timeout(WATCHDOG).unwrap(), Ok(42));
}

#[test]
fn a_task_that_was_cancelled_before_it_began_never_runs_and_one_that_has_begun_can_not_be_cancelled() {
    let (pool, began, let_through) = gated(1);
    let running = pool.spawn(pass, 1).unwrap();
    began.get_timeout(WATCHDOG).unwrap();
    let waiting = pool.spawn(pass, 2).unwrap();
    let last = pool.spawn(pass, 3).unwrap();
    assert!(waiting.cancel() && waiting.is_ready() && !waiting.cancel());
    assert!(!running.cancel());
    let_through.put_many([10, 10]).unwrap();
    assert_eq!([running, last].map(|task| task.wait()), [Ok(11), Ok(13)]);
    assert_eq!(waiting.wait(), Err(TaskError::Cancelled));
    assert_eq!((began.get(), began.is_empty()), (Ok(3), true));
}

#[test]
fn imap_keeps_the_order_and_takes_of_an_endless_input_only_what_it_needs() {
    let pool = Pool::new(2).unwrap();
    let mut taken = 0;
    let results: Vec<u64> = pool.imap(square, (0..).inspect(|_| taken += 1)).take(500).map(Result::unwrap).collect();
    assert_eq!(results, (0..500).map(square).collect::<Vec<_>>());
    assert!((500..2000).contains(&taken), "{taken} were taken");
}

#[test]
fn imap_unordered_yields_each_result_once_and_a_slow_one_holds_up_nobody() {
    let (pool, began, let_through) = gated(2);
    // The first argument waits at the gate. The others don't.
    let pass_first = |n: u32| if n == 0 { pass(0) } else { n };
    let mut results = pool.imap_unordered(pass_first, 0..300);
    let mut got: Vec<u32> = results.by_ref().take(299).map(Result::unwrap).collect();
    began.get_timeout(WATCHDOG).unwrap();
    let_through.put(1000).unwrap();
    got.extend(results.map(Result::unwrap));
    got.sort_unstable();
    assert_eq!(got, (1..300).chain([1000]).collect::<Vec<_>>());
}

#[test]
fn an_iterator_that_is_dropped_cancels_what_has_not_begun() {
    let (pool, began, let_through) = gated(1);
    let mut results = pool.imap(pass, 0..);
    let_through.put(0).unwrap();
    assert_eq!(results.next(), Some(Ok(0)));
    began.get_timeout(WATCHDOG).unwrap();
    // The second one is at the gate.
    began.get_timeout(WATCHDOG).unwrap();
    drop(results);
    let_through.put(0).unwrap();
    assert_eq!(pool.spawn(square, 5).unwrap().wait(), Ok(25));
    assert!(began.is_empty());
}

#[test]
fn chunks_have_the_size_that_was_asked_for() {
    let pool = Pool::builder().workers(1).chunk_size(3).max_tasks_per_worker(1).build().unwrap();
    let pids = pool.map(|_: u32| std::process::id(), 0..8).unwrap();
    let runs: Vec<usize> = pids.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
    assert_eq!(runs, [3, 3, 2]);
}

#[test]
fn a_worker_is_replaced_after_as_many_tasks_as_it_may_run() {
    let pool = Pool::builder().workers(1).max_tasks_per_worker(2).build().unwrap();
    let pids: Vec<u32> = (0..6).map(|_| pool.spawn(std::process::id, ()).unwrap().wait().unwrap()).collect();
    let runs: Vec<usize> = pids.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
    assert_eq!(runs, [2, 2, 2]);
}

fn panic_at_three(n: u32) -> u32 {
    assert!(n != 3, "three it is");
    n
}

#[test]
fn a_panic_is_the_error_of_its_task_alone_and_the_worker_lives() {
    let pool = Pool::builder().workers(1).retries(5).build().unwrap();
    let Err(MapError::Tasks { results }) = pool.map(panic_at_three, 0..6) else { panic!("map must fail") };
    let expected = |n| if n == 3 { Err(TaskError::Panicked { message: "three it is".into() }) } else { Ok(n) };
    assert_eq!(results, (0..6).map(expected).collect::<Vec<_>>());
    assert_eq!(pool.spawn(panic_at_three, 3).unwrap().wait(), expected(3));
    assert_eq!(pool.replaced(), 0);
}

/// Encodes and decodes unless it is told not to.
#[derive(Debug, PartialEq)]
struct Odd(u32);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            3 => Err(S::Error::custom("three can't be written")),
            n => serializer.serialize_u32(n),
        }
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            5 => Err(D::Error::custom("five can't be read")),
            n => Ok(Self(n)),
        }
    }
}

#[test]
fn a_result_that_can_not_be_encoded_is_the_error_of_its_task_alone() {
    let pool = Pool::builder().workers(1).chunk_size(4).build().unwrap();
    let Err(MapError::Tasks { results }) = pool.map(Odd, [1, 2, 3, 4]) else { panic!("map must fail") };
    assert_eq!((&results[..2], &results[3]), (&[Ok(Odd(1)), Ok(Odd(2))][..], &Ok(Odd(4))));
    let Err(TaskError::Result { why }) = &results[2] else { panic!("{:?}", results[2]) };
    assert!(why.contains("three can't be written"), "{why}");
    assert!(matches!(pool.spawn(Odd, 3).unwrap().wait(), Err(TaskError::Result { .. })));
}

#[test]
fn an_argument_that_can_not_be_encoded_is_an_error_of_the_call() {
    let pool = Pool::new(1).unwrap();
    let number = |odd: Odd| odd.0;
    assert!(matches!(pool.spawn(number, Odd(3)), Err(SubmitError::Encode(_))));
    assert!(matches!(pool.map(number, [Odd(1), Odd(3)]), Err(MapError::Submit(SubmitError::Encode(_)))));
    // What could come back as no such value is refused as well.
    assert!(matches!(pool.spawn(number, Odd(5)), Err(SubmitError::Encode(_))));
    let results: Vec<_> = pool.imap(number, [Odd(1), Odd(3), Odd(4)]).collect();
    assert_eq!((&results[0], &results[2]), (&Ok(1), &Ok(4)));
    assert!(matches!(results[1], Err(TaskError::Arguments { .. })));
}

#[test]
fn large_arguments_and_results_are_the_same_on_the_other_side() {
    let pool = Pool::new(2).unwrap();
    let reversed = pool.map(
        |mut bytes: Vec<u8>| -> Vec<u8> {
            bytes.reverse();
            bytes
        },
        (0..4).map(|n| vec![n, 0, 1]).chain([vec![7; 5 << 20]]),
    );
    let expected: Vec<Vec<u8>> = (0..4).map(|n| vec![1, 0, n]).chain([vec![7; 5 << 20]]).collect();
    assert!(reversed.unwrap() == expected);
}

#[test]
fn a_pool_that_is_closed_takes_no_more_tasks_and_join_waits_for_those_that_it_has() {
    let (pool, began, let_through) = gated(2);
    assert_eq!(pool.join(), Err(JoinPoolError::NotClosed));
    let tasks: Vec<_> = (0..20).map(|n| pool.spawn(pass, n).unwrap()).collect();
    pool.close();
    assert!(matches!(pool.spawn(pass, 1), Err(SubmitError::Closed)));
    assert_eq!(pool.imap(square, 0..).collect::<Vec<_>>(), [Err(TaskError::Closed)]);
    let_through.put_many((0..20).map(|_| 0)).unwrap();
    assert_eq!(pool.join(), Ok(()));
    assert_eq!((pool.pids(), pool.replaced()), (vec![], 0));
    assert!(tasks.iter().all(|task| task.is_ready()));
    assert_eq!(began.len(), 20);
    assert_eq!(pool.join(), Ok(()), "a second join");
}

#[test]
fn terminate_ends_tasks_that_run_and_tasks_that_wait_and_nobody_hangs() {
    let (pool, began, _let_through) = gated(1);
    let tasks = [pool.spawn(pass, 1).unwrap(), pool.spawn(pass, 2).unwrap()];
    began.get_timeout(WATCHDOG).unwrap();
    pool.terminate();
    for task in tasks {
        assert_eq!(task.wait(), Err(TaskError::Ended { why: "it was terminated".into() }));
    }
    assert_eq!((pool.join(), pool.pids()), (Ok(()), vec![]));
    assert!(matches!(pool.spawn(pass, 1), Err(SubmitError::Ended { .. })));
}

#[test]
fn workers_have_the_name_of_the_pool_and_a_number_and_are_no_daemons() {
    let pool = Pool::builder().workers(1).name("eater").build().unwrap();
    let whoami = || (current_process().name().to_owned(), current_process().is_daemon());
    assert_eq!(pool.spawn(whoami, ()).unwrap().wait(), Ok(("eater-1".into(), false)));
}

fn sum_of_squares(n: u64) -> u64 {
    let pool = Pool::new(2).unwrap();
    pool.map(square, 0..n).unwrap().iter().sum()
}

#[test]
fn a_worker_may_have_a_pool_of_its_own() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(sum_of_squares, [3, 4]).unwrap(), [5, 14]);
}

#[test]
fn a_pool_without_a_number_has_a_worker_for_each_processor_that_it_may_use() {
    let pool = Pool::new(0).unwrap();
    assert_eq!(pool.workers(), std::thread::available_parallelism().unwrap().get());
    assert_eq!(pool.pids().len(), pool.workers());
}

#[test]
fn several_threads_use_one_pool() {
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for from in 0..8 {
            let pool = &pool;
            scope.spawn(move || {
                for n in from * 100..from * 100 + 100 {
                    assert_eq!(pool.spawn(square, n).unwrap().wait(), Ok(n * n));
                }
            });
        }
    });
}
