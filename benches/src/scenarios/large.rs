//! Messages of 1 MiB, copied and in place. The limit is copying in and out without a queue.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use crate::scenarios::message::{byte, lines_are};
use anyhow::Result;
use multiproc::{Descriptor, Process, Queue};
use multiproc_prim::{AtomicU64, Ordering};
use multiproc_shm::{Kind, Segment, Spec};
use std::hint::black_box;
use std::os::fd::AsFd;

const MIB: usize = 1 << 20;
const ROOMS: usize = 4;

pub fn all() -> Vec<Scenario> {
    // The target is a throughput of 0.85 and 1.5 of the limit's: as times, its inverse.
    let limit = |target| [Peer::limit("copy in and out", 20_000, copy_limit::<MIB, false>, target)];
    vec![
        Scenario::timed("1 MiB through a Queue, copied", 20_000, copied, limit(1.0 / 0.85)),
        Scenario::timed("1 MiB through a Queue, in place", 20_000, in_place, limit(1.0 / 1.5)),
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
    let process = Process::spawn(put_in_place, (q.clone(), n))?;
    pin(0);
    let result = per_operation(n, || {
        for i in 0..n {
            let message = q.borrow()?;
            let sum: u64 = (0..MIB / 64).filter_map(|line| message.get(line * 8)).fold(0, u64::wrapping_add);
            assert_eq!(sum, i.wrapping_mul(MIB as u64 / 64));
        }
        Ok(())
    });
    unpin();
    process.join()?;
    result
}

const KIND: Kind = Kind(*b"COPY");

/// Bytes from one room to the next.
const fn stride(size: usize) -> usize {
    size.next_multiple_of(4096)
}

fn copy_in<const SIZE: usize, const NEW: bool>((segment, n): (Descriptor, u64)) {
    pin(1);
    let segment = Segment::attach(segment.into(), KIND).unwrap();
    let at = segment.content_at();
    let word = |i: usize| segment.region().place::<AtomicU64>(at + i * 256).unwrap();
    let (put, got) = (word(0), word(1));
    let mut message = vec![7; SIZE];
    for i in 0..n {
        if NEW {
            message = vec![byte(i); SIZE];
        }
        while i - got.load(Ordering::Acquire) >= ROOMS as u64 {
            std::hint::spin_loop();
        }
        let room = at + 4096 + i as usize % ROOMS * stride(SIZE);
        assert!(segment.region().bytes(room, SIZE).unwrap().write(&message));
        put.store(i + 1, Ordering::Release);
    }
}

/// Nothing but two copies and two words. With `NEW`, each message is a new value, which the consumer looks at, as values of a queue are.
pub fn copy_limit<const SIZE: usize, const NEW: bool>(n: u64) -> Result<f64> {
    let segment = Segment::create(&Spec::new(KIND, 4096 + ROOMS * stride(SIZE)))?;
    let at = segment.content_at();
    let descriptor = Descriptor::from(segment.as_fd().try_clone_to_owned()?);
    let process = Process::spawn(copy_in::<SIZE, NEW>, (descriptor, n + 1))?;
    pin(0);
    let (put, got) = (segment.region().place::<AtomicU64>(at)?, segment.region().place::<AtomicU64>(at + 256)?);
    let mut buffer = vec![0u8; SIZE];
    let mut get = |i: u64| -> Result<()> {
        while put.load(Ordering::Acquire) <= i {
            std::hint::spin_loop();
        }
        assert!(segment.region().bytes(at + 4096 + i as usize % ROOMS * stride(SIZE), SIZE)?.read(&mut buffer));
        got.store(i + 1, Ordering::Release);
        assert!(!NEW || lines_are(black_box(&buffer), byte(i)));
        Ok(())
    };
    get(0)?;
    let cost = per_operation(n, || (1..=n).try_for_each(get));
    unpin();
    process.join()?;
    cost
}
