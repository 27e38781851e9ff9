//! Messages of 1 MiB, copied and in place. The limits are the same work on the same bytes without a queue.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use crate::scenarios::message::{byte, lines_are};
use anyhow::Result;
use multiproc::{Descriptor, Process, Queue};
use multiproc_prim::{AtomicU64, Bytes, Ordering};
use multiproc_shm::{Kind, Segment, Spec};
use std::hint::black_box;
use std::os::fd::AsFd;

const MIB: usize = 1 << 20;
const ROOMS: usize = 4;

pub fn all() -> Vec<Scenario> {
    // The target is a throughput of 0.85 and 0.9 of the limit's: as times, its inverse.
    let copied_without = Peer::limit("copy in and out", 20_000, limit::<Copied<MIB, false>>, 1.0 / 0.85);
    let in_place_without = Peer::limit("in place without a queue", 20_000, limit::<InPlace>, 1.0 / 0.9);
    vec![
        Scenario::timed("1 MiB through a Queue, copied", 20_000, copied, [copied_without]),
        Scenario::timed("1 MiB through a Queue, in place", 20_000, in_place, [in_place_without]),
    ]
}

fn put_copies((q, size, n): (Queue<u8>, usize, u64)) {
    pin(1);
    let message = vec![7u8; size];
    for _ in 0..n {
        let loan = q.loan(size).unwrap();
        assert!(loan.copy_from(0, &message));
        loan.send().unwrap();
    }
}

fn copied(n: u64) -> Result<f64> {
    copied_through(&Queue::bounded(ROOMS as u32)?, MIB, n)
}

/// Seconds per message. Another process copies it into a queue, and this one copies it out. The first message starts the clock.
pub fn copied_through(q: &Queue<u8>, size: usize, n: u64) -> Result<f64> {
    let process = Process::spawn(put_copies, (q.clone(), size, n + 1))?;
    pin(0);
    let mut buffer = vec![0u8; size];
    let mut get = || -> Result<()> {
        assert!(q.borrow()?.copy_to(0, &mut buffer));
        Ok(())
    };
    get()?;
    let result = per_operation(n, || (0..n).try_for_each(|_| get()));
    unpin();
    process.join()?;
    result
}

/// Values that are produced at once, 64 KiB. They stay in a cache, and the processor writes whole lines without fetching them first.
const RUN: usize = 8192;

fn put_in_place((q, n): (Queue<u64>, u64)) {
    pin(1);
    let mut run = vec![0; RUN];
    for i in 0..n {
        let loan = q.loan(MIB / 8).unwrap();
        // Produced run by run where it lies, as a sensor or a codec would: one word in each cache line is new.
        for first in (0..MIB / 8).step_by(RUN) {
            run.iter_mut().step_by(8).for_each(|word| *word = i);
            assert!(loan.copy_from(first, &run));
        }
        loan.send().unwrap();
    }
}

fn in_place(n: u64) -> Result<f64> {
    let q = Queue::<u64>::bounded(ROOMS as u32)?;
    let process = Process::spawn(put_in_place, (q.clone(), n + 1))?;
    pin(0);
    let get = |i: u64| -> Result<()> {
        let message = q.borrow()?;
        let sum: u64 = (0..MIB / 64).filter_map(|line| message.get(line * 8)).fold(0, u64::wrapping_add);
        assert_eq!(sum, i.wrapping_mul(MIB as u64 / 64));
        Ok(())
    };
    get(0)?;
    let result = per_operation(n, || (1..=n).try_for_each(get));
    unpin();
    process.join()?;
    result
}

const KIND: Kind = Kind(*b"COPY");

/// Bytes from one room to the next.
const fn stride(size: usize) -> usize {
    size.next_multiple_of(4096)
}

/// What two processes do with the bytes in a room, without any queue.
pub trait Content {
    const SIZE: usize;
    fn new() -> Self;
    /// Comes before the producer waits for a room.
    fn make(&mut self, _number: u64) {}
    fn write(&mut self, number: u64, room: &Bytes<'_>);
    fn read(&mut self, room: &Bytes<'_>);
    /// Comes after the room is the producer's again.
    fn look(&self, _number: u64) {}
}

/// A message that is copied in and out. With `NEW`, each is a new value, which the consumer looks at, as values of a queue are.
pub struct Copied<const SIZE: usize, const NEW: bool>(Vec<u8>);

impl<const SIZE: usize, const NEW: bool> Content for Copied<SIZE, NEW> {
    const SIZE: usize = SIZE;

    fn new() -> Self {
        Self(vec![7; SIZE])
    }

    fn make(&mut self, number: u64) {
        if NEW {
            self.0 = vec![byte(number); SIZE];
        }
    }

    fn write(&mut self, _: u64, room: &Bytes<'_>) {
        assert!(room.write(&self.0));
    }

    fn read(&mut self, room: &Bytes<'_>) {
        assert!(room.read(&mut self.0));
    }

    fn look(&self, number: u64) {
        assert!(!NEW || lines_are(black_box(&self.0), byte(number)));
    }
}

/// A message that is written and read where it lies, as `put_in_place` and `in_place` do it.
struct InPlace(Vec<u8>, u64);

impl Content for InPlace {
    const SIZE: usize = MIB;

    fn new() -> Self {
        Self(vec![0; 8 * RUN], 0)
    }

    fn write(&mut self, number: u64, room: &Bytes<'_>) {
        for first in (0..MIB).step_by(8 * RUN) {
            self.0.chunks_mut(64).for_each(|line| line[..8].copy_from_slice(&number.to_ne_bytes()));
            assert!(room.part(first, 8 * RUN).unwrap().write(&self.0));
        }
    }

    fn read(&mut self, room: &Bytes<'_>) {
        let word = |line: usize| {
            let mut word = [0; 8];
            assert!(room.part(line * 64, 8).unwrap().read(&mut word));
            u64::from_ne_bytes(word)
        };
        self.1 = (0..MIB / 64).map(word).fold(0, u64::wrapping_add);
    }

    fn look(&self, number: u64) {
        assert_eq!(self.1, number.wrapping_mul(MIB as u64 / 64));
    }
}

fn produce<C: Content + 'static>((segment, n): (Descriptor, u64)) {
    pin(1);
    let segment = Segment::attach(segment.into(), KIND).unwrap();
    let at = segment.content_at();
    let word = |i: usize| segment.region().place::<AtomicU64>(at + i * 256).unwrap();
    let (put, got) = (word(0), word(1));
    let mut content = C::new();
    for i in 0..n {
        content.make(i);
        while i - got.load(Ordering::Acquire) >= ROOMS as u64 {
            std::hint::spin_loop();
        }
        let room = at + 4096 + i as usize % ROOMS * stride(C::SIZE);
        content.write(i, &segment.region().bytes(room, C::SIZE).unwrap());
        put.store(i + 1, Ordering::Release);
    }
}

/// Seconds per message without a queue: nothing but the work on the bytes, and two words.
pub fn limit<C: Content + 'static>(n: u64) -> Result<f64> {
    let segment = Segment::create(&Spec::new(KIND, 4096 + ROOMS * stride(C::SIZE)))?;
    let at = segment.content_at();
    let descriptor = Descriptor::from(segment.as_fd().try_clone_to_owned()?);
    let process = Process::spawn(produce::<C>, (descriptor, n + 1))?;
    pin(0);
    let (put, got) = (segment.region().place::<AtomicU64>(at)?, segment.region().place::<AtomicU64>(at + 256)?);
    let mut content = C::new();
    let mut get = |i: u64| -> Result<()> {
        while put.load(Ordering::Acquire) <= i {
            std::hint::spin_loop();
        }
        content.read(&segment.region().bytes(at + 4096 + i as usize % ROOMS * stride(C::SIZE), C::SIZE)?);
        got.store(i + 1, Ordering::Release);
        content.look(i);
        Ok(())
    };
    get(0)?;
    let cost = per_operation(n, || (1..=n).try_for_each(get));
    unpin();
    process.join()?;
    cost
}
