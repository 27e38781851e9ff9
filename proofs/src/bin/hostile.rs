//! A process scribbles into the shared memory of queues and of a pipe while eight others use them: they get errors or wrong
//! values, and none panics, hangs or dies.
//!
//! `cargo run --release -p multiproc-proofs --bin hostile -- 60` goes on for a minute.

use multiproc::{Connection, JoinableQueue, Process, Queue, SimpleQueue, pipe};
use multiproc_shm::{Kind, Segment};
use multiproc_travel::pass;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What every process has. The queues `end` and `report` are out of the scribbler's reach.
#[derive(Serialize, Deserialize)]
struct Shared {
    queue: Queue<Vec<u8>>,
    jobs: JoinableQueue<u64>,
    in_place: Queue<u32>,
    /// Holds something as soon as it is time to end.
    end: SimpleQueue<()>,
    /// How many operations each process did: all of them, and those without an error.
    report: Queue<(u64, u64)>,
}

impl Shared {
    fn share(&self) -> Self {
        let Self { queue, jobs, in_place, end, report } = self;
        Self { queue: queue.clone(), jobs: jobs.clone(), in_place: in_place.clone(), end: end.clone(), report: report.clone() }
    }

    /// Repeats an operation until it is time to end. Errors are expected.
    fn work(&self, mut operation: impl FnMut(u64) -> bool) {
        let (mut done, mut well) = (0, 0);
        while self.end.is_empty() {
            well += u64::from(operation(done));
            done += 1;
        }
        self.report.put((done, well)).unwrap();
    }
}

const WAIT: Duration = Duration::from_millis(1);

fn put(shared: Shared) {
    shared.work(|n| shared.queue.put_timeout(vec![n as u8; n as usize % 3000], WAIT).is_ok());
}

fn get(shared: Shared) {
    shared.work(|_| shared.queue.get_timeout(WAIT).is_ok());
}

fn put_jobs(shared: Shared) {
    shared.work(|n| shared.jobs.put_timeout(n, WAIT).is_ok() && shared.jobs.join_timeout(WAIT).is_ok());
}

fn do_jobs(shared: Shared) {
    shared.work(|n| match shared.jobs.get_delivery_timeout(WAIT) {
        Ok(delivery) if n % 3 == 0 => {
            delivery.give_back();
            shared.jobs.try_get_dead().is_ok_and(|letter| letter.count() > 0)
        }
        Ok(delivery) => {
            delivery.done();
            true
        }
        Err(_) => shared.jobs.task_done().is_ok(),
    });
}

fn use_in_place(shared: Shared) {
    shared.work(|n| {
        let put = shared.in_place.loan_timeout(n as usize % 700, WAIT).is_ok_and(|loan| {
            let _ = loan.set(0, n as u32);
            loan.send_timeout(WAIT).is_ok()
        });
        let got = shared.in_place.borrow_timeout(WAIT).is_ok_and(|message| message.to_vec().len() == message.len());
        put && got
    });
}

/// Attaches to everything again and again.
fn come_and_go(shared: Shared) {
    shared.work(|_| {
        let parcel = pass::encode(&(shared.queue.clone(), shared.jobs.clone(), shared.in_place.clone())).unwrap();
        type All = (Queue<Vec<u8>>, JoinableQueue<u64>, Queue<u32>);
        pass::decode::<All>(&parcel.bytes, parcel.descriptors).is_ok_and(|(queue, jobs, in_place)| {
            let _ = (queue.try_put(vec![1]), jobs.try_put(1), in_place.try_borrow().map(|message| message.len()));
            true
        })
    });
}

fn send((shared, connection): (Shared, Connection<Vec<u8>>)) {
    // Rubbish may make the pipe look full for ever. Then this call ends when the receiver does.
    shared.work(|n| connection.send(&vec![n as u8; n as usize % 100_000]).is_ok());
}

fn receive((shared, connection): (Shared, Connection<Vec<u8>>)) {
    shared.work(|_| connection.recv_timeout(WAIT).is_ok());
}

/// Flips, replaces and replays words, most of them in the busy first pages.
fn scribble((end, segments): (SimpleQueue<()>, Vec<multiproc::Descriptor>)) {
    let kinds = [*b"QUEU", *b"JOIN", *b"QUEU", *b"PIPE"].map(Kind);
    let attach = |(file, kind): (multiproc::Descriptor, Kind)| Segment::attach(OwnedFd::from(file), kind).unwrap();
    let segments: Vec<Segment> = segments.into_iter().zip(kinds).map(attach).collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    while end.is_empty() {
        let segment = &segments[random() as usize % segments.len()];
        let reach = segment.region().len().min(if random() % 4 == 0 { 1 << 20 } else { 64 << 10 });
        let word = |at: u64| segment.region().bytes(at as usize % (reach - 8) / 8 * 8, 8).unwrap();
        let target = word(random());
        let mut old = [0; 8];
        assert!(target.read(&mut old));
        let new = match random() % 4 {
            0 => random(),
            1 => u64::from_ne_bytes(old) ^ 1 << (random() % 64),
            2 => u64::from_ne_bytes(old).wrapping_add(random() % 16),
            _ => {
                assert!(word(random()).read(&mut old));
                u64::from_ne_bytes(old)
            }
        };
        assert!(target.write(&new.to_ne_bytes()));
        // Without pauses, what it writes would hide what the others write.
        if random() % 64 == 0 {
            std::thread::sleep(Duration::from_micros(random() % 200));
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let seconds: u64 = std::env::args().nth(1).map_or(Ok(5), |n| n.parse())?;
    let begin = Instant::now();
    let (mut done, mut well, mut rounds, mut failed) = (0, 0, 0, 0);
    // Corrupt memory stays corrupt, and soon every operation fails at once. So each round has new memory.
    while begin.elapsed().as_secs() < seconds {
        let shared = Shared {
            queue: Queue::builder().bounded(16).memory(1 << 20).max_message(4000).build()?,
            jobs: JoinableQueue::builder().bounded(16).memory(1 << 20).max_message(4000).max_deliveries(2).build()?,
            in_place: Queue::builder().bounded(16).memory(1 << 20).max_message(4000).build()?,
            end: SimpleQueue::new()?,
            report: Queue::unbounded()?,
        };
        let (ours, theirs) = pipe::<Vec<u8>>()?;
        let parcel = pass::encode(&ours)?;
        let is_segment = |file: &&OwnedFd| file.try_clone().is_ok_and(|file| Segment::attach(file, Kind(*b"PIPE")).is_ok());
        let mut targets = vec![
            pass::encode(&shared.queue)?.descriptors.remove(0),
            pass::encode(&shared.jobs)?.descriptors.remove(0),
            pass::encode(&shared.in_place)?.descriptors.remove(0),
        ];
        targets.push(parcel.descriptors.iter().find(is_segment).ok_or("a pipe without memory")?.try_clone()?);
        // The end was encoded only to find its memory. Dropping the parcel gives it back.
        drop(parcel);
        let workers = [put, get, put_jobs, do_jobs, use_in_place, come_and_go].map(|work| Process::spawn(work, shared.share()));
        let mut workers: Vec<Process> = workers.into_iter().collect::<Result<_, _>>()?;
        workers.push(Process::spawn(send, (shared.share(), ours))?);
        workers.push(Process::spawn(receive, (shared.share(), theirs))?);
        let targets: Vec<multiproc::Descriptor> = targets.into_iter().map(Into::into).collect();
        let scribbler = Process::spawn(scribble, (shared.end.clone(), targets))?;
        std::thread::sleep(Duration::from_secs(1));
        shared.end.put(())?;
        for process in workers.iter().chain([&scribbler]) {
            match process.join_timeout(Duration::from_secs(20))? {
                Some(exit) if exit.success() => {}
                Some(exit) => {
                    eprintln!("{}: {exit}", process.name());
                    failed += 1;
                }
                None => {
                    eprintln!("{} hangs", process.name());
                    process.kill()?;
                    failed += 1;
                }
            }
        }
        while let Ok((more_done, more_well)) = shared.report.try_get() {
            done += more_done;
            well += more_well;
        }
        rounds += 1;
    }
    println!("{rounds} rounds; of {done} operations of 8 processes {well} went well");
    println!("hostile: {done} cases, {failed} failed");
    if failed > 0 { Err("some processes panicked, hung or died".into()) } else { Ok(()) }
}
