//! A process is killed after the k-th instruction of an operation, for every k: the survivor's accounting is exact each time.
//!
//! A forked copy of this process runs one operation from a mark on, single-stepped by `ptrace`. After its death this process
//! drains the queue, checks what must be there, and counts that every block of the queue's memory is free again.
//!
//! `cargo run --release --example instructions -- 0` tries every instruction; another number tries at most so many of each
//! operation, spread evenly.

mod victim;

use multiproc::{JoinableQueue, Process, Queue};
use std::time::Duration;
use victim::Victim;

/// Blocks of 64 bytes that each queue here has: as many values fit, and no more.
const BLOCKS: usize = 8;
/// Long enough for one that waits to look around for the dead.
const LOOK: Duration = Duration::from_millis(70);
/// Looks for the dead are at least so far apart.
const APART: Duration = Duration::from_millis(35);

/// Operations longer than this are sampled.
const LONG: u64 = 8000;
const SAMPLE: u64 = 300;

/// One operation: what is there before, what the victim does, and whether what is left afterwards is right.
struct Case {
    name: &'static str,
    run: fn(&mut Victim) -> Result<(), String>,
}

const CASES: [Case; 11] = [
    Case {
        name: "put",
        run: |victim| queue(victim, &[10, 11], |q| ignore(q.put(99)), |left| is_one_of(left, &[&[10, 11], &[10, 11, 99]])),
    },
    Case {
        name: "put into an empty queue",
        run: |victim| queue(victim, &[], |q| ignore(q.put(99)), |left| is_one_of(left, &[&[], &[99]])),
    },
    Case {
        name: "put without memory",
        run: |victim| {
            queue(
                victim,
                &[1, 2, 3, 4, 5, 6, 7, 8],
                |q| ignore(q.try_put(99)),
                |left| is_one_of(left, &[&[1, 2, 3, 4, 5, 6, 7, 8]]),
            )
        },
    },
    Case {
        name: "put_many",
        run: |victim| {
            queue(
                victim,
                &[10],
                |q| ignore(q.put_many([1, 2, 3])),
                |left| is_one_of(left, &[&[10], &[10, 1], &[10, 1, 2], &[10, 1, 2, 3]]),
            )
        },
    },
    Case {
        name: "get",
        run: |victim| queue(victim, &[10, 11, 12], |q| ignore(q.get()), |left| is_one_of(left, &[&[10, 11, 12], &[11, 12]])),
    },
    Case { name: "try_get on empty", run: |victim| queue(victim, &[], |q| ignore(q.try_get()), |left| is_one_of(left, &[&[]])) },
    Case {
        name: "get_many",
        run: |victim| queue(victim, &[1, 2, 3], |q| ignore(q.get_many(2)), |left| is_one_of(left, &[&[1, 2, 3], &[2, 3], &[3]])),
    },
    Case {
        name: "put on full",
        run: |victim| {
            let q = Queue::builder().bounded(2).memory(64 * BLOCKS as u64).max_message(40).build().map_err(text)?;
            q.put_many([1, 2]).map_err(text)?;
            victim.kill(|| ignore(q.try_put(1u64)), || ignore(q.try_put(99)));
            let left: Vec<u64> = std::iter::from_fn(|| q.get_timeout(LOOK).ok()).collect();
            is_one_of(&left, &[&[1, 2]])?;
            q.put_many([3, 4]).map_err(text)?;
            if q.try_put(5).is_ok() { Err("a third value found room".into()) } else { is_one_of(&drain(&q), &[&[3, 4]]) }
        },
    },
    // What a worker has in hand comes back: always all three.
    Case { name: "get from a JoinableQueue", run: |victim| joinable(victim, false, |q| ignore(q.get()), &[&[1, 2, 3]]) },
    Case { name: "task_done", run: |victim| joinable(victim, true, |q| ignore(q.task_done()), &[&[1, 2, 3], &[2, 3]]) },
    Case {
        name: "opening and leaving",
        run: |victim| {
            let q = small()?;
            q.put_many([1, 2]).map_err(text)?;
            let name = name();
            victim.kill(|| (), || ignore(Queue::<u64>::open(&name)));
            finish(&q, |left| is_one_of(left, &[&[1, 2]]))
        },
    },
];

/// What an operation says does not matter: it may not live to say it.
fn ignore<T>(_: T) {}

/// A queue of 64-byte blocks, as many as there are. It has a name for [`sweep`] and for the case that opens it.
fn small() -> Result<Queue<u64>, String> {
    let _ = Queue::<u64>::remove(&name());
    Queue::builder().bounded(1000).memory(64 * BLOCKS as u64).max_message(40).named(name()).build().map_err(text)
}

/// Accounts for the dead before anything is got: whoever attaches does so, unless someone did a moment ago.
fn sweep() -> Result<(), String> {
    std::thread::sleep(APART);
    Queue::<u64>::open(&name()).map(drop).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn name() -> String {
    format!("instructions-{}", std::process::id())
}

fn drain(q: &Queue<u64>) -> Vec<u64> {
    std::iter::from_fn(|| q.try_get().ok()).collect()
}

fn is_one_of(left: &[u64], allowed: &[&[u64]]) -> Result<(), String> {
    if allowed.contains(&left) { Ok(()) } else { Err(format!("{left:?} is left, which is none of {allowed:?}")) }
}

/// The queue works on, and has every block.
fn finish(q: &Queue<u64>, check: impl Fn(&[u64]) -> Result<(), String>) -> Result<(), String> {
    sweep()?;
    check(&drain(q))?;
    let fit = (0..).take_while(|&i| q.try_put(i).is_ok()).count();
    if fit != BLOCKS {
        return Err(format!("{fit} values fit instead of {BLOCKS}: blocks are lost"));
    }
    let back: Vec<u64> = std::iter::from_fn(|| q.try_get().ok()).collect();
    if back.len() == BLOCKS { Ok(()) } else { Err(format!("{back:?} came back of {BLOCKS} values")) }
}

fn queue(
    victim: &mut Victim,
    before: &[u64],
    operation: impl Fn(&Queue<u64>),
    check: impl Fn(&[u64]) -> Result<(), String>,
) -> Result<(), String> {
    let q = small()?;
    q.put_many(before.iter().copied()).map_err(text)?;
    // The copy joins as itself, before the mark; that is a case of its own.
    victim.kill(|| ignore(q.len()), || operation(&q));
    // What had been put when it died is there after the sweep. (After a get the length may still count what was taken.)
    let put = q.len();
    let gets = put <= before.len();
    finish(&q, |left| if gets || left.len() >= put { check(left) } else { Err(format!("{left:?} is left of {put}")) })
}

fn joinable(
    victim: &mut Victim,
    in_hand: bool,
    operation: impl Fn(&JoinableQueue<u64>),
    allowed: &[&[u64]],
) -> Result<(), String> {
    let builder = JoinableQueue::builder().bounded(1000).memory(64 * BLOCKS as u64).max_message(40);
    let q: JoinableQueue<u64> = builder.build().map_err(text)?;
    q.put_many([1, 2, 3]).map_err(text)?;
    let before = || if in_hand { ignore(q.get()) } else { ignore(q.len()) };
    victim.kill(before, || operation(&q));
    // Waits in vain, and looks around meanwhile.
    let unfinished = q.join_timeout(LOOK).map_err(|error| error.unfinished);
    let left = drain(&q);
    is_one_of(&left, allowed)?;
    if unfinished != Err(left.len()) {
        return Err(format!("{left:?} is left, but {unfinished:?} are said to be unfinished"));
    }
    for _ in &left {
        q.task_done().map_err(text)?;
    }
    q.join_timeout(LOOK).map_err(text)?;
    let fit = (0..).take_while(|&i| q.try_put(i).is_ok()).count();
    if fit == BLOCKS { Ok(()) } else { Err(format!("{fit} values fit instead of {BLOCKS}: blocks are lost")) }
}

/// Instructions of a case, found by running it to its end.
fn length(case: &Case) -> Result<u64, String> {
    let mut steps = 64;
    loop {
        let mut victim = Victim::after(steps);
        (case.run)(&mut victim)?;
        if victim.ended {
            return Ok(steps);
        }
        steps += steps / 2;
    }
}

/// All cases with one kill point each, as often as there are any left: in a process of its own, for all processors to work.
fn kill_all((case, points): (usize, Vec<u64>)) -> Result<(), String> {
    let case = &CASES[case];
    for steps in points {
        let mut victim = Victim::after(steps);
        (case.run)(&mut victim).map_err(|error| format!("{} after {steps} instructions: {error}", case.name))?;
    }
    let _ = Queue::<u64>::remove(&name());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let most: u64 = std::env::args().nth(1).map_or(Ok(40), |n| n.parse())?;
    // Most of the time of a case is waiting for a look around, so many go on at once.
    let workers = 24;
    let (mut cases, mut failed) = (0, 0);
    for (number, case) in CASES.iter().enumerate() {
        let length = length(case)?;
        // Attaching makes hundreds of system calls' worth of instructions: at those a sample has to do.
        let points = if most > 0 {
            most
        } else if length > LONG {
            SAMPLE
        } else {
            length
        };
        let stride = (length / points).max(1);
        let points: Vec<u64> = (1..=length).step_by(stride as usize).collect();
        let spread = (0..workers).map(|w| points.iter().copied().skip(w).step_by(workers).collect::<Vec<_>>());
        let processes: Result<Vec<_>, _> = spread.map(|mine| Process::spawn(kill_all, (number, mine))).collect();
        let mut bad = 0;
        for process in processes? {
            bad += u64::from(!process.join()?.is_success());
        }
        let which = if stride == 1 { "each".into() } else { format!("every {stride}th") };
        println!("{:<28} {:>6} kill points, {which} of at most {length} instructions, {bad} failed", case.name, points.len());
        (cases, failed) = (cases + points.len(), failed + bad);
    }
    let _ = Queue::<u64>::remove(&name());
    println!("instructions: {cases} cases, {failed} failed");
    if failed > 0 { Err("some kill points failed".into()) } else { Ok(()) }
}
