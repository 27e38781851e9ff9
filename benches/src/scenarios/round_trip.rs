//! There and back. While both sides spin, the limit is the cache line itself. While both sleep, it is the futex itself.

use crate::measure::{Peer, Scenario, load, per_operation, pin, unpin};
use crate::scenarios::message::{Bytes, Message, Word};
use anyhow::Result;
use multiproc::{Connection, Descriptor, Process, Queue, pipe};
use multiproc_prim::{AtomicU32, AtomicU64, Ordering, futex};
use multiproc_shm::{Kind, Segment, Spec};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

pub fn all() -> Vec<Scenario> {
    let (n, line) = (300_000, || [Peer::limit("cache-line ping-pong", 2_000_000, ping_pong, 2.0)]);
    let word = Peer::limit("Queue<u64> round trip", n, queue_round_trip::<Word>, 1.3);
    let parked = Peer::limit("raw futex", 30_000, futex_ping_pong, 1.1);
    let wake = Peer::limit("raw futex wake", 4_000, futex_wakes, 1.5);
    vec![
        Scenario::timed("Queue<u64> round trip, both spin", n, queue_round_trip::<Word>, line()),
        Scenario::timed("Queue<Vec<u8>> of 64 round trip, both spin", n, queue_round_trip::<Bytes<64>>, [word]),
        Scenario::timed("Pipe round trip, both spin", n, pipe_round_trip, line()),
        Scenario::timed("Queue<u64> round trip, one processor", 30_000, queue_parked, [parked]),
        Scenario::timed("put that wakes a sleeper", 4_000, put_wakes, [wake]),
    ]
}

/// The machine's two processors share a cache at times: then a line goes there and back in 50 to 110 ns, and else in 540.
pub fn state() -> Result<String> {
    // The best of many short ones, since the machine may have other work.
    let mut trips = (0..50).map(|_| ping_pong(2_000));
    let nanoseconds = trips.try_fold(f64::MAX, |best, trip| trip.map(|trip| best.min(trip * 1e9)))?;
    let state = if nanoseconds < 250.0 { "share a cache" } else { "share no cache" };
    Ok(format!("the processors {state}: a line goes there and back in {nanoseconds:.0} ns; load {}", load()))
}

fn echo<M: Message>((there, back, processor): (Queue<M::Value>, Queue<M::Value>, usize)) {
    pin(processor);
    while let Ok(value) = there.get() {
        back.put(value).unwrap();
    }
}

/// Seconds for a value to go there and back. It is the same one all the time.
fn queue_trips<M: Message>(n: u64, processor: usize) -> Result<f64> {
    let (there, back) = (Queue::bounded(8)?, Queue::bounded(8)?);
    let process = Process::spawn(echo::<M>, (there.clone(), back.clone(), processor))?;
    pin(0);
    let mut value = M::make(1);
    let result = per_operation(n, || {
        for _ in 0..n {
            there.put(value)?;
            value = back.get()?;
            assert!(M::is(&value, 1));
        }
        Ok(())
    });
    unpin();
    there.shutdown();
    process.join()?;
    result
}

fn queue_round_trip<M: Message>(n: u64) -> Result<f64> {
    queue_trips::<M>(n, 1)
}

/// Both on one processor, so that each has to sleep for the other to run.
fn queue_parked(n: u64) -> Result<f64> {
    queue_trips::<Word>(n, 0)
}

/// Long enough for the waiting process to fall asleep.
const NAP: Duration = Duration::from_micros(500);

/// Seconds that `act` takes when a pause comes before each call.
fn now_and_then(n: u64, mut act: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let mut spent = Duration::ZERO;
    for i in 0..n {
        std::thread::sleep(NAP);
        let begin = Instant::now();
        act(i)?;
        spent += begin.elapsed();
    }
    Ok(spent.as_secs_f64() / n as f64)
}

fn get_all(q: Queue<u64>) {
    pin(1);
    while q.get().is_ok() {}
}

fn put_wakes(n: u64) -> Result<f64> {
    let q = Queue::bounded(8)?;
    let process = Process::spawn(get_all, q.clone())?;
    pin(0);
    let result = now_and_then(n, |i| Ok(q.put(i)?));
    unpin();
    q.shutdown();
    process.join()?;
    result
}

fn sleep_often((segment, n): (Descriptor, u64)) {
    pin(1);
    let segment = Segment::attach(segment.into(), KIND).unwrap();
    let word = segment.region().place::<AtomicU32>(segment.content_at()).unwrap();
    for i in 0..n as u32 {
        while word.load(Ordering::Acquire) == i {
            futex::wait(&word, i, None);
        }
    }
}

fn futex_wakes(n: u64) -> Result<f64> {
    let segment = shared()?;
    let process = Process::spawn(sleep_often, (descriptor(&segment)?, n))?;
    pin(0);
    let word = segment.region().place::<AtomicU32>(segment.content_at())?;
    let result = now_and_then(n, |i| {
        word.store(i as u32 + 1, Ordering::Release);
        futex::wake(&word, 1);
        Ok(())
    });
    unpin();
    process.join()?;
    result
}

fn echo_bytes(connection: Connection<u64>) {
    pin(1);
    let mut buffer = [0; 8];
    while connection.recv_bytes_into(&mut buffer).is_ok() {
        connection.send_bytes(&buffer).unwrap();
    }
}

fn pipe_round_trip(n: u64) -> Result<f64> {
    let (ours, theirs) = pipe()?;
    let process = Process::spawn(echo_bytes, theirs)?;
    pin(0);
    let mut buffer = [0; 8];
    let result = per_operation(n, || {
        for i in 0..n {
            ours.send_bytes(&i.to_le_bytes())?;
            ours.recv_bytes_into(&mut buffer)?;
        }
        Ok(())
    });
    unpin();
    drop(ours);
    process.join()?;
    result
}

const KIND: Kind = Kind(*b"PING");

fn shared() -> Result<Segment> {
    Ok(Segment::create(&Spec::new(KIND, 4096))?)
}

fn descriptor(segment: &Segment) -> Result<Descriptor> {
    Ok(segment.as_fd().try_clone_to_owned()?.into())
}

fn pong((segment, n): (Descriptor, u64)) {
    pin(1);
    let segment = Segment::attach(segment.into(), KIND).unwrap();
    let word = |i: usize| segment.region().place::<AtomicU64>(segment.content_at() + i * 256).unwrap();
    let (there, back) = (word(0), word(1));
    for i in 1..=n {
        while there.load(Ordering::Acquire) != i {
            std::hint::spin_loop();
        }
        back.store(i, Ordering::Release);
    }
}

fn ping_pong(n: u64) -> Result<f64> {
    let segment = shared()?;
    let process = Process::spawn(pong, (descriptor(&segment)?, n + 1))?;
    pin(0);
    let (there, back) = (
        segment.region().place::<AtomicU64>(segment.content_at())?,
        segment.region().place::<AtomicU64>(segment.content_at() + 256)?,
    );
    let trip = |i| {
        there.store(i, Ordering::Release);
        while back.load(Ordering::Acquire) != i {
            std::hint::spin_loop();
        }
    };
    trip(1);
    let result = per_operation(n, || {
        (2..=n + 1).for_each(trip);
        Ok(())
    });
    unpin();
    process.join()?;
    result
}

fn futex_pong((segment, n): (Descriptor, u64)) {
    pin(0);
    let segment = Segment::attach(segment.into(), KIND).unwrap();
    let word = segment.region().place::<AtomicU32>(segment.content_at()).unwrap();
    trip(&word, n, 0, 1);
}

/// Waits until the word is `mine`, then makes it `theirs`.
fn trip(word: &AtomicU32, n: u64, theirs: u32, mine: u32) {
    for _ in 0..n {
        while word.load(Ordering::Acquire) != mine {
            futex::wait(word, theirs, None);
        }
        word.store(theirs, Ordering::Release);
        futex::wake(word, 1);
    }
}

fn futex_ping_pong(n: u64) -> Result<f64> {
    let segment = shared()?;
    let process = Process::spawn(futex_pong, (descriptor(&segment)?, n))?;
    pin(0);
    let word = segment.region().place::<AtomicU32>(segment.content_at())?;
    let result = per_operation(n, || {
        trip(&word, n, 1, 0);
        Ok(())
    });
    unpin();
    process.join()?;
    result
}
