//! One worker, for one machine or for many: `worker local` or `worker nats://127.0.0.1:4222/jobs`.

use multiproc_nats::{RemoteQueue, WorkDelivery, WorkError, WorkErrorKind, WorkQueue};
use multiproc_queue::JoinableQueue;
use std::error::Error;

type Job = u64;

fn worker(jobs: impl WorkQueue<Job>) -> Result<Job, Box<dyn Error>> {
    let mut sum = 0;
    loop {
        match jobs.get_delivery() {
            Ok(job) => sum += job.done()?,
            Err(end) if end.kind() == WorkErrorKind::ShutDown => return Ok(sum),
            Err(error) => return Err(error.into()),
        }
    }
}

fn run(jobs: impl WorkQueue<Job>) -> Result<(), Box<dyn Error>> {
    let workers: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn({
                let jobs = jobs.clone();
                move || worker(jobs).map_err(|error| error.to_string())
            })
        })
        .collect();
    for n in 1..=100 {
        jobs.put(n)?;
    }
    jobs.join()?;
    jobs.shutdown()?;
    let mut sum = 0;
    for worker in workers {
        sum += worker.join().map_err(|_| "a worker panicked")??;
    }
    println!("the sum is {sum}");
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None | Some("local") => run(JoinableQueue::unbounded()?),
        Some(address) => run(RemoteQueue::connect(address)?),
    }
}
