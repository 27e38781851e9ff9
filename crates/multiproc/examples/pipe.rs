//! One message through a pipe, to a child process that prints it.
//!
//! Python: `conn1, conn2 = Pipe(); conn1.send("hello"); print(conn2.recv())`

use multiproc::prelude::*;

/// Runs in the child process. Its end of the pipe arrives as an argument.
fn child(connection: Connection<String>) -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", connection.recv()?);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In a child process this call runs `child` and never returns.
    let _main = init();
    let (ours, theirs) = pipe::<String>()?;
    let process = Process::spawn(child, theirs)?;
    ours.send(&"hello".to_string())?;
    process.join()?;
    Ok(())
}
