//! A supervised group of workers: one is killed by its job, another one takes its place, and the job is done all the same.

use multiproc::prelude::*;

fn work((jobs, results): (JoinableQueue<u32>, Queue<u32>)) {
    // Until the queue is shut down and every job is done.
    while let Ok(job) = jobs.get_delivery() {
        if *job == 7 && job.count() == 1 {
            std::process::abort();
        }
        if results.put(*job * 10).is_ok() {
            job.done();
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = init();
    let (jobs, results) = (JoinableQueue::unbounded()?, Queue::unbounded()?);
    let workers = Workers::builder().count(2).name("server").spawn(work, (jobs.clone(), results.clone()))?;
    jobs.put_many(0..20)?;
    jobs.join()?;

    jobs.shutdown();
    workers.drain();
    workers.join()?;
    for end in workers.history() {
        println!("worker {} ended with {}", end.worker, end.exit);
    }
    let mut done: Vec<u32> = results.try_iter().collect();
    done.sort_unstable();
    assert_eq!(done, (0..20).map(|job| job * 10).collect::<Vec<_>>());
    Ok(())
}
