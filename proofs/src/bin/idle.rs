//! Measures the processor time of 16 processes that wait in `get`, `join` and `recv`: it is next to nothing.
//!
//! `cargo run --release -p multiproc-proofs --bin idle -- 10`

use multiproc::{Connection, JoinableQueue, Process, Queue, pipe};
use std::time::Duration;

type Handles = (Queue<u64>, JoinableQueue<u64>, Connection<u64>, u64);

fn wait((q, jobs, connection, number): Handles) {
    match number % 3 {
        0 => drop(q.get()),
        1 => drop(jobs.join()),
        _ => drop(connection.recv()),
    }
}

/// Nanoseconds that all threads of a process spent on a processor.
fn on_processor(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let times = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    times.filter_map(|times| times.split(' ').next()?.parse::<u64>().ok()).sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(10), |n| n.parse())?;
    let (q, jobs) = (Queue::<u64>::bounded(8)?, JoinableQueue::<u64>::unbounded()?);
    jobs.put(1)?;
    let mut ours = Vec::new();
    let mut processes = Vec::new();
    for number in 0..16 {
        let (mine, theirs) = pipe()?;
        ours.push(mine);
        processes.push(Process::spawn(wait, (q.clone(), jobs.clone(), theirs, number))?);
    }
    // By then each process has slept in vain once. From then on it rests.
    std::thread::sleep(Duration::from_millis(1000));
    let total = || processes.iter().map(|process| on_processor(process.pid())).sum::<u64>();
    let before = total();
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (total() - before) as f64 / (seconds as f64 * 1e9);
    println!("16 waiting processes used {:.4} % of one processor together", share * 100.0);
    for process in &processes {
        process.kill()?;
    }
    assert!(before > 0, "the system does not tell processor times");
    assert!(share < 0.0005, "waiting costs processor time");
    println!("idle: 16 cases, 0 failed");
    Ok(())
}
