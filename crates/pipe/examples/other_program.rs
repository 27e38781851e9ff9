//! A pipe to a process that you start yourself with `std::process::Command`. Here it is this same program. Another program that names the
//! same types does as well.

use multiproc_pipe::Connection;
use std::error::Error;
use std::process::{Command, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("worker") {
        return work();
    }
    let (ours, theirs) = Connection::<String, usize>::pair()?;
    let program = std::env::current_exe()?;
    // The worker's standard input is a descriptor with the end inside.
    let mut worker = Command::new(program).arg("worker").stdin(Stdio::from(theirs.to_descriptor()?)).spawn()?;
    for word in ["one", "two", "three"] {
        ours.send(word)?;
        println!("{word} has {} letters", ours.recv()?);
    }
    ours.close();
    println!("the worker ended with {}", worker.wait()?);
    Ok(())
}

fn work() -> Result<(), Box<dyn Error>> {
    let end = Connection::<usize, String>::from_descriptor(std::io::stdin())?;
    while let Ok(word) = end.recv() {
        end.send(&word.chars().count())?;
    }
    Ok(())
}
