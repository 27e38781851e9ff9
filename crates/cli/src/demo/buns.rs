//! 生产者消费者模型: one producer, ten consumers, and an end mark for each consumer.

use super::pace::{Pace, sleep_randomly};
use super::say;
use anyhow::Result;
use multiproc::{Process, Queue, current_process};

type Buns = Queue<Option<String>>;

fn consumer((q, pace): (Buns, Pace)) -> Result<()> {
    while let Some(bun) = q.get()? {
        sleep_randomly(pace);
        say!("进程{}吃{bun}", current_process().name());
    }
    Ok(())
}

fn producer((q, pace): (Buns, Pace)) -> Result<()> {
    for i in 0..10 {
        sleep_randomly(pace);
        let bun = format!("包子{i}");
        q.put(Some(bun.clone()))?;
        say!("进程{}生产了{bun}", current_process().name());
    }
    Ok(())
}

pub(crate) fn main(pace: Pace) -> Result<()> {
    let q = Queue::unbounded()?;
    let producer = Process::spawn(producer, (q.clone(), pace))?;
    let mut consumers = Vec::new();
    for _ in 0..10 {
        consumers.push(Process::spawn(consumer, (q.clone(), pace))?);
    }

    let produced = super::join_all([&producer]);
    // The consumers wait for their end marks even if the producer has failed.
    for _ in &consumers {
        q.put(None)?;
    }
    super::join_all(&consumers)?;
    produced
}
