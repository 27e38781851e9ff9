//! One segment mapped twice, a stranger refused, and a place in its table.

use multiproc_shm::{Kind, Segment, Spec};
use std::os::fd::AsFd;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec = Spec { kind: Kind(*b"DEMO"), len: 4096, participants: 4, geometry: [0; 8] };
    let ours = Segment::create(&spec)?;
    let theirs = Segment::attach(ours.as_fd().try_clone_to_owned()?, Kind(*b"DEMO"))?;
    let at = ours.content_at();
    assert!(ours.region().bytes(at, 5)?.write(b"hello"));
    let mut copy = [0; 5];
    assert!(theirs.region().bytes(at, 5)?.read(&mut copy));
    println!("{}", String::from_utf8_lossy(&copy));

    let refused = Segment::attach(ours.as_fd().try_clone_to_owned()?, Kind(*b"ELSE"));
    println!("{}", refused.expect_err("it is of another kind"));

    let member = ours.participants().ok_or("it has a table")?.join()?;
    println!("row {}, epoch {}", member.participant().row, member.participant().epoch);
    member.leave();
    Ok(())
}
