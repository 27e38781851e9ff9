//! Two processes on one ring in a memory map. One is killed with a message in hand; the other one sweeps, and gets the message.

use multiproc_ring::mpmc::{Finished, Geometry, Lane, Mpmc, Orphans, Owner, Unfinished};
use multiproc_shm::{Kind, Segment, Spec};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the memory is for: both processes must say the same.
const KIND: Kind = Kind(*b"RING");
/// Messages lie in blocks, and can come back.
const GEOMETRY: Geometry =
    Geometry { returns: true, small_in_slots: false, memory: 1 << 20, max_message: 1000, ..Geometry::new(16) };
const US: Owner = Owner::new(0, 0);
const WORKER: Owner = Owner::new(1, 0);

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("worker") { worker() } else { parent() }
}

fn parent() -> Result<()> {
    let segment = Segment::create(&Spec::new(KIND, GEOMETRY.region_len()?))?;
    let ring = Mpmc::create(segment.region(), segment.content_at(), &GEOMETRY, US)?;
    ring.push(b"a long job")?;

    // The worker finds the memory behind its standard input.
    let mut worker = Command::new(std::env::current_exe()?)
        .arg("worker")
        .stdin(segment.as_fd().try_clone_to_owned()?)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(worker.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    println!("the worker says: {}", line.trim());
    worker.kill()?;
    // From here on it is surely dead, and nobody has its place: a sweep may take what it held.
    worker.wait()?;

    let again = Orphans::Redeliver { max_deliveries: Some(3), how: Unfinished::Died { pid: worker.id() } };
    let swept = ring.sweep(WORKER, Finished::default(), again, || true, |_| ())?;
    let block = ring.pop_block(Lane::Returned)?;
    let mut message = Vec::new();
    block.payload().append_to(&mut message);
    let message = String::from_utf8_lossy(&message);
    println!("{} came back after {} delivery: {message}", swept.returned, block.deliveries());
    Ok(())
}

fn worker() -> Result<()> {
    let segment = Segment::attach(std::io::stdin().as_fd().try_clone_to_owned()?, KIND)?;
    let ring = Mpmc::attach(segment.region(), segment.content_at(), &GEOMETRY, WORKER)?;
    let block = ring.pop_block(Lane::Main)?;
    println!("I have {} bytes in hand", block.len());
    loop {
        std::thread::park();
    }
}
