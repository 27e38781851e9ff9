//! Sends many messages through a small queue, from 4 producer to 4 consumer processes. Each arrives once, in its producer's
//! order.
//!
//! `cargo run --release -p multiproc-proofs --bin volume -- 10000000`

use multiproc::{Process, Queue};
use std::time::Instant;

const PRODUCERS: u64 = 4;
const CONSUMERS: u64 = 4;

fn produce((q, producer, count): (Queue<(u64, u64)>, u64, u64)) {
    for number in 0..count {
        q.put((producer, number)).unwrap();
    }
}

/// What one consumer got: a bit for each message of each producer, the count, and whether each producer's messages came in order.
type Seen = (Vec<Vec<u64>>, u64, bool);

fn consume((q, seen, count): (Queue<(u64, u64)>, Queue<Seen>, u64)) {
    let mut bits = vec![vec![0u64; count.div_ceil(64) as usize]; PRODUCERS as usize];
    let (mut last, mut got, mut ordered) = ([None; PRODUCERS as usize], 0, true);
    while let Ok((producer, number)) = q.get() {
        ordered &= last[producer as usize] < Some(number);
        last[producer as usize] = Some(number);
        bits[producer as usize][number as usize / 64] |= 1 << (number % 64);
        got += 1;
    }
    seen.put((bits, got, ordered)).unwrap();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let messages: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let each = messages / PRODUCERS;
    let (q, seen) = (Queue::bounded(64)?, Queue::unbounded()?);
    let begin = Instant::now();
    for _ in 0..CONSUMERS {
        Process::spawn(consume, (q.clone(), seen.clone(), each))?;
    }
    let producers: Result<Vec<_>, _> = (0..PRODUCERS).map(|p| Process::spawn(produce, (q.clone(), p, each))).collect();
    for producer in producers? {
        assert!(producer.join()?.success());
    }
    q.shutdown();
    let (mut total, mut ordered) = (0, true);
    let mut union = vec![vec![0u64; each.div_ceil(64) as usize]; PRODUCERS as usize];
    for _ in 0..CONSUMERS {
        let (bits, got, in_order) = seen.get()?;
        total += got;
        ordered &= in_order;
        for (all, mine) in union.iter_mut().flatten().zip(bits.iter().flatten()) {
            assert_eq!(*all & mine, 0, "two consumers got the same message");
            *all |= mine;
        }
    }
    let distinct: u64 = union.iter().flatten().map(|word| u64::from(word.count_ones())).sum();
    let took = begin.elapsed().as_secs_f64();
    println!("{total} messages in {took:.2} s: {:.2} million a second", total as f64 / took / 1e6);
    assert!(ordered, "a producer's messages came out of order");
    assert_eq!((total, distinct), (each * PRODUCERS, each * PRODUCERS), "messages were lost or doubled");
    println!("volume: {total} cases, 0 failed");
    Ok(())
}
