//! Workers killed at random times under load, and replaced: nothing is lost, and nothing doubled without a raised count.
//!
//! `cargo run --release --example storm -- 10000`

use multiproc::{JoinableQueue, Process, Queue};
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// With this process, which puts jobs and collects results, eight.
const WORKERS: usize = 7;
/// Small, so that blocks that leak are missed soon.
const MEMORY: u64 = 2 << 20;

type Jobs = JoinableQueue<u64>;
type Results = Queue<(u64, u16)>;

fn work((jobs, results): (Jobs, Results)) {
    while let Ok(job) = jobs.get_delivery() {
        results.put((*job, job.count())).unwrap();
        job.done();
    }
}

/// Messages for which there is memory now.
fn free_blocks(jobs: &Jobs) -> usize {
    std::iter::from_fn(|| jobs.try_loan(1).ok()).collect::<Vec<_>>().len()
}

fn start(jobs: &Jobs, results: &Results) -> Process {
    Process::spawn(work, (jobs.clone(), results.clone())).unwrap()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let kills: u64 = std::env::args().nth(1).map_or(Ok(300), |n| n.parse())?;
    let new_jobs = || JoinableQueue::builder().bounded(64).memory(MEMORY).max_message(1000).build();
    let jobs: Jobs = new_jobs()?;
    let results: Results = Queue::builder().bounded(64).memory(MEMORY).max_message(1000).build()?;
    let fresh = free_blocks(&new_jobs()?);

    let feeder = {
        let jobs = jobs.clone();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                jobs.put(next).unwrap();
                next += 1;
            }
            next
        });
        (thread, stop)
    };
    let collector = {
        let results = results.clone();
        std::thread::spawn(move || {
            let mut seen: HashMap<u64, HashSet<u16>> = HashMap::new();
            let mut doubled = 0;
            while let Ok((job, deliveries)) = results.get() {
                doubled += u64::from(!seen.entry(job).or_default().insert(deliveries));
            }
            (seen, doubled)
        })
    };

    let begin = Instant::now();
    let mut workers: Vec<Process> = (0..WORKERS).map(|_| start(&jobs, &results)).collect();
    let random = RandomState::new();
    for kill in 0..kills {
        let dice = random.hash_one(kill);
        std::thread::sleep(Duration::from_micros(dice % 3000));
        let victim = &mut workers[dice as usize / 7 % WORKERS];
        victim.kill()?;
        victim.join()?;
        *victim = start(&jobs, &results);
    }
    feeder.1.store(true, std::sync::atomic::Ordering::Relaxed);
    let put = feeder.0.join().unwrap();
    jobs.join_timeout(Duration::from_secs(60))?;
    let took = begin.elapsed();
    // The last ones who died may not be accounted for yet: this waits in vain, and looks around meanwhile.
    let _ = jobs.get_timeout(Duration::from_millis(100));
    let free = free_blocks(&jobs);
    jobs.shutdown();
    for worker in workers {
        assert!(worker.join()?.is_success());
    }
    results.shutdown();
    let (seen, doubled) = collector.join().unwrap();
    let again: usize = seen.values().map(|counts| counts.len() - 1).sum();
    let missing = put - seen.len() as u64;
    println!(
        "{put} jobs, {kills} kills in {:.1} s; delivered again: {again}; lost between result and done: {}",
        took.as_secs_f64(),
        results.lost()
    );
    assert_eq!((missing, doubled), (0, 0), "jobs lost, jobs doubled without a raised count");
    assert!(jobs.is_empty() && jobs.unfinished() == 0);
    assert_eq!(free, fresh, "blocks of memory that are free");
    println!("storm: {kills} cases, 0 failed");
    Ok(())
}
