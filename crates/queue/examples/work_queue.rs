//! A work queue that survives its workers: one of them crashes with a job in hand, and another one gets the job.

use multiproc_queue::{GetError, JoinableQueue, OpenError, remove_queue};
use std::error::Error;
use std::process::Command;

/// Opens the queue, or makes it if this process is the first.
fn open(name: &str) -> Result<JoinableQueue<u64>, OpenError> {
    JoinableQueue::builder().named(name).max_deliveries(3).open_or_create()
}

/// A worker: does jobs until the queue is shut down.
fn work(name: &str) -> Result<(), Box<dyn Error>> {
    let jobs = open(name)?;
    loop {
        let job = match jobs.get_delivery() {
            Ok(job) => job,
            Err(GetError::ShutDown) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if *job == 3 && job.count() == 1 {
            println!("worker {} crashes at job {}", std::process::id(), *job);
            std::process::abort();
        }
        println!("worker {}: {}² = {}, delivery {}", std::process::id(), *job, *job * *job, job.count());
        job.done();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(name) = std::env::args().nth(1) {
        return work(&name);
    }
    let name = format!("work-queue-{}", std::process::id());
    let jobs = open(&name)?;
    let program = std::env::current_exe()?;
    let workers = (0..3).map(|_| Command::new(&program).arg(&name).spawn()).collect::<Result<Vec<_>, _>>()?;
    jobs.put_many(1..=10)?;
    jobs.join()?;
    println!("all jobs are done");
    jobs.shutdown();
    for mut worker in workers {
        worker.wait()?;
    }
    remove_queue(&name)?;
    Ok(())
}
