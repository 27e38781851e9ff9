//! What a pool does when its workers die: each promise once, with real processes.

use multiproc_pool::{JoinPoolError, MapError, Pool, SubmitError, TaskError};
use multiproc_process::Exit;
use multiproc_queue::Queue;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ends this process as `kill -9` does.
fn die() -> ! {
    signal(std::process::id(), libc::SIGKILL);
    loop {
        std::thread::park();
    }
}

fn signal(pid: u32, signal: i32) {
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(pid as i32, signal) };
}

fn die_at_seven(n: u32) -> u32 {
    if n == 7 {
        die();
    }
    n * 10
}

#[test]
fn a_worker_that_is_killed_fails_only_the_task_that_it_had_in_hand() {
    let pool = Pool::builder().workers(2).chunk_size(20).build().unwrap();
    let Err(MapError::Tasks { results }) = pool.map(die_at_seven, 0..40) else { panic!("map must fail") };
    let killed = TaskError::WorkerDied { exit: Exit::Signal(9), attempts: 1 };
    let expected = |n: u32| if n == 7 { Err(killed.clone()) } else { Ok(n * 10) };
    assert_eq!(results, (0..40).map(expected).collect::<Vec<_>>());
    assert_eq!(pool.spawn(die_at_seven, 7).unwrap().wait(), Err(killed));
    assert_eq!(pool.map(die_at_seven, [1, 2]).unwrap(), [10, 20]);
    pool.close();
    assert_eq!((pool.join(), pool.replaced()), (Ok(()), 2));
}

#[test]
fn a_task_that_exits_its_worker_fails_with_the_exit_code() {
    let pool = Pool::new(1).unwrap();
    let task = pool.spawn(|code: i32| -> u32 { std::process::exit(code) }, 5).unwrap();
    assert_eq!(task.wait(), Err(TaskError::WorkerDied { exit: Exit::Code(5), attempts: 1 }));
    let task = pool.spawn(|code: i32| -> u32 { std::process::exit(code) }, 0).unwrap();
    assert_eq!(task.wait(), Err(TaskError::WorkerDied { exit: Exit::Code(0), attempts: 1 }));
}

static TRIES: OnceLock<Queue<u32>> = OnceLock::new();

fn remember(tries: Queue<u32>) {
    TRIES.set(tries).unwrap();
}

/// Dies at the first two attempts.
fn third_time_lucky(n: u32) -> u32 {
    let tries = TRIES.get().unwrap();
    tries.put(n).unwrap();
    if n == 7 && tries.len() < 3 {
        die();
    }
    n
}

#[test]
fn with_retries_a_task_whose_worker_died_runs_again() {
    let tries = Queue::unbounded().unwrap();
    let pool = Pool::builder().workers(1).retries(2).initializer(remember, tries.clone()).build().unwrap();
    assert_eq!(pool.spawn(third_time_lucky, 7).unwrap().wait(), Ok(7));
    assert_eq!(tries.len(), 3);
    let task = pool.spawn(die_at_seven, 7).unwrap();
    assert_eq!(task.wait(), Err(TaskError::WorkerDied { exit: Exit::Signal(9), attempts: 3 }));
}

#[test]
fn with_a_chunk_size_of_one_every_task_runs_once_whatever_dies_beside_it() {
    fn record_and_die(n: u32) -> u32 {
        TRIES.get().unwrap().put(n).unwrap();
        die_at_seven(n)
    }
    let tries = Queue::unbounded().unwrap();
    let pool = Pool::builder().workers(2).chunk_size(1).initializer(remember, tries.clone()).build().unwrap();
    assert!(pool.map(record_and_die, 0..50).is_err());
    let mut ran: Vec<u32> = tries.try_iter().collect();
    ran.sort_unstable();
    assert_eq!(ran, (0..50).collect::<Vec<_>>());
}

fn sleep_at_three(n: u32) -> u32 {
    if n == 3 {
        loop {
            std::thread::park();
        }
    }
    n
}

#[test]
fn a_task_that_runs_past_its_time_fails_alone_and_not_before_its_time() {
    let limit = Duration::from_millis(200);
    let pool = Pool::builder().workers(2).chunk_size(4).task_timeout(limit).build().unwrap();
    let begin = Instant::now();
    let Err(MapError::Tasks { results }) = pool.map(sleep_at_three, 0..8) else { panic!("map must fail") };
    assert!(begin.elapsed() >= limit);
    let expected = |n: u32| if n == 3 { Err(TaskError::TimedOut { limit, attempts: 1 }) } else { Ok(n) };
    assert_eq!(results, (0..8).map(expected).collect::<Vec<_>>());
    // Time spent idle is no time of a task.
    assert_eq!(pool.spawn(sleep_at_three, 1).unwrap().wait(), Ok(1));
}

#[test]
fn a_worker_that_is_stopped_past_the_time_of_its_task_is_replaced() {
    fn stop(n: u32) -> u32 {
        signal(std::process::id(), libc::SIGSTOP);
        n
    }
    let limit = Duration::from_millis(100);
    let pool = Pool::builder().workers(1).task_timeout(limit).retries(1).build().unwrap();
    assert_eq!(pool.spawn(stop, 1).unwrap().wait(), Err(TaskError::TimedOut { limit, attempts: 2 }));
    assert_eq!(pool.spawn(sleep_at_three, 1).unwrap().wait(), Ok(1));
}

#[test]
fn idle_workers_that_are_killed_are_replaced() {
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(die_at_seven, [1]).unwrap(), [10]);
    let before = pool.pids();
    before.iter().for_each(|&pid| signal(pid, libc::SIGKILL));
    let pid = pool.spawn(std::process::id, ()).unwrap().wait().unwrap();
    assert!(!before.contains(&pid));
}

#[test]
fn an_initializer_that_always_fails_ends_the_pool_with_its_reason() {
    let fail = || Err::<(), &str>("there is no database");
    let pool = Pool::builder().workers(2).initializer(fail, ()).build().unwrap();
    let Err(TaskError::Ended { why }) = pool.spawn(die_at_seven, 1).unwrap().wait() else { panic!("it must end") };
    assert_eq!(why, "its initializer failed: there is no database");
    assert!(matches!(pool.spawn(die_at_seven, 1), Err(SubmitError::Ended { .. })));
    pool.close();
    assert_eq!(pool.join(), Err(JoinPoolError::Ended { why }));
}

#[test]
fn an_initializer_that_panics_or_kills_its_worker_ends_the_pool() {
    let pool = Pool::builder()
        .workers(1)
        .initializer(|word: String| assert!(word.is_empty(), "no way"), "word".to_string())
        .build()
        .unwrap();
    let Err(TaskError::Ended { why }) = pool.spawn(die_at_seven, 1).unwrap().wait() else { panic!("it must end") };
    assert!(why.contains("no way"), "{why}");
    let pool = Pool::builder().workers(1).initializer(|| -> () { std::process::abort() }, ()).build().unwrap();
    let Err(TaskError::Ended { why }) = pool.spawn(die_at_seven, 1).unwrap().wait() else { panic!("it must end") };
    assert!(why.contains("signal 6"), "{why}");
}

#[test]
fn an_initializer_that_fails_at_first_costs_no_task() {
    fn fail_twice(tries: Queue<u32>) -> Result<(), String> {
        tries.put(0).map_err(|error| error.to_string())?;
        if tries.len() < 3 { Err("not yet".into()) } else { Ok(()) }
    }
    let pool = Pool::builder().workers(1).initializer(fail_twice, Queue::unbounded().unwrap()).build().unwrap();
    assert_eq!(pool.spawn(die_at_seven, 1).unwrap().wait(), Ok(10));
}

fn work_a_little(n: u32) -> u32 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(100) {
        std::hint::spin_loop();
    }
    n
}

#[test]
fn with_every_worker_killed_every_50_ms_each_task_ends_once_with_its_result_or_its_own_error() {
    for chunk in [1, 100] {
        let pool = Pool::builder().workers(4).retries(1).chunk_size(chunk).build().unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let results: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                let stopped = stopped;
                while stopped
                    .recv_timeout(Duration::from_millis(50))
                    .is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    pool.pids().into_iter().for_each(|pid| signal(pid, libc::SIGKILL));
                }
            });
            let results = pool.imap(work_a_little, 0..10_000).collect();
            drop(stop);
            results
        });
        assert_eq!(results.len(), 10_000);
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert_eq!(value, n),
                Err(TaskError::WorkerDied { exit, attempts }) => assert_eq!((exit, attempts), (Exit::Signal(9), 2)),
                Err(other) => panic!("{n}: {other:?}"),
            }
        }
        assert!(pool.replaced() > 0);
        pool.close();
        assert_eq!(pool.join(), Ok(()));
    }
}

#[test]
fn dropping_a_pool_in_a_panic_ends_its_workers_and_does_not_hang() {
    let caught = std::panic::catch_unwind(|| {
        let pool = Pool::new(2).unwrap();
        let _task = pool.spawn(sleep_at_three, 3).unwrap();
        std::panic::panic_any(pool.pids());
    });
    let pids = *caught.unwrap_err().downcast::<Vec<u32>>().unwrap();
    assert!(pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
}

#[test]
fn a_forked_copy_that_drops_the_pool_ends_nothing() {
    let pool = Pool::new(1).unwrap();
    let task = pool.spawn(die_at_seven, 1).unwrap();
    assert_eq!(task.wait(), Ok(10));
    // SAFETY: the copy drops the pool and ends at once.
    let copy = unsafe { libc::fork() };
    if copy == 0 {
        let refused =
            matches!(pool.spawn(die_at_seven, 1), Err(SubmitError::Forked)) && pool.join() == Err(JoinPoolError::Forked);
        drop(pool);
        // SAFETY: ends the copy.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: waits for the copy; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
    assert_eq!(status, 0);
    assert_eq!(pool.spawn(die_at_seven, 1).unwrap().wait(), Ok(10));
    assert_eq!(pool.replaced(), 0);
}

fn exit_soon() {
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(30));
        std::process::exit(0);
    });
}

#[test]
fn workers_that_exit_while_they_have_nothing_to_do_are_replaced() {
    let pool = Pool::builder().workers(1).build().unwrap();
    for round in 0..3 {
        pool.spawn(exit_soon, ()).unwrap().wait().unwrap();
        let before = pool.replaced();
        let begin = Instant::now();
        while pool.replaced() == before {
            assert!(begin.elapsed() < Duration::from_secs(30), "it is not replaced in round {round}");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(pool.map(die_at_seven, [1, 2]).unwrap(), [10, 20]);
    }
}

fn take_a_while() -> u32 {
    std::thread::sleep(Duration::from_millis(50));
    1
}

#[test]
fn a_time_limit_beyond_every_clock_kills_nobody() {
    let pool = Pool::builder().workers(1).task_timeout(Duration::MAX).build().unwrap();
    assert_eq!(pool.spawn(take_a_while, ()).unwrap().wait(), Ok(1));
}

/// The main process can't read the result 13: its `Deserialize` panics.
#[derive(Debug, PartialEq, serde::Serialize)]
struct Unlucky(u32);

impl<'de> serde::Deserialize<'de> for Unlucky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        let is_main = multiproc_process::current_process().parent_pid().is_none();
        assert!(!(is_main && number == 13), "unlucky");
        Ok(Self(number))
    }
}

fn unlucky(number: u32) -> Unlucky {
    Unlucky(number)
}

#[test]
fn a_result_whose_decoding_panics_is_an_error_of_its_task_and_of_no_other() {
    let pool = Pool::builder().workers(2).chunk_size(1).build().unwrap();
    let results: Vec<_> = pool.imap(unlucky, 10..16).collect();
    assert_eq!(results.len(), 6);
    for (number, result) in (10..16).zip(results) {
        match number {
            13 => assert!(matches!(result, Err(TaskError::Result { .. }))),
            _ => assert_eq!(result, Ok(Unlucky(number))),
        }
    }
    assert!(matches!(pool.spawn(unlucky, 13).unwrap().wait(), Err(TaskError::Result { .. })));
    assert_eq!(pool.spawn(unlucky, 14).unwrap().wait(), Ok(Unlucky(14)));
}
