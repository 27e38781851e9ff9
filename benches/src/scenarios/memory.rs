//! What queues take: memory, addresses, descriptors, and time where memory ends.

use crate::measure::{Peer, Scenario, Unit};
use anyhow::{Result, ensure};
use multiproc::{Process, PutError, Queue};
use multiproc_travel::pass;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::{Duration, Instant};

pub fn all() -> Vec<Scenario> {
    let empty = |_| resident(&Queue::<u64>::unbounded()?);
    let figure =
        |name, ours: fn(u64) -> Result<f64>, unit, peer| Scenario::timed(name, 1, ours, [peer]).unit(unit).most_rounds(3);
    let used_up = Scenario::timed(
        "put, a block size used up, 100,000 waiting",
        1,
        |_| put_cost(WAITING as usize),
        [Peer::limit("100 waiting", 1, |_| put_cost(100), 1.5)],
    );
    vec![
        used_up,
        figure("an empty default queue, resident", empty, Unit::Bytes, Peer::at_most("256 KiB", 262_144.0)),
        figure("a waiting message of 20 bytes", |_| waiting(20), Unit::Bytes, Peer::at_most("80 bytes", 80.0)),
        figure("a waiting message of 100 bytes", |_| waiting(100), Unit::Bytes, Peer::at_most("160 bytes", 160.0)),
        figure("core dump (by its mappings), with ten queues", core_dump, Unit::Bytes, Peer::at_most("4 MiB", 4_194_304.0)),
        figure(
            "unbounded queues under 2,048 descriptors",
            |_| in_a_process(made_under_descriptors),
            Unit::Count,
            Peer::new("as they allow", 1, |_| in_a_process(allowed_by_descriptors), 0.99),
        ),
        figure(
            "unbounded queues under 8 GiB of addresses",
            |_| in_a_process(made_under_addresses),
            Unit::Count,
            Peer::new("1,000", 1, |_| Ok(1000.0), 1.0),
        ),
    ]
}

/// Bytes of memory that a queue takes.
pub fn resident<T>(q: &Queue<T>) -> Result<f64> {
    let parcel = pass::encode(q)?;
    let mut blocks = 0;
    for descriptor in &parcel.descriptors {
        blocks += rustix::fs::fstat(descriptor)?.st_blocks;
    }
    Ok(blocks as f64 * 512.0)
}

const WAITING: u64 = 100_000;

/// Bytes that a waiting message takes in an unbounded queue: slots, blocks, and what is committed ahead.
fn waiting(size: usize) -> Result<f64> {
    let q = Queue::unbounded()?;
    let before = resident(&q)?;
    (0..WAITING).try_for_each(|_| q.put(vec![7u8; size]))?;
    Ok((resident(&q)? - before) / WAITING as f64)
}

const SIZE: usize = 100;

/// Puts until the queue's memory is used up.
fn fill(memory: u64) -> Result<Queue<Vec<u8>>> {
    let q = Queue::builder().memory(memory).build()?;
    loop {
        match q.try_put(vec![7; SIZE]) {
            Ok(()) => {}
            Err(PutError::NoMemory { .. }) => return Ok(q),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Seconds per put into a queue whose memory 100,000 messages use up, with so many waiting. Gets make room and do not count.
///
/// While 100,000 wait, the oldest of them lie in the smallest blocks that they fit, and at least a fifth in larger ones. Only puts in place of
/// those last ones count, since then the size that they fit is used up.
fn put_cost(waiting: usize) -> Result<f64> {
    const PROBE: u64 = 16 << 20;
    let memory = PROBE * WAITING / fill(PROBE)?.len() as u64;
    let q = fill(memory)?;
    let all = q.len();
    ensure!((90_000..110_000).contains(&all), "{all} messages use up the memory");
    while q.len() > waiting {
        q.get()?;
    }
    let mut counted = Duration::ZERO;
    for _ in 0..LAPS {
        turn(&q, all * 79 / 100)?;
        counted += turn(&q, all / 5)?;
        turn(&q, all - all * 79 / 100 - all / 5)?;
    }
    Ok(counted.as_secs_f64() / (LAPS * (all / 5)) as f64)
}

/// How often all messages of a full queue are replaced.
const LAPS: usize = 3;

/// Gets so many messages and puts as many. Returns the time of the puts.
fn turn(q: &Queue<Vec<u8>>, count: usize) -> Result<Duration> {
    const RUN: usize = 64;
    let mut spent = Duration::ZERO;
    for first in (0..count).step_by(RUN) {
        let values = (first..count.min(first + RUN)).map(|_| q.get()).collect::<Result<Vec<_>, _>>()?;
        let begin = Instant::now();
        values.into_iter().try_for_each(|value| q.put(value))?;
        spent += begin.elapsed();
    }
    Ok(spent)
}

/// What a function says in a process of its own.
fn in_a_process(measure: fn(Queue<f64>)) -> Result<f64> {
    let answer = Queue::bounded(1)?;
    Process::spawn(measure, answer.clone())?.join()?;
    Ok(answer.try_get()?)
}

/// Bytes that a core dump gets longer by ten queues.
fn core_dump(_: u64) -> Result<f64> {
    in_a_process(|answer: Queue<f64>| {
        let before = dumped().unwrap();
        let _queues = [(); 10].map(|()| Queue::<u64>::unbounded().unwrap());
        answer.put((dumped().unwrap() - before) as f64).unwrap();
    })
}

/// Bytes that a core dump of this process has, by the kernel's rules with the usual `coredump_filter`: mappings that no one excepted
/// (`MADV_DONTDUMP`), if they are private and written to, or shared and of a file without a name.
fn dumped() -> Result<u64> {
    let (mut total, mut size, mut in_it) = (0, 0, false);
    let kib = |rest: &str| rest.trim().trim_end_matches(" kB").parse::<u64>();
    for line in std::fs::read_to_string("/proc/self/smaps")?.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        match line.split_once(':') {
            Some(("Size", rest)) => size = kib(rest)?,
            Some(("Anonymous", rest)) => in_it |= kib(rest)? > 0,
            Some(("VmFlags", flags)) if in_it && !flags.split(' ').any(|flag| flag == "dd" || flag == "io") => total += size,
            _ if first.contains('-') => {
                in_it = words.next().is_some_and(|rights| rights.ends_with('s')) && line.ends_with("(deleted)");
            }
            _ => {}
        }
    }
    Ok(total << 10)
}

/// How many queues this process can make, up to 2,500.
fn made() -> f64 {
    let queues: Vec<_> = (0..2500).map_while(|_| Queue::<u64>::unbounded().ok()).collect();
    queues.len() as f64
}

fn limit(resource: Resource, current: u64) {
    setrlimit(resource, Rlimit { current: Some(current), ..getrlimit(resource) }).unwrap();
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").unwrap().count() as u64
}

const DESCRIPTORS: u64 = 2048;

fn made_under_descriptors(answer: Queue<f64>) {
    limit(Resource::Nofile, DESCRIPTORS);
    answer.put(made()).unwrap();
}

fn allowed_by_descriptors(answer: Queue<f64>) {
    // What a process has once for all its queues is open from the first one on.
    let _first = Queue::<u64>::unbounded().unwrap();
    let open = open_descriptors();
    let _second = Queue::<u64>::unbounded().unwrap();
    let each = open_descriptors() - open;
    answer.put(1.0 + ((DESCRIPTORS - open) / each) as f64).unwrap();
}

fn made_under_addresses(answer: Queue<f64>) {
    limit(Resource::As, 8 << 30);
    answer.put(made()).unwrap();
}
