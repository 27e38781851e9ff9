//! A value with an open file inside it, from one process to another.
//!
//! `cargo run -p multiproc-travel --example hand_over`

use multiproc_travel::Link;
use multiproc_travel::pass::{self, Descriptor};
use std::error::Error;
use std::io::{Read, Seek, Write, stdin};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("child") {
        return child();
    }
    let (ours, theirs) = Link::pair()?;
    let end = Stdio::from(OwnedFd::from(theirs));
    let mut child = Command::new(std::env::current_exe()?).arg("child").stdin(end).spawn()?;

    let path = std::env::temp_dir().join(format!("hand-over-{}", std::process::id()));
    let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(b"written before it was sent")?;
    let parcel = pass::encode(&("a file without a name".to_string(), Descriptor::from(OwnedFd::from(file))))?;
    ours.send(&parcel.bytes, &parcel.descriptors)?;
    parcel.sent();

    if child.wait()?.success() { Ok(()) } else { Err("the child failed".into()) }
}

fn child() -> Result<(), Box<dyn Error>> {
    // Its end of the link came as standard input.
    let link = Link::from_descriptor(stdin().as_fd().try_clone_to_owned()?);
    let (bytes, descriptors) = link.receive(1 << 20, 8, true)?;
    let (name, file): (String, Descriptor) = pass::decode(&bytes, descriptors)?;
    let mut file = std::fs::File::from(OwnedFd::from(file));
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    println!("{name}: {text}");
    Ok(())
}
