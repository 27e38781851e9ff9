//! A pipeline of three processes: numbers, their squares, the sum. Bounded queues hold a fast stage back.
//!
//! Each stage ends when the stage before it is gone, after it has taken what is left. And if a stage fails, the stages before it
//! end, too: their sends fail, since no receiver is left.

use multiproc::prelude::*;

type Failure = Box<dyn std::error::Error>;

fn numbers(out: queue::Sender<u64>) -> Result<(), Failure> {
    for n in 1..=1000 {
        // Waits while the next stage is 16 numbers behind.
        out.send(n)?;
    }
    // The sender is dropped here. The next stage still gets what is in the queue.
    Ok(())
}

fn squares((input, out): (queue::Receiver<u64>, queue::Sender<u64>)) -> Result<(), Failure> {
    for n in input {
        out.send(n * n)?;
    }
    Ok(())
}

fn sum(input: queue::Receiver<u64>) {
    println!("the sum of the squares is {}", input.into_iter().sum::<u64>());
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let (to_squares, from_numbers) = Queue::bounded(16)?.split()?;
    let (to_sum, from_squares) = Queue::bounded(16)?.split()?;
    // The handles move into the stages: this process keeps none, which would keep a stage waiting.
    let stages = [
        Process::builder().name("numbers").spawn(numbers, to_squares)?,
        Process::builder().name("squares").spawn(squares, (from_numbers, to_sum))?,
        Process::builder().name("sum").spawn(sum, from_squares)?,
    ];
    for stage in stages {
        println!("{} ended with {}", stage.name(), stage.join()?);
    }
    Ok(())
}
