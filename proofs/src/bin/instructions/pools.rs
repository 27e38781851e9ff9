//! A worker of a pool, killed after each instruction from the moment that a task comes until it waits for the next one.

use super::text;
use multiproc::{MapError, Pool, Queue, Task, TaskError};
use multiproc_proofs::victim::Victim;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longer than a task takes whose worker dies.
const PATIENCE: Duration = Duration::from_secs(20);

/// Each task that began, in the workers.
static BEGAN: OnceLock<Queue<u64>> = OnceLock::new();

fn remember(began: Queue<u64>) {
    let _ = BEGAN.set(began);
}

fn negate(number: u64) -> u64 {
    if let Some(began) = BEGAN.get() {
        let _ = began.put(number);
    }
    !number
}

/// A pool with a worker that has run a task and waits, and where tasks say that they begin.
fn idle(retries: u32) -> Result<(Pool, Queue<u64>, i32), String> {
    let began = Queue::unbounded().map_err(text)?;
    let builder = Pool::builder().workers(1).retries(retries).chunk_size(3);
    let pool = builder.initializer(remember, began.clone()).build().map_err(text)?;
    finish(&pool, 0)?;
    pool.map(negate, [0; 3]).map_err(text)?;
    let worker = pool.pids().first().copied().ok_or("the pool has no worker")?;
    let since = Instant::now();
    while !sleeps(worker) {
        if since.elapsed() > PATIENCE {
            return Err("the worker does not fall asleep".into());
        }
        std::thread::yield_now();
    }
    while began.try_get().is_ok() {}
    Ok((pool, began, worker as i32))
}

fn sleeps(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
}

/// One task ends with its result.
fn finish(pool: &Pool, number: u64) -> Result<(), String> {
    let task = pool.spawn(negate, number).map_err(text)?;
    match task.wait_timeout(PATIENCE) {
        Ok(Ok(value)) if value == !number => Ok(()),
        other => Err(format!("a task beside the death ended with {other:?}")),
    }
}

/// A pool works on after a death, and ends.
fn ends_well(pool: Pool) -> Result<(), String> {
    finish(&pool, 9)?;
    pool.close();
    pool.join().map_err(text)
}

/// A single task. Without retries it runs at most once, and ends with its result or with the death of its worker.
pub(crate) fn task(victim: &mut Victim, retries: u32) -> Result<(), String> {
    let (pool, began, worker) = idle(retries)?;
    let has_ended = |task: &Result<Task<u64>, _>| task.as_ref().map_or(true, Task::is_ready);
    let task = victim.kill_child(worker, || pool.spawn(negate, 7), has_ended).map_err(text)?;
    let result = task.wait_timeout(PATIENCE).map_err(|_| "the task does not end")?;
    match result {
        Ok(value) if value == !7 => {}
        Err(TaskError::WorkerDied { attempts: 1, .. }) if retries == 0 => {}
        other => return Err(format!("the task ended with {other:?}")),
    }
    ends_well(pool)?;
    let runs = began.try_iter().filter(|&number| number == 7).count();
    let most = 1 + retries as usize;
    if runs <= most && (result.is_err() || runs > 0) { Ok(()) } else { Err(format!("it ran {runs} times: {result:?}")) }
}

/// A chunk of three tasks. At most one of them ends with the death, and all others have their results.
pub(crate) fn chunk(victim: &mut Victim) -> Result<(), String> {
    const NUMBERS: [u64; 3] = [5, 6, 7];
    let (pool, began, worker) = idle(0)?;
    let results = std::thread::scope(|scope| {
        let mapping = victim.kill_child(worker, || scope.spawn(|| pool.map(negate, NUMBERS)), |mapping| mapping.is_finished());
        mapping.join().map_err(|_| "the call panicked")
    })?;
    let results = match results {
        Ok(values) => values.into_iter().map(Ok).collect(),
        Err(MapError::Tasks { results }) => results,
        Err(error) => return Err(text(error)),
    };
    ends_well(pool)?;
    let began: Vec<u64> = began.try_iter().collect();
    let mut died = 0;
    for (number, result) in NUMBERS.into_iter().zip(&results) {
        match result {
            Ok(value) if *value == !number && began.contains(&number) => {}
            Err(TaskError::WorkerDied { attempts: 1, .. }) => died += 1,
            other => return Err(format!("task {number} of a chunk ended with {other:?}")),
        }
    }
    if results.len() == NUMBERS.len() && died <= 1 { Ok(()) } else { Err(format!("one worker died: {results:?}")) }
}
