//! Recorded histories of real threads are those of a first-in, first-out queue of bounded size.
//!
//! With values that are all different, the ways in which a history can fail to be a queue's are few, and each is a relation
//! between two or three operations (Henzinger, Sezgin, Vafeiadis: "Aspect-oriented linearizability proofs"): a value from
//! nowhere or twice; two values that swap places; an "empty" while something was surely inside; and, for a bounded queue, a
//! "full" while there was surely room.
#![cfg(not(loom))]

use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Geometry, Mpmc, Owner};
use std::collections::HashMap;
use std::sync::Barrier;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Put(u64),
    Full,
    Got(u64),
    Empty,
}

/// An operation and when it began and ended.
type Op = (u64, u64, What);

/// What is wrong with a history, if anything.
fn flaw(history: &[Op], slots: usize) -> Option<String> {
    let mut puts = HashMap::new();
    let mut gets = HashMap::new();
    for &(start, end, what) in history {
        let twice = match what {
            What::Put(value) => puts.insert(value, (start, end)).is_some(),
            What::Got(value) => gets.insert(value, (start, end)).is_some(),
            _ => false,
        };
        if twice {
            return Some(format!("{what:?} twice"));
        }
    }
    for (value, got) in &gets {
        match puts.get(value) {
            None => return Some(format!("{value} from nowhere")),
            Some(put) if got.1 < put.0 => return Some(format!("{value} got before it was put")),
            _ => {}
        }
    }
    swapped(&puts, &gets).or_else(|| misjudged(history, &puts, &gets, slots))
}

type Spans = HashMap<u64, (u64, u64)>;

/// A value surely put before another one, and surely got after it.
fn swapped(puts: &Spans, gets: &Spans) -> Option<String> {
    let got_at = |value: &u64| gets.get(value).map_or(u64::MAX, |got| got.0);
    let mut by_end: Vec<_> = puts.iter().map(|(value, put)| (put.1, got_at(value), *value)).collect();
    let mut by_start: Vec<_> = gets.iter().filter_map(|(value, got)| Some((puts.get(value)?.0, got.1, *value))).collect();
    by_end.sort_unstable();
    by_start.sort_unstable();
    let (mut latest, mut next) = ((0, 0), 0);
    for (put_start, got_end, value) in by_start {
        while next < by_end.len() && by_end[next].0 < put_start {
            latest = latest.max((by_end[next].1, by_end[next].2));
            next += 1;
        }
        if got_end < latest.0 {
            return Some(format!("{value} overtook {}", latest.1));
        }
    }
    None
}

/// An "empty" throughout which something was surely inside, or a "full" throughout which there was surely room.
fn misjudged(history: &[Op], puts: &Spans, gets: &Spans, slots: usize) -> Option<String> {
    // Values surely inside change at these moments, values perhaps inside at those.
    let (mut surely, mut perhaps) = (Vec::new(), Vec::new());
    for (value, put) in puts {
        let got = gets.get(value).copied().unwrap_or((u64::MAX, u64::MAX));
        if put.1 < got.0 {
            surely.extend([(put.1, 1), (got.0, -1)]);
        }
        perhaps.extend([(put.0, 1), (got.1, -1)]);
    }
    let (surely, perhaps) = (Levels::new(surely, false), Levels::new(perhaps, true));
    for &(start, end, what) in history {
        if what == What::Empty && surely.least(start, end) > 0 {
            return Some(format!("empty from {start} to {end} while something was inside"));
        }
        if what == What::Full && perhaps.most(start, end) < slots as i64 {
            return Some(format!("full from {start} to {end} while there was room"));
        }
    }
    None
}

/// A count that changes at moments. Where moments coincide, the doubt favours the queue.
struct Levels(Vec<(u64, i64)>);

impl Levels {
    fn new(mut changes: Vec<(u64, i64)>, up_first: bool) -> Self {
        changes.sort_unstable_by_key(|&(at, by)| (at, if up_first { -by } else { by }));
        let mut level = 0;
        Self(
            changes
                .into_iter()
                .map(|(at, by)| {
                    level += by;
                    (at, level)
                })
                .collect(),
        )
    }

    fn during(&self, start: u64, end: u64) -> impl Iterator<Item = i64> {
        let first = self.0.partition_point(|&(at, _)| at < start);
        let before = first.checked_sub(1).map_or(0, |i| self.0[i].1);
        let after = self.0[first..].iter().take_while(move |&&(at, _)| at <= end).map(|&(_, level)| level);
        std::iter::once(before).chain(after)
    }

    fn least(&self, start: u64, end: u64) -> i64 {
        self.during(start, end).min().unwrap_or(0)
    }

    fn most(&self, start: u64, end: u64) -> i64 {
        self.during(start, end).max().unwrap_or(0)
    }
}

/// Two producers and two consumers, each with a handle of its own, hammer one ring.
fn record(slots: u32, each: u64) -> Vec<Op> {
    let geometry = Geometry::new(slots);
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    let (clock, begin) = (Instant::now(), Barrier::new(4));
    let now = || clock.elapsed().as_nanos() as u64;
    std::thread::scope(|scope| {
        let threads = [0u32, 1, 2, 3].map(|row| {
            let ring = Mpmc::attach(&region, 0, &geometry, Owner::new(row, 0)).unwrap();
            let (begin, now) = (&begin, &now);
            scope.spawn(move || {
                let mut ops = Vec::with_capacity(each as usize);
                let mut message = Vec::new();
                begin.wait();
                for number in 0..each {
                    let start = now();
                    let what = if row < 2 {
                        let value = u64::from(row) << 40 | number;
                        if ring.push(&value.to_le_bytes()).is_ok() { What::Put(value) } else { What::Full }
                    } else {
                        message.clear();
                        match ring.pop(&mut message) {
                            Ok(_) => What::Got(u64::from_le_bytes(message[..8].try_into().unwrap())),
                            Err(_) => What::Empty,
                        }
                    };
                    ops.push((start, now(), what));
                }
                ops
            })
        });
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn a_million_operations_of_four_threads_are_those_of_a_queue() {
    let mut operations = 0;
    for (slots, each) in [(1, 60_000), (2, 60_000), (3, 60_000), (64, 90_000)] {
        let history = record(slots, each);
        assert_eq!(flaw(&history, slots as usize), None, "with {slots} slots");
        operations += history.len();
    }
    println!("{operations} operations");
    assert!(operations >= 1_000_000);
}

#[test]
fn the_check_finds_what_it_looks_for() {
    use What::{Empty, Full, Got, Put};
    let good = [(0, 1, Put(1)), (2, 3, Put(2)), (4, 5, Full), (4, 6, Got(1)), (7, 8, Got(2)), (9, 10, Empty)];
    assert_eq!(flaw(&good, 2), None);
    let wrong = |history: &[Op]| flaw(history, 2).is_some();
    assert!(wrong(&[(0, 1, Got(1))]));
    assert!(wrong(&[(0, 1, Got(1)), (2, 3, Put(1))]));
    assert!(wrong(&[(0, 1, Put(1)), (2, 3, Got(1)), (4, 5, Got(1))]));
    assert!(wrong(&[(0, 1, Put(1)), (2, 3, Put(2)), (4, 5, Got(2)), (6, 7, Got(1))]));
    assert!(wrong(&[(0, 1, Put(1)), (2, 3, Put(2)), (4, 5, Got(2))]));
    assert!(wrong(&[(0, 1, Put(1)), (2, 3, Empty), (4, 5, Got(1))]));
    assert!(wrong(&[(0, 1, Put(1)), (2, 3, Full)]));
    assert!(!wrong(&[(0, 9, Put(1)), (2, 3, Empty)]));
}
