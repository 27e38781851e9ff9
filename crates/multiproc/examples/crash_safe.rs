//! A work queue that survives its workers: one is killed with SIGKILL, and its job is delivered again.

use multiproc::prelude::*;

type Failure = Box<dyn std::error::Error>;
type Jobs = JoinableQueue<String>;

/// Takes a job, says so, and never finishes it: this worker hangs.
fn hang((jobs, taken): (Jobs, Queue<String>)) -> Result<(), Failure> {
    taken.put(jobs.get()?)?;
    loop {
        std::thread::park();
    }
}

/// Does jobs until the queue is shut down.
fn work(jobs: Jobs) -> Result<(), Failure> {
    loop {
        let delivery = match jobs.get_delivery() {
            Ok(delivery) => delivery,
            Err(GetError::ShutDown) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // A count above 1 says that another worker had the job before: it may have been done in part.
        println!("{}: {}, delivery {}", current_process().name(), *delivery, delivery.count());
        delivery.done();
    }
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let jobs = Jobs::unbounded()?;
    for name in ["wash", "peel", "cook"] {
        jobs.put(name.to_string())?;
    }

    let taken = Queue::unbounded()?;
    let hanging = Process::spawn(hang, (jobs.clone(), taken.clone()))?;
    println!("{} has {} in hand", hanging.name(), taken.get()?);
    hanging.kill()?;
    println!("{} ended with {}", hanging.name(), hanging.join()?);

    let worker = Process::spawn(work, jobs.clone())?;
    // Returns when all three jobs are done, the dead worker's too.
    jobs.join()?;
    println!("all jobs are done");
    jobs.shutdown();
    worker.join()?;
    Ok(())
}
