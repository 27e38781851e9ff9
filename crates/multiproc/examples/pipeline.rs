//! A pipeline of three processes: numbers, their squares, the sum. Bounded queues hold a fast stage back.

use multiproc::prelude::*;

type Failure = Box<dyn std::error::Error>;

fn numbers(out: Queue<u64>) -> Result<(), Failure> {
    for n in 1..=1000 {
        // Waits while the next stage is 16 numbers behind.
        out.put(n)?;
    }
    // No more puts. The next stage still gets what is in the queue, then `ShutDown`.
    out.shutdown();
    Ok(())
}

fn squares((input, out): (Queue<u64>, Queue<u64>)) -> Result<(), Failure> {
    while let Some(n) = next(&input)? {
        out.put(n * n)?;
    }
    out.shutdown();
    Ok(())
}

fn sum(input: Queue<u64>) -> Result<(), Failure> {
    let mut total = 0;
    while let Some(n) = next(&input)? {
        total += n;
    }
    println!("the sum of the squares is {total}");
    Ok(())
}

/// The next value, or `None` at the end.
fn next(input: &Queue<u64>) -> Result<Option<u64>, GetError> {
    match input.get() {
        Ok(value) => Ok(Some(value)),
        Err(GetError::ShutDown) => Ok(None),
        Err(error) => Err(error),
    }
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let (first, second) = (Queue::bounded(16)?, Queue::bounded(16)?);
    let stages = [
        Process::builder().name("numbers").spawn(numbers, first.clone())?,
        Process::builder().name("squares").spawn(squares, (first, second.clone()))?,
        Process::builder().name("sum").spawn(sum, second)?,
    ];
    for stage in stages {
        println!("{} ended with {}", stage.name(), stage.join()?);
    }
    Ok(())
}
