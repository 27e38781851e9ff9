//! 管道: one message through a pipe, to a child that prints it.

use super::say;
use anyhow::Result;
use multiproc::{Connection, Process, pipe};

fn child(connection: Connection<String>) -> Result<()> {
    say!("{}", connection.recv()?);
    Ok(())
}

pub(crate) fn main() -> Result<()> {
    let (ours, theirs) = pipe()?;
    let process = Process::spawn(child, theirs)?;
    ours.send(&"hello".to_string())?;
    super::join_all([&process])
}
