//! Spawns a process, exchanges messages and joins it, again and again. Nothing is left over.
//!
//! `cargo run --release -p multiproc-proofs --bin rounds -- 1000`

use multiproc::{Connection, JoinableQueue, Process, Queue, active_children, pipe};

type Handles = (Connection<u64>, Queue<u64>, JoinableQueue<String>);

fn child((connection, q, jobs): Handles) {
    let number = connection.recv().unwrap();
    q.put(number + 1).unwrap();
    assert_eq!(jobs.get().unwrap(), "job");
    jobs.task_done().unwrap();
}

fn round(number: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = pipe()?;
    let (q, jobs) = (Queue::bounded(2)?, JoinableQueue::unbounded()?);
    let process = Process::spawn(child, (theirs, q.clone(), jobs.clone()))?;
    ours.send(&number)?;
    jobs.put("job".into())?;
    assert_eq!(q.get()?, number + 1);
    jobs.join().unwrap();
    assert!(process.join()?.success());
    Ok(())
}

/// Open descriptors, mapped segments, resident memory in KiB, and files in shared memory that are ours.
fn left() -> std::io::Result<(usize, usize, usize, usize)> {
    let descriptors = std::fs::read_dir("/proc/self/fd")?.count();
    let maps = std::fs::read_to_string("/proc/self/maps")?.matches("multiproc-").count();
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4;
    let files = std::fs::read_dir("/dev/shm")?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("multiproc"))
        .count();
    Ok((descriptors, maps, resident, files))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let rounds: u64 = std::env::args().nth(1).map_or(Ok(1000), |n| n.parse())?;
    for number in 0..20 {
        round(number)?;
    }
    let before = left()?;
    let begin = std::time::Instant::now();
    for number in 0..rounds {
        round(number)?;
    }
    let took = begin.elapsed();
    let after = left()?;
    println!("descriptors, maps, resident KiB, files: {before:?} before, {after:?} after");
    println!("{:.2} ms a round", took.as_secs_f64() * 1e3 / rounds as f64);
    assert_eq!((before.0, before.1, before.3), (after.0, after.1, after.3), "something is left over");
    assert!(after.2 < before.2 + 1024, "memory grows");
    assert!(active_children().is_empty(), "a process is left over");
    println!("rounds: {rounds} cases, 0 failed");
    Ok(())
}
