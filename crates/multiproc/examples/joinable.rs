//! Daemon consumers say what is done, and the producer waits until everything is. (The tutorial's JoinableQueue.)

use multiproc::prelude::*;
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

fn consumer(q: JoinableQueue<String>) -> Result<(), Failure> {
    loop {
        let bun = q.get()?;
        std::thread::sleep(Duration::from_millis(50));
        println!("{} ate {bun}", current_process().name());
        // `join` counts the bun until here. If this process dies earlier, another consumer gets the bun.
        q.task_done()?;
    }
}

fn producer(q: JoinableQueue<String>) -> Result<(), Failure> {
    for i in 0..10 {
        q.put(format!("bun {i}"))?;
    }
    q.join()?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let q = JoinableQueue::unbounded()?;
    let producer = Process::spawn(producer, q.clone())?;
    for _ in 0..10 {
        // A daemon is ended when `main` ends. Nobody has to wait for it.
        Process::builder().daemon(true).spawn(consumer, q.clone())?;
    }
    producer.join()?;
    println!("everything is eaten");
    Ok(())
}
