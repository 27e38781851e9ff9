//! The cost of what does nothing: attached processes, queued messages, waiting processes.

use crate::growth::depth_cost;
use crate::measure::{Peer, Scenario, Unit};
use crate::scenarios::message::{Word, through};
use anyhow::Result;
use multiproc::{Process, Queue};
use std::time::Duration;

pub fn all() -> Vec<Scenario> {
    let (n, m) = (2_000_000, 1_000_000);
    let thousand = || [Peer::limit("1,000 queued", n, |n| depth_cost(1000, n), 1.25)];
    let alone = || [Peer::limit("2 attached", m, |n| cost(0, n), 1.1)];
    vec![
        Scenario::timed("1 message queued", n, |n| depth_cost(1, n), thousand()),
        Scenario::timed("1,000,000 queued", n, |n| depth_cost(1_000_000, n), thousand()),
        Scenario::timed("16 processes attached, 2 active", m, |n| cost(14, n), alone()),
        Scenario::timed("64 processes attached, 2 active", m, |n| cost(62, n), alone()),
        Scenario::timed("16 processes parked", 10, idle, [Peer::at_most("0.02 % of a processor", 0.0002)])
            .unit(Unit::Share)
            .most_rounds(3),
    ]
}

/// Keeps the queue attached, and waits at another one.
fn be_there((_there, ready, end): (Queue<u64>, Queue<()>, Queue<()>)) {
    ready.put(()).unwrap();
    let _ = end.get();
}

/// Seconds per message between two processes while so many others are attached.
pub fn cost(others: u64, n: u64) -> Result<f64> {
    let q = Queue::bounded(1024)?;
    let (ready, end) = (Queue::bounded(256)?, Queue::bounded(256)?);
    let spawn = |_| Process::spawn(be_there, (q.clone(), ready.clone(), end.clone()));
    let processes: Vec<Process> = (0..others).map(spawn).collect::<Result<_, _>>()?;
    for _ in &processes {
        ready.get()?;
    }
    let cost = through::<Word>(&q, n);
    end.shutdown();
    for process in processes {
        process.join()?;
    }
    cost
}

fn wait((ready, q): (Queue<()>, Queue<u64>)) {
    ready.put(()).unwrap();
    let _ = q.get();
}

/// The part of a processor that 16 waiting processes use, over so many seconds.
fn idle(seconds: u64) -> Result<f64> {
    let (ready, q) = (Queue::bounded(16)?, Queue::<u64>::bounded(8)?);
    let processes: Vec<_> = (0..16).map(|_| Process::spawn(wait, (ready.clone(), q.clone()))).collect::<Result<_, _>>()?;
    for _ in &processes {
        ready.get()?;
    }
    std::thread::sleep(Duration::from_millis(500));
    // Of all their threads.
    let used = || -> Result<u64> {
        let mut sum = 0;
        for process in &processes {
            for thread in std::fs::read_dir(format!("/proc/{}/task", process.pid()))? {
                let schedstat = std::fs::read_to_string(thread?.path().join("schedstat"))?;
                sum += schedstat.split(' ').next().unwrap_or("0").parse::<u64>()?;
            }
        }
        Ok(sum)
    };
    let before = used()?;
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (used()? - before) as f64 / (seconds as f64 * 1e9);
    q.shutdown();
    for process in processes {
        process.join()?;
    }
    Ok(share)
}
