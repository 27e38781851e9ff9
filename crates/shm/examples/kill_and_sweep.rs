//! Jobs that survive their workers: one worker is killed at its job, the job is swept, and another worker does it.
//!
//! `cargo run -p multiproc-shm --example kill_and_sweep`

use multiproc_shm::{Array, AtomicU64, CreateError, Kind, Ordering, OutOfBounds, Participant, Segment, SegmentName, Spec};
use std::error::Error;
use std::io::Read;
use std::process::{Child, Command, Stdio};

const KIND: Kind = Kind(*b"JOBS");
const COUNT: usize = 4;

/// A job's word: waiting, done, or the mark of the participant that works on it.
const WAITING: u64 = 0;
const DONE: u64 = u64::MAX;

fn mark(who: Participant) -> u64 {
    who.epoch << 32 | u64::from(who.row)
}

fn jobs(segment: &Segment) -> Result<Array<AtomicU64>, OutOfBounds> {
    segment.region().array(segment.content_at(), COUNT)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [name, hangs] = &arguments[..] {
        return work(&SegmentName::new(name)?, hangs == "true");
    }
    let name = SegmentName::new(&format!("jobs-{}", std::process::id()))?;
    let spec = Spec { participants: 4, ..Spec::new(KIND, 4096) };
    // New memory is zeros, and so are waiting jobs: there is nothing to fill.
    let segment = Segment::create_named(&name, &spec, Ok::<_, CreateError>)?;
    let done = supervise(&segment, &name);
    Segment::remove(&name)?;
    done
}

fn supervise(segment: &Segment, name: &SegmentName) -> Result<(), Box<dyn Error>> {
    let jobs = jobs(segment)?;
    let me = segment.participants().ok_or("the segment has a table")?.join()?;
    let mut first = start(name, true)?;
    first.stdout.take().ok_or("it has an output")?.read_exact(&mut [0])?;
    first.kill()?;
    first.wait()?;
    for dead in me.others().filter(|&who| me.is_dead(who)) {
        let take_back = |job: &AtomicU64| job.compare_exchange(mark(dead), WAITING, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let swept = jobs.iter().filter(|job| take_back(job)).count();
        println!("row {}, epoch {}: dead, with {swept} job at hand", dead.row, dead.epoch);
        // The sweep comes before the burial: afterwards the row may be another participant's.
        me.bury(dead);
    }
    start(name, false)?.wait()?;
    let done = jobs.iter().filter(|job| job.load(Ordering::Acquire) == DONE).count();
    println!("{done} of {COUNT} jobs are done");
    if done == COUNT { Ok(()) } else { Err("a job is lost".into()) }
}

fn start(name: &SegmentName, hangs: bool) -> Result<Child, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args([name.to_string(), hangs.to_string()]).stdout(Stdio::piped()).spawn()?)
}

fn work(name: &SegmentName, hangs: bool) -> Result<(), Box<dyn Error>> {
    let segment = Segment::open(name, KIND)?;
    let me = segment.participants().ok_or("the segment has a table")?.join()?;
    for job in jobs(&segment)?.iter() {
        if job.compare_exchange(WAITING, mark(me.participant()), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            if hangs {
                println!("at work");
                // A thread may be unparked for no reason.
                loop {
                    std::thread::park();
                }
            }
            job.store(DONE, Ordering::Release);
        }
    }
    Ok(())
}
