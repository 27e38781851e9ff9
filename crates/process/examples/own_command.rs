//! A program that was started by a `std::process::Command` of one's own gets a value and an end of a pipe.
//!
//! The program here is the same one in another role; it could be any that uses `multiproc-pipe`.

use multiproc_pipe::{Sender, pipe_oneway};
use multiproc_travel::{Link, pass};
use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

type Arguments = (u32, Sender<String>);

fn parent() -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = Link::pair()?;
    let program = std::env::current_exe()?;
    // The program finds the other end of the link as its standard input.
    let mut child = Command::new(program).arg("other").stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    let (answers, end): (_, Sender<String>) = pipe_oneway()?;
    let parcel = pass::encode(&(7, end))?;
    ours.send(&parcel.bytes, &parcel.descriptors)?;
    // The end of the pipe is the other program's from here on.
    parcel.sent();
    println!("{}", answers.recv()?);
    assert!(child.wait()?.success());
    Ok(())
}

fn other() -> Result<(), Box<dyn Error>> {
    let link = Link::from_descriptor(std::io::stdin().as_fd().try_clone_to_owned()?);
    // At most 1 MiB and 16 descriptors.
    let (bytes, descriptors) = link.receive(1 << 20, 16, true)?;
    let (number, answers): Arguments = pass::decode(&bytes, descriptors)?;
    answers.send(&format!("the other program got {number}"))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).is_some() { other() } else { parent() }
}
