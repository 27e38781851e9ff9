//! One producer, ten consumers, and one end mark for each consumer. (The tutorial's producer and consumer.)

use multiproc::prelude::*;
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;
/// Python puts `None` as the end mark. In Rust the message is an `Option`.
type Buns = Queue<Option<String>>;

fn consumer(q: Buns) -> Result<(), Failure> {
    while let Some(bun) = q.get()? {
        std::thread::sleep(Duration::from_millis(50));
        println!("{} eats {bun}", current_process().name());
    }
    Ok(())
}

fn producer(q: Buns) -> Result<(), Failure> {
    for i in 0..10 {
        let bun = format!("bun {i}");
        println!("{} makes {bun}", current_process().name());
        q.put(Some(bun))?;
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let q = Queue::unbounded()?;
    let producer = Process::spawn(producer, q.clone())?;
    let mut consumers = Vec::new();
    for _ in 0..10 {
        consumers.push(Process::spawn(consumer, q.clone())?);
    }

    producer.join()?;
    for _ in &consumers {
        q.put(None)?;
    }
    for consumer in consumers {
        consumer.join()?;
    }
    Ok(())
}
