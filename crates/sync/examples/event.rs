//! An event that one process waits for, with a deadline, and another one sets.

use multiproc_prim::{AtomicU32, Ordering, Place};
use multiproc_shm::{Kind, Segment, Spec};
use multiproc_sync::{Deadline, EventCount, Pace};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What the memory is for: both processes must say the same.
const KIND: Kind = Kind(*b"EVNT");

/// The event, and the flag that it tells of.
fn event(segment: &Segment) -> Result<(Place<EventCount>, Place<AtomicU32>)> {
    let at = segment.content_at();
    segment.region().commit(at..at + 128)?;
    Ok((segment.region().place(at)?, segment.region().place(at + 64)?))
}

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("waiter") { waiter() } else { parent() }
}

fn parent() -> Result<()> {
    let segment = Segment::create(&Spec::new(KIND, 4096))?;
    let (event, flag) = event(&segment)?;
    // The waiter finds the memory behind its standard input.
    let memory = segment.as_fd().try_clone_to_owned()?;
    let mut waiter = Command::new(std::env::current_exe()?).arg("waiter").stdin(memory).spawn()?;
    std::thread::sleep(Duration::from_millis(50));
    flag.store(1, Ordering::Release);
    event.wake_all();
    if waiter.wait()?.success() { Ok(()) } else { Err("the waiter failed".into()) }
}

fn waiter() -> Result<()> {
    let segment = Segment::attach(std::io::stdin().as_fd().try_clone_to_owned()?, KIND)?;
    let (event, flag) = event(&segment)?;
    let begin = Instant::now();
    let is_set = || (flag.load(Ordering::Acquire) == 1).then_some(());
    let soon = Deadline::after(Duration::from_millis(5));
    match event.wait_until(soon, &Pace::default(), is_set) {
        Some(()) => println!("set at once"),
        None => println!("not yet after {:?}", begin.elapsed()),
    }
    let late = Deadline::after(Duration::from_secs(10));
    event.wait_until(late, &Pace::default(), is_set).ok_or("never set")?;
    println!("set after {:?}", begin.elapsed());
    Ok(())
}
