//! The program in the project's README.

use multiproc::{Process, Queue};

fn work(q: Queue<String>) -> Result<(), Box<dyn std::error::Error>> {
    q.put(format!("hello from {}", multiproc::current_process().name()))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let q = Queue::unbounded()?;
    let process = Process::spawn(work, q.clone())?;
    println!("{}", q.get()?);
    process.join()?;
    Ok(())
}
