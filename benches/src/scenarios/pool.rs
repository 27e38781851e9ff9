//! Pools of worker processes. Starting the workers is not part of the time.

use super::python;
use crate::measure::{Peer, Scenario, per_operation};
use anyhow::Result;
use multiproc::Pool;
use rayon::prelude::*;
use std::time::{Duration, Instant};

fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

fn empty(n: u64) -> u64 {
    n
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn micro(n: u64) -> u64 {
    spin(Duration::from_micros(1));
    n
}

fn hundred_micros(n: u64) -> u64 {
    spin(Duration::from_micros(100));
    n
}

fn ten_millis(n: u64) -> u64 {
    spin(Duration::from_millis(10));
    n
}

fn large(_: u64) -> Vec<u8> {
    vec![7; 64 << 10]
}

/// Seconds per task of what `run` does with a pool that has started.
fn timed(n: u64, run: impl FnOnce(&Pool) -> Result<()>) -> Result<f64> {
    let pool = Pool::new(workers())?;
    pool.map(empty, 0..100)?;
    per_operation(n, || run(&pool))
}

fn mapped(task: fn(&Pool, u64) -> Result<()>) -> impl Fn(u64) -> Result<f64> {
    move |n| timed(n, |pool| task(pool, n))
}

fn python_peer(name: &'static str, what: &'static str, task: &'static str, operations: u64, target: f64) -> Option<Peer> {
    python::is_here("Pool")
        .then(|| Peer::new(name, operations, move |n| python::pool_cost(what, task, workers(), n), target).seldom())
}

/// Threads that share an address space.
fn rayon(task: fn(u64) -> u64) -> impl Fn(u64) -> Result<f64> {
    move |n| {
        per_operation(n, || {
            let results: Vec<u64> = (0..n).into_par_iter().map(task).collect();
            std::hint::black_box(results);
            Ok(())
        })
    }
}

fn procspawn(n: u64) -> Result<f64> {
    let pool = procspawn::Pool::new(workers())?;
    per_operation(n, || {
        // As many under way as ours keeps.
        let mut under_way = std::collections::VecDeque::new();
        for i in 0..n {
            under_way.push_back(procspawn::spawn!(in pool, (i => i) || i));
            if under_way.len() > 96 {
                under_way.pop_front().map(|task| task.join()).transpose()?;
            }
        }
        under_way.into_iter().try_for_each(|task| task.join().map(drop))?;
        Ok(())
    })
}

pub fn all() -> Vec<Scenario> {
    let map_empty = |pool: &Pool, n| pool.map(empty, 0..n).map(drop).map_err(Into::into);
    let imap_empty = |pool: &Pool, n| {
        for result in pool.imap(empty, 0..n) {
            result?;
        }
        Ok(())
    };
    let spawn_empty = |pool: &Pool, n| {
        let tasks: Result<Vec<_>, _> = (0..n).map(|i| pool.spawn(empty, i)).collect();
        for task in tasks? {
            task.wait()?;
        }
        Ok(())
    };
    let imap_large = |pool: &Pool, n| {
        for result in pool.imap(large, 0..n) {
            result?;
        }
        Ok(())
    };
    let executor = "CPython ProcessPoolExecutor";
    let [in_chunks, one_by_one, all_at_once, large_results] = [
        vec![python_peer("CPython mp.Pool", "map", "empty", 1_000_000, 20.0)],
        vec![
            python_peer("CPython mp.Pool", "imap", "empty", 20_000, 60.0),
            python_peer(executor, "executor", "empty", 10_000, 60.0),
            Some(Peer::new("procspawn pool", 5_000, procspawn, 20.0)),
        ],
        vec![python_peer("CPython mp.Pool, apply_async", "apply", "empty", 20_000, 60.0)],
        vec![python_peer("CPython mp.Pool", "imap", "large", 5_000, 2.0)],
    ];
    let of_length = |name, operations, ours: fn(&Pool, u64) -> Result<()>, task, length, python: u64, limit, target| {
        let peers = python_peer("CPython mp.Pool", "map", length, python, target);
        let threads = Peer::limit("rayon (threads)", operations, rayon(task), limit);
        Scenario::timed(name, operations, mapped(ours), peers.into_iter().chain([threads]))
    };
    vec![
        Scenario::timed("Pool::map, empty tasks", 5_000_000, mapped(map_empty), in_chunks.into_iter().flatten()),
        Scenario::timed("Pool::imap, empty tasks one by one", 500_000, mapped(imap_empty), one_by_one.into_iter().flatten()),
        Scenario::timed("Pool::spawn, empty tasks, then wait", 300_000, mapped(spawn_empty), all_at_once.into_iter().flatten()),
        Scenario::timed("Pool::imap, results of 64 KiB", 10_000, mapped(imap_large), large_results.into_iter().flatten()),
        of_length(
            "Pool::map, tasks of 1 us",
            1_000_000,
            |pool, n| pool.map(micro, 0..n).map(drop).map_err(Into::into),
            micro,
            "1",
            200_000,
            1.5,
            1.0,
        ),
        of_length(
            "Pool::map, tasks of 100 us",
            10_000,
            |pool, n| pool.map(hundred_micros, 0..n).map(drop).map_err(Into::into),
            hundred_micros,
            "100",
            10_000,
            1.25,
            0.9,
        ),
        of_length(
            "Pool::map, tasks of 10 ms",
            200,
            |pool, n| pool.map(ten_millis, 0..n).map(drop).map_err(Into::into),
            ten_millis,
            "10000",
            200,
            1.25,
            0.9,
        ),
    ]
}
