//! The rings alone, between spinning threads of one process. The peers are queues that work in one process only.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use anyhow::Result;
use crossbeam_queue::ArrayQueue;
use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Geometry, Mpmc, Owner};
use multiproc_ring::spsc;
use std::hint::spin_loop;

const SLOTS: usize = 1024;

pub fn all() -> Vec<Scenario> {
    let array_queue = |pairs| [Peer::new("ArrayQueue", 8_000_000, move |n| mpmc_array_queue(n, pairs), 0.5)];
    let mpmc = |name, pairs| Scenario::timed(name, 8_000_000, move |n| mpmc_ours(n, pairs), array_queue(pairs));
    let one_by_one = Peer::new("ArrayQueue one by one", 8_000_000, |n| mpmc_array_queue(n, 1), 1.5);
    vec![
        Scenario::timed("SPSC ring, u64, two threads", 20_000_000, spsc_ours, [Peer::new("rtrb", 20_000_000, spsc_rtrb, 1.0)]),
        mpmc("MPMC ring, u64, 1P1C threads", 1),
        mpmc("MPMC ring, u64, 2P2C threads", 2),
        mpmc("MPMC ring, u64, 4P4C threads", 4),
        Scenario::timed("MPMC ring, 32 u64 in a message, 1P1C threads", 8_000_000, mpmc_batches, [one_by_one]),
    ]
}

/// Runs a producer here and a consumer in another thread, each on a processor of its own.
fn two_threads(n: u64, produce: impl FnOnce(u64), consume: impl FnOnce(u64) + Send) -> Result<f64> {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            consume(n);
        });
        pin(0);
        let result = per_operation(n, || {
            produce(n);
            Ok(())
        });
        unpin();
        result
    })
}

fn spsc_ours(n: u64) -> Result<f64> {
    let region = Region::new(Heap::new(spsc::region_len::<u64>(SLOTS)?));
    let mut producer = spsc::Producer::<u64>::create(&region, 0, SLOTS)?;
    let mut consumer = spsc::Consumer::<u64>::attach(&region, 0, SLOTS)?;
    two_threads(
        n,
        |n| {
            for i in 0..n {
                while producer.push(i).is_err() {
                    spin_loop();
                }
            }
        },
        move |n| {
            for i in 0..n {
                loop {
                    if let Ok(value) = consumer.pop() {
                        assert_eq!(value, i);
                        break;
                    }
                    spin_loop();
                }
            }
        },
    )
}

fn spsc_rtrb(n: u64) -> Result<f64> {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u64>::new(SLOTS);
    two_threads(
        n,
        |n| {
            for i in 0..n {
                while producer.push(i).is_err() {
                    spin_loop();
                }
            }
        },
        move |n| {
            for i in 0..n {
                loop {
                    if let Ok(value) = consumer.pop() {
                        assert_eq!(value, i);
                        break;
                    }
                    spin_loop();
                }
            }
        },
    )
}

/// So many producers and as many consumers; each spins a little and then lets others run.
fn many(n: u64, pairs: u64, push: impl Fn(usize, u64) -> bool + Sync, pop: impl Fn(usize) -> bool + Sync) -> Result<f64> {
    let patience = |tries: &mut u32| {
        *tries += 1;
        if (*tries).is_multiple_of(64) { std::thread::yield_now() } else { spin_loop() }
    };
    let each = n / pairs;
    per_operation(each * pairs, || {
        std::thread::scope(|scope| {
            for p in 0..pairs as usize {
                let (push, pop) = (&push, &pop);
                scope.spawn(move || {
                    let mut tries = 0;
                    for i in 0..each {
                        while !push(p, i) {
                            patience(&mut tries);
                        }
                    }
                });
                scope.spawn(move || {
                    let mut tries = 0;
                    for _ in 0..each {
                        while !pop(p) {
                            patience(&mut tries);
                        }
                    }
                });
            }
        });
        Ok(())
    })
}

fn mpmc_ours(n: u64, pairs: u64) -> Result<f64> {
    let geometry = Geometry::new(SLOTS as u32);
    let region = Region::new(Heap::new(geometry.region_len()?));
    Mpmc::create(&region, 0, &geometry, Owner::new(0, 0))?;
    let handle = |row| Mpmc::attach(&region, 0, &geometry, Owner::new(row, 0));
    let rings: Vec<Mpmc> = (0..2 * pairs as u32).map(handle).collect::<Result<_, _>>()?;
    many(
        n,
        pairs,
        |p, i| rings[2 * p].push(&i.to_le_bytes()).is_ok(),
        |p| {
            let Ok(block) = rings[2 * p + 1].pop_block(multiproc_ring::mpmc::Lane::Main) else { return false };
            let mut value = [0; 8];
            block.payload().read(&mut value)
        },
    )
}

/// Seconds per number. 32 numbers travel in one message.
fn mpmc_batches(n: u64) -> Result<f64> {
    const BATCH: u64 = 32;
    let geometry = Geometry::new(SLOTS as u32);
    let region = Region::new(Heap::new(geometry.region_len()?));
    let producer = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0))?;
    let consumer = Mpmc::attach(&region, 0, &geometry, Owner::new(1, 0))?;
    let push = |_, i: u64| producer.push([i.to_le_bytes(); BATCH as usize].as_flattened()).is_ok();
    let pop = |_| {
        let Ok(block) = consumer.pop_block(multiproc_ring::mpmc::Lane::Main) else { return false };
        let mut values = [0; 8 * BATCH as usize];
        block.payload().read(&mut values)
    };
    Ok(many(n / BATCH, 1, push, pop)? / BATCH as f64)
}

fn mpmc_array_queue(n: u64, pairs: u64) -> Result<f64> {
    let queue = ArrayQueue::new(SLOTS);
    many(n, pairs, |_, i| queue.push(i).is_ok(), |_| queue.pop().is_some())
}
