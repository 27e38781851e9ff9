//! Processes that wait cost nothing: processor time of 16 of them, parked in `get`, `join` and `recv`.
//!
//! `cargo run --release --example idle -- 10`

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

/// Clock ticks that a process has used, in user and kernel mode.
fn ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Nanoseconds on a processor, more precisely than in ticks, of the first thread.
fn on_processor(pid: u32) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?.split(' ').next()?.parse().ok()
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
    std::thread::sleep(Duration::from_millis(500));
    let total =
        || processes.iter().filter_map(|p| on_processor(p.pid()).or_else(|| Some(ticks(p.pid())? * 10_000_000))).sum::<u64>();
    let before = total();
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (total() - before) as f64 / (seconds as f64 * 1e9);
    println!("16 waiting processes used {:.3} % of one processor together", share * 100.0);
    for process in &processes {
        process.kill()?;
    }
    assert!(share < 0.01, "waiting costs processor time");
    println!("idle: 16 cases, 0 failed");
    Ok(())
}
