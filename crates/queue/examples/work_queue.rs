//! Jobs that have to be done, not only got, shared by three threads.

use multiproc_queue::{JoinableQueue, Queue};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jobs = JoinableQueue::unbounded()?;
    let results = Queue::unbounded()?;
    for _ in 0..3 {
        let (jobs, results) = (jobs.clone(), results.clone());
        std::thread::spawn(move || {
            while let Ok(number) = jobs.get() {
                let number: u64 = number;
                results.put(number * number).expect("the queue is open");
                jobs.task_done().expect("a job is in hand");
            }
        });
    }
    jobs.put_many(1..=10)?;
    jobs.join()?;
    jobs.shutdown();
    let mut squares = results.get_many(10)?;
    squares.sort_unstable();
    println!("{squares:?}");
    Ok(())
}
