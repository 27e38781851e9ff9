//! A value with an open file inside it, from one end of a socket pair to the other.
//!
//! `cargo run -p multiproc-travel --example hand_over`

use multiproc_travel::Link;
use multiproc_travel::pass::{self, Descriptor};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (ours, theirs) = Link::pair()?;
    let receiver = std::thread::spawn(move || -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let (bytes, descriptors) = theirs.receive(1 << 20, 8, true)?;
        let (name, file): (String, Descriptor) = pass::decode(&bytes, descriptors)?;
        let mut file = std::fs::File::from(OwnedFd::from(file));
        file.rewind()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(format!("{name}: {text}"))
    });

    let path = std::env::temp_dir().join(format!("hand-over-{}", std::process::id()));
    let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(b"written before it was sent")?;
    let parcel = pass::encode(&("a file without a name".to_string(), Descriptor::from(OwnedFd::from(file))))?;
    ours.send(&parcel.bytes, &parcel.descriptors)?;
    parcel.sent();

    println!("{}", receiver.join().expect("it does not panic").map_err(|error| error.to_string())?);
    Ok(())
}
