//! A producer that has ended before its consumer starts. (The tutorial's communication_demo2.py.)
//!
//! A put writes its value into shared memory before it returns. So the values stay when the producer's process is gone.

use multiproc::prelude::*;

type Failure = Box<dyn std::error::Error>;

fn produce(q: Queue<String>) -> Result<(), Failure> {
    for i in 1..=3 {
        q.put(format!("value {i}"))?;
    }
    Ok(())
}

fn consume(q: Queue<String>) -> Result<(), Failure> {
    loop {
        match q.try_get() {
            Ok(value) => println!("got {value}"),
            Err(GetError::Empty) => break,
            Err(error) => return Err(error.into()),
        }
    }
    println!("that was all");
    Ok(())
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let q = Queue::unbounded()?;
    Process::spawn(produce, q.clone())?.join()?;
    Process::spawn(consume, q)?.join()?;
    Ok(())
}
