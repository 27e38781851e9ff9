//! The slowest of a thousand puts and gets, by four producers and four consumers.

use crate::measure::{Peer, Scenario, Unit};
use anyhow::Result;
use multiproc::Queue;
use std::time::Instant;

const PAIRS: u64 = 4;

pub fn all() -> Vec<Scenario> {
    let n = 400_000;
    let scenario = |name, what: fn(Tail) -> f64| {
        let peer = Peer::new("crossbeam-channel", n, move |n| Ok(what(theirs(n)?)), 1.0);
        Scenario::timed(name, n, move |n| Ok(what(ours(n)?)), [peer])
    };
    vec![
        scenario("99.9 % of put, 4P4C threads", |tail| tail.put),
        scenario("99.9 % of get, 4P4C threads", |tail| tail.get),
        scenario("largest share of 4 consumers (25 % is fair)", |tail| tail.largest_share).unit(Unit::Share),
    ]
}

struct Tail {
    /// Seconds within which 99.9 % of the operations end.
    put: f64,
    get: f64,
    /// The part of all messages that the consumer with the most got.
    largest_share: f64,
}

fn ours(n: u64) -> Result<Tail> {
    let q = Queue::bounded(1024)?;
    measure(n, |i| q.put(i).unwrap(), || q.get().unwrap())
}

fn theirs(n: u64) -> Result<Tail> {
    let (sender, receiver) = crossbeam_channel::bounded(1024);
    measure(n, |i| sender.send(i).unwrap(), || receiver.recv().unwrap())
}

/// The value that ends each consumer.
const END: u64 = u64::MAX >> 16;

fn measure(n: u64, put: impl Fn(u64) + Sync, get: impl Fn() -> u64 + Sync) -> Result<Tail> {
    let timed = |work: &mut dyn FnMut()| {
        let begin = Instant::now();
        work();
        begin.elapsed().as_secs_f64()
    };
    let (puts, gets) = std::thread::scope(|scope| {
        let consumers: Vec<_> = (0..PAIRS)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    loop {
                        let mut value = 0;
                        times.push(timed(&mut || value = get()));
                        if value == END {
                            return times;
                        }
                    }
                })
            })
            .collect();
        let producers: Vec<_> =
            (0..PAIRS).map(|_| scope.spawn(|| (0..n / PAIRS).map(|i| timed(&mut || put(i))).collect::<Vec<_>>())).collect();
        let puts: Vec<f64> = producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
        (0..PAIRS).for_each(|_| put(END));
        (puts, consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect::<Vec<_>>())
    });
    // The value that ends each is none of them.
    let most = gets.iter().map(|times| times.len() - 1).max().unwrap_or(0);
    let largest_share = most as f64 / n as f64;
    Ok(Tail { put: slowest(puts), get: slowest(gets.concat()), largest_share })
}

fn slowest(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 999 / 1000]
}
