//! Five processes compute, and a queue brings the results back.

use multiproc::prelude::*;

type Failure = Box<dyn std::error::Error>;

/// A target takes one argument. Several values go as a tuple.
fn square((n, results): (u64, Queue<u64>)) -> Result<(), Failure> {
    println!("{} computes the square of {n}", current_process().name());
    results.put(n * n)?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let results = Queue::unbounded()?;
    let mut processes = Vec::new();
    for n in 1..=5 {
        processes.push(Process::spawn(square, (n, results.clone()))?);
    }
    for process in processes {
        process.join()?;
    }

    // Each result was in the queue before its process ended. Python's `empty()` promises less.
    let mut squares = Vec::new();
    while !results.is_empty() {
        squares.push(results.get()?);
    }
    squares.sort_unstable();
    println!("{squares:?}");
    Ok(())
}
