//! Counts how often 16 processes that wait in `get`, `join` and `recv` wake up, and their processor time: it is next to nothing.
//!
//! The count is what is strict. What one wake-up costs is up to the machine: 30 microseconds on most, a millisecond on a virtual
//! processor that others used meanwhile.
//!
//! `cargo run --release -p multiproc-proofs --bin idle -- 10`

use multiproc::{Connection, JoinableQueue, Process, Queue, pipe};
use std::time::Duration;

type Handles = (Queue<u64>, JoinableQueue<u64>, Connection<u64>, Queue<u64>, u64);

fn wait((q, jobs, connection, begun, number): Handles) {
    drop(begun.put(number));
    match number % 3 {
        0 => drop(q.get()),
        1 => drop(jobs.join()),
        _ => drop(connection.recv()),
    }
}

/// How often all threads of a process got a processor, and for how many nanoseconds.
fn on_processor(pid: u32) -> (u64, u64) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).ok());
    // Time on a processor, time spent waiting for one, turns.
    let turns = texts.filter_map(|text| {
        let mut numbers = text.split_whitespace().map_while(|number| number.parse::<u64>().ok());
        let time = numbers.next()?;
        Some((numbers.nth(1)?, time))
    });
    turns.fold((0, 0), |(turns, time), (more, longer)| (turns + more, time + longer))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(10), |n| n.parse())?;
    let (q, jobs, begun) = (Queue::<u64>::bounded(8)?, JoinableQueue::<u64>::unbounded()?, Queue::<u64>::bounded(16)?);
    jobs.put(1)?;
    let mut ours = Vec::new();
    let mut processes = Vec::new();
    for number in 0..16 {
        let (mine, theirs) = pipe()?;
        ours.push(mine);
        processes.push(Process::spawn(wait, (q.clone(), jobs.clone(), theirs, begun.clone(), number))?);
    }
    for _ in 0..16 {
        begun.get()?;
    }
    // By then each process has slept in vain once. From then on it rests.
    std::thread::sleep(Duration::from_millis(1000));
    let total = || {
        let each = processes.iter().map(|process| on_processor(process.pid()));
        each.fold((0, 0), |(turns, time), (more, longer)| (turns + more, time + longer))
    };
    let before = total();
    std::thread::sleep(Duration::from_secs(seconds));
    let after = total();
    assert!(processes.iter().all(|process| process.is_alive()), "a process that waits has ended");
    let turns = (after.0 - before.0) as f64 / seconds as f64;
    let share = (after.1 - before.1) as f64 / (seconds as f64 * 1e9);
    println!("16 waiting processes woke {turns:.1} times a second together and used {:.4} % of one processor", share * 100.0);
    for process in &processes {
        process.kill()?;
    }
    assert!(before.0 > 0 && before.1 > 0, "the system does not tell processor times");
    assert!(turns < 12.0, "those who wait wake up for nothing");
    assert!(share < 0.01, "waiting costs processor time");
    println!("idle: 16 cases, 0 failed");
    Ok(())
}
