//! Stops a process after the k-th instruction of an operation, for every k. Meanwhile the others exchange thousands of messages.
//! When the process goes on, nothing is lost or doubled.
//!
//! `cargo run --release -p multiproc-proofs --bin stops -- 0` tries every instruction; another number N tries at most N of each
//! operation, spread evenly.

use multiproc_proofs::spread;

use multiproc::{Delivery, JoinableQueue, Queue};
use multiproc_proofs::victim::{PLACES, Victim};
use std::time::{Duration, Instant};

/// Messages exchanged while the victim is stopped.
const EXCHANGED: u64 = 10_000;

struct Case {
    name: &'static str,
    before: &'static [u64],
    /// What the victim does. Returns the values that it got.
    operation: Operation,
    /// The values that the victim puts.
    puts: &'static [u64],
}

enum Operation {
    Queue(fn(&Queue<u64>) -> Vec<u64>),
    Joinable(fn(&JoinableQueue<u64>) -> Vec<u64>),
}

const CASES: [Case; 10] = [
    Case { name: "put", before: &[1, 2], operation: Operation::Queue(|q| put(q, &[7])), puts: &[7] },
    Case { name: "put_many", before: &[1], operation: Operation::Queue(|q| put(q, &[7, 8, 9])), puts: &[7, 8, 9] },
    Case { name: "get", before: &[1, 2, 3], operation: Operation::Queue(|q| q.get().into_iter().collect()), puts: &[] },
    Case { name: "get_many", before: &[1, 2, 3], operation: Operation::Queue(|q| q.get_many(2).unwrap_or_default()), puts: &[] },
    Case { name: "try_get", before: &[], operation: Operation::Queue(|q| q.try_get().into_iter().collect()), puts: &[] },
    Case {
        name: "get going to sleep",
        before: &[],
        operation: Operation::Queue(|q| q.get_timeout(Duration::from_millis(1)).into_iter().collect()),
        puts: &[],
    },
    Case {
        name: "get and task_done",
        before: &[1, 2],
        operation: Operation::Joinable(|q| {
            let got = q.get().into_iter().collect();
            q.task_done().expect("it was got");
            got
        }),
        puts: &[],
    },
    Case {
        name: "delivery done",
        before: &[1, 2],
        operation: Operation::Joinable(|q| q.get_delivery().into_iter().map(Delivery::done).collect()),
        puts: &[],
    },
    Case {
        name: "delivery given back",
        before: &[1, 2],
        operation: Operation::Joinable(|q| {
            q.get_delivery().into_iter().for_each(Delivery::give_back);
            Vec::new()
        }),
        puts: &[],
    },
    Case {
        name: "join going to sleep",
        before: &[1, 2],
        operation: Operation::Joinable(|q| {
            let _ = q.join_timeout(Duration::from_millis(1));
            Vec::new()
        }),
        puts: &[],
    },
];

fn put(q: &Queue<u64>, values: &[u64]) -> Vec<u64> {
    q.put_many(values.iter().copied()).expect("there is room");
    Vec::new()
}

/// Runs a case. Returns how many instructions the victim ran before it was stopped.
fn run(case: &Case, steps: u64) -> Result<u64, String> {
    match case.operation {
        Operation::Queue(operation) => {
            let q = Queue::builder().bounded(16).participants(PLACES).build().map_err(text)?;
            exchange(case, steps, &q, || operation(&q), || Ok(()))
        }
        Operation::Joinable(operation) => {
            let jobs = JoinableQueue::builder().bounded(16).participants(PLACES).build().map_err(text)?;
            let taken = exchange(case, steps, &jobs, || operation(&jobs), || jobs.task_done().map_err(text))?;
            // The victim has left, and everything it did counts.
            jobs.join_timeout(Duration::from_secs(10)).map_err(text)?;
            Ok(taken)
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What the exchange needs of either kind of queue.
trait Values {
    fn put_all(&self, values: &[u64]) -> Result<(), String>;
    fn try_put(&self, value: u64) -> Result<(), String>;
    fn try_get(&self) -> Result<u64, String>;
    fn join_as_itself(&self) -> bool;
}

macro_rules! values {
    ($($Kind:ident),+) => {$(
        impl Values for $Kind<u64> {
            fn put_all(&self, values: &[u64]) -> Result<(), String> {
                self.put_many(values.iter().copied()).map(drop).map_err(text)
            }
            fn try_put(&self, value: u64) -> Result<(), String> {
                $Kind::try_put(self, value).map_err(text)
            }
            fn try_get(&self) -> Result<u64, String> {
                $Kind::try_get(self).map_err(text)
            }
            fn join_as_itself(&self) -> bool {
                self.get_many(0).is_ok()
            }
        }
    )+};
}

values!(Queue, JoinableQueue);

/// The victim does its operation on the queue. While it is stopped, this process puts, gets and `finish`es thousands of values.
fn exchange(
    case: &Case,
    steps: u64,
    q: &impl Values,
    operation: impl Fn() -> Vec<u64>,
    finish: impl Fn() -> Result<(), String>,
) -> Result<u64, String> {
    let report: Queue<Vec<u64>> = Queue::bounded(1).map_err(text)?;
    q.put_all(case.before)?;
    let got = std::cell::RefCell::new(Vec::new());
    let mut all = Vec::new();
    let mut refused = None;
    let mut victim = Victim::after(steps);
    victim.stop(
        // The copy joins as itself, before the mark.
        || assert!(q.join_as_itself()),
        || *got.borrow_mut() = operation(),
        || report.put(got.take()).expect("there is room"),
        || {
            for i in 0..EXCHANGED {
                // None of these may fail or wait, whatever the victim holds.
                match (q.try_put(1000 + i), q.try_get(), finish()) {
                    (Ok(()), Ok(value), Ok(())) => all.push(value),
                    other => refused = Some(format!("message {i}: {other:?}")),
                }
            }
        },
    );
    if let Some(refused) = refused {
        return Err(refused);
    }
    all.extend(report.get().map_err(text)?);
    while let Ok(value) = q.try_get() {
        finish()?;
        all.push(value);
    }
    let mut expected: Vec<u64> = case.before.iter().chain(case.puts).copied().chain((0..EXCHANGED).map(|i| 1000 + i)).collect();
    all.sort_unstable();
    expected.sort_unstable();
    if all == expected { Ok(victim.taken) } else { Err(format!("{} values came out of {}", all.len(), expected.len())) }
}

fn run_all((case, points): (usize, Vec<u64>)) -> Result<(), String> {
    for steps in points {
        run(&CASES[case], steps).map_err(|error| format!("{} after {steps} instructions: {error}", CASES[case].name))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let most: u64 = std::env::args().nth(1).map_or(Ok(40), |n| n.parse())?;
    let workers = 4;
    let (mut cases, mut failed) = (0, 0);
    for (number, case) in CASES.iter().enumerate() {
        let length = run(case, u64::MAX)?;
        // A limit of 0 means each instruction.
        let stride = length.checked_div(most).map_or(1, |stride| stride.max(1));
        let points: Vec<u64> = (1..=length).step_by(stride as usize).collect();
        let begin = Instant::now();
        let bad = spread::over_processes(workers, run_all, number, &points)?;
        let took = begin.elapsed().as_secs_f64();
        println!("{:<22} {:>5} stops of {length} instructions, {took:.1} s, {bad} failed", case.name, points.len());
        (cases, failed) = (cases + points.len(), failed + bad);
    }
    println!("stops: {cases} cases, {failed} failed");
    if failed > 0 { Err("some stops failed".into()) } else { Ok(()) }
}
