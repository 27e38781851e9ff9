//! Workers of pools are killed and stopped at random moments, beside tasks that panic, exit, kill their worker and hang. Each task ends
//! once, with its result or an error that it may have, and nothing is left over.
//!
//! `cargo run --release -p multiproc-proofs --bin pools -- 5000` deals 5,000 blows from outside.

use multiproc::{Pool, Queue, TaskError};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Blows that one round deals at least.
const BLOWS: u64 = 50;
const WORKERS: usize = 4;
/// More than any innocent task takes, stopped workers included.
const LIMIT: Duration = Duration::from_secs(2);
/// Tasks of a round at most: it ends with its blows.
const TASKS: u64 = 10_000_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % bound
    }
}

/// Each run of a task.
static RUNS: OnceLock<Queue<u64>> = OnceLock::new();

fn remember(runs: Queue<u64>) {
    // Panics of tasks are part of the proof, not of its output.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = RUNS.set(runs);
}

/// What a task does, by its number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Returns,
    Panics,
    Exits,
    Dies,
    Hangs,
}

fn does(number: u64) -> Does {
    match number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44 {
        0..5000 => Does::Panics,
        5000..6000 => Does::Exits,
        6000..7000 => Does::Dies,
        7000..7010 => Does::Hangs,
        _ => Does::Returns,
    }
}

fn run(number: u64) -> u64 {
    let told = RUNS.get().is_some_and(|runs| runs.put(number).is_ok());
    match does(number) {
        Does::Panics => panic!("{number}"),
        Does::Exits => std::process::exit(7),
        Does::Dies => std::process::abort(),
        Does::Hangs => loop {
            std::thread::park();
        },
        Does::Returns if told => {}
        Does::Returns => std::process::exit(9),
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(number % 200) {
        std::hint::spin_loop();
    }
    !number
}

/// Whether a task may end so.
fn may_end(number: u64, attempts: u32, result: &Result<u64, TaskError>) -> bool {
    match result {
        Ok(value) => does(number) == Does::Returns && *value == !number,
        Err(TaskError::Panicked { message }) => does(number) == Does::Panics && *message == number.to_string(),
        // Any worker may be killed from outside, at each attempt.
        Err(TaskError::WorkerDied { attempts: some, .. }) => *some == attempts,
        Err(TaskError::TimedOut { attempts: some, .. }) => *some == attempts && does(number) == Does::Hangs,
        Err(_) => false,
    }
}

/// Signals sent while `work` runs.
fn under_blows<R>(pool: &Pool, least: u64, work: impl FnOnce(&dyn Fn() -> bool) -> R) -> (u64, R) {
    let (stop, stopped) = channel::<()>();
    let enough = std::sync::Mutex::new(false);
    std::thread::scope(|scope| {
        let (enough, pool) = (&enough, pool);
        let striker = scope.spawn(move || {
            let mut random = Random(RandomState::new().hash_one(1) | 1);
            let mut blows = 0;
            while stopped.recv_timeout(Duration::from_millis(1 + random.below(20))) == Err(RecvTimeoutError::Timeout) {
                let pids = pool.pids();
                let all = random.below(10) == 0;
                for pid in pids {
                    if !all && random.below(WORKERS as u64) > 0 {
                        continue;
                    }
                    let Some(pid) = Pid::from_raw(pid as i32) else { continue };
                    let stops = random.below(3) == 0;
                    let _ = kill_process(pid, if stops { Signal::STOP } else { Signal::KILL });
                    if stops {
                        std::thread::sleep(Duration::from_millis(random.below(20)));
                        let _ = kill_process(pid, Signal::CONT);
                    }
                    blows += 1;
                }
                *enough.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = blows >= least;
            }
            blows
        });
        let result = work(&|| *enough.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        drop(stop);
        (striker.join().unwrap_or(0), result)
    })
}

fn round(number: u64, blows: u64) -> Result<(u64, u64), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let runs = Queue::unbounded().map_err(|error| say(&error))?;
    let retries = (number % 3) as u32;
    let chunk = [1, 10, 300][number as usize / 3 % 3];
    let builder = Pool::builder().workers(WORKERS).retries(retries).chunk_size(chunk).task_timeout(LIMIT);
    let builder = builder.max_tasks_per_worker(if number.is_multiple_of(2) { 0 } else { 5_000 });
    let pool = builder.initializer(remember, runs.clone()).build().map_err(|error| say(&error))?;
    let mut counts: Vec<u32> = Vec::new();
    let count = |counts: &mut Vec<u32>| {
        for ran in runs.try_iter() {
            counts.resize(counts.len().max(ran as usize + 1), 0);
            counts[ran as usize] += 1;
        }
    };
    let (dealt, checked) = under_blows(&pool, blows, |enough| {
        let mut results = pool.imap(run, 0..TASKS);
        let mut next = 0;
        while !enough() {
            let result = results.next().ok_or("the results end early")?;
            if !may_end(next, retries + 1, &result) {
                return Err(format!("task {next} ended with {result:?}"));
            }
            if next % 1000 == 0 {
                count(&mut counts);
            }
            next += 1;
        }
        Ok(next)
    });
    let checked = checked?;
    pool.close();
    pool.join().map_err(|error| say(&error))?;
    count(&mut counts);
    let mut ended = counts.iter().take(checked as usize);
    // A worker may be killed between the run and its word of it, so a task may be missing here; none may have run too often.
    if chunk == 1
        && let Some(at) = ended.position(|&ran| ran > retries + 1)
    {
        return Err(format!("task {at} ran {} times with {retries} retries", counts[at]));
    }
    if !pool.pids().is_empty() {
        return Err("workers are left over".into());
    }
    Ok((dealt, checked))
}

/// What the open descriptors are.
fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let blows: u64 = std::env::args().nth(1).map_or(Ok(200), |n| n.parse())?;
    let begin = Instant::now();
    let (mut dealt, mut tasks, mut failed, mut number) = (0, 0, 0, 0);
    let (mut most_open, mut rises) = (None, 0);
    while dealt < blows {
        match round(number, BLOWS.min(blows - dealt)) {
            Ok((of_this, ended)) => {
                dealt += of_this;
                tasks += ended;
            }
            Err(error) => {
                println!("round {number}: {error}");
                failed += 1;
                dealt += BLOWS;
            }
        }
        // A thread in the background opens one or two for good when it is first needed. A leak goes on.
        let open = open_descriptors();
        if *most_open.get_or_insert(open.len()) < open.len() {
            println!("round {number}: more descriptors are open than before: {open:?}");
            most_open = Some(open.len());
            rises += 1;
            failed += u64::from(rises > 2);
        }
        number += 1;
    }
    println!("{dealt} blows, {tasks} tasks in {number} rounds, {:.1} s", begin.elapsed().as_secs_f64());
    println!("pools: {dealt} cases, {failed} failed");
    if failed > 0 { Err("tasks were lost, doubled or blamed".into()) } else { Ok(()) }
}
