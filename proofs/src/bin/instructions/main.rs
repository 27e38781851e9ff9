//! Kills a process after the k-th instruction of an operation, for every k. The survivor's accounting is exact each time.
//!
//! A forked copy of this process runs one operation from a mark on, single-stepped by `ptrace`. After its death this process
//! drains the queue, checks what must be in it, and checks that every block of the queue's memory is free again.
//!
//! `cargo run --release -p multiproc-proofs --bin instructions -- 0` tries every instruction; another number N tries at most N of
//! each operation, spread evenly. A text after it chooses the operations whose names have it.

mod ends;
mod pools;

use multiproc_proofs::spread;

use multiproc::{JoinableQueue, Queue, remove_queue};
use multiproc_proofs::victim::{PLACES, Victim};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Blocks of 64 bytes that each queue here has. As many values fit.
const BLOCKS: usize = 8;
/// A call that waits this long looks for the dead meanwhile.
const LOOK: Duration = Duration::from_millis(70);
/// The shortest time between two looks for the dead.
const APART: Duration = Duration::from_millis(35);

/// Operations longer than this are sampled.
const LONG: u64 = 8000;
const SAMPLE: u64 = 300;

/// One operation: the values that are there before, what the victim does, and a check of the values that are left.
struct Case {
    name: &'static str,
    run: fn(&mut Victim) -> Result<(), String>,
}

const CASES: [Case; 32] = [
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
            let all = in_blocks();
            queue_of(victim, &all, |q| ignore(q.try_put(99)), |left| is_one_of(left, &[&all]))
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
    Case {
        name: "put in a block",
        run: |victim| {
            let [a, b, c, ..] = in_blocks();
            queue_of(victim, &[a, b], |q| ignore(q.put(c)), |left| is_one_of(left, &[&[a, b], &[a, b, c]]))
        },
    },
    Case {
        name: "get from a block",
        run: |victim| {
            let [a, b, c, ..] = in_blocks();
            queue_of(victim, &[a, b, c], |q| ignore(q.get()), |left| is_one_of(left, &[&[a, b, c], &[b, c]]))
        },
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
    // The value in the dead worker's hand comes back, so all three are left.
    Case { name: "get from a JoinableQueue", run: |victim| joinable(victim, false, |q| ignore(q.get()), &[&[1, 2, 3]]) },
    Case { name: "task_done", run: |victim| joinable(victim, true, |q| ignore(q.task_done()), &[&[1, 2, 3], &[2, 3]]) },
    Case { name: "get going to sleep", run: |victim| sleeper(victim, false) },
    Case { name: "put going to sleep", run: |victim| sleeper(victim, true) },
    Case { name: "put of another size", run: another_size },
    Case { name: "give back", run: |victim| delivery(victim, Then::GiveBack) },
    Case { name: "done", run: |victim| delivery(victim, Then::Done) },
    Case { name: "a sweep, from a join that sleeps", run: sweep_from_join },
    Case { name: "dead letter put back", run: letter },
    Case { name: "send", run: |victim| sending(victim, 8) },
    Case { name: "send what takes several records", run: |victim| sending(victim, 17_000) },
    Case { name: "recv", run: |victim| receiving(victim, 8) },
    Case { name: "recv of several records", run: |victim| receiving(victim, 17_000) },
    Case { name: "closing a pipe", run: closing },
    Case { name: "dropping a sender", run: ends::dropping },
    Case { name: "dropping the last sender", run: ends::dropping_the_last },
    Case { name: "sending a sender", run: ends::sending },
    Case { name: "receiving a sender", run: ends::receiving },
    Case {
        name: "opening and leaving",
        run: |victim| {
            let q = small::<u64>()?;
            q.put_many([1, 2]).map_err(text)?;
            let name = name();
            victim.kill(|| (), || ignore(Queue::<u64>::open(&name)));
            finish(q, |left| is_one_of(left, &[&[1, 2]]))
        },
    },
    // These start threads, so no later case may fork.
    Case { name: "a task of a pool", run: |victim| pools::task(victim, 0) },
    Case { name: "a task of a pool, tried again", run: |victim| pools::task(victim, 1) },
    Case { name: "a chunk of a pool", run: pools::chunk },
];

/// Drops the result of an operation, which the victim may not live to see.
fn ignore<T>(_: T) {}

/// A value of these queues: 8 bytes lie in a slot, longer values need a block.
trait Value: bytemuck::Pod + Serialize + DeserializeOwned + std::fmt::Debug + PartialEq {}
impl Value for u64 {}
impl Value for u128 {}

/// A value for each block.
fn in_blocks() -> [u128; BLOCKS] {
    std::array::from_fn(|index| index as u128)
}

/// A queue of [`BLOCKS`] blocks. It has a name, for [`swept`] and for the case that opens it.
fn small<T: Value>() -> Result<Queue<T>, String> {
    let _ = remove_queue(&name());
    Queue::builder().bounded(1000).memory(64 * BLOCKS as u64).max_message(40).named(name()).build().map_err(text)
}

/// Has the dead swept before anything is got. A process that attaches sweeps, unless another process swept a moment ago. This
/// process is attached already, so it leaves first.
fn swept<T: DeserializeOwned>(q: Queue<T>) -> Result<Queue<T>, String> {
    drop(q);
    std::thread::sleep(APART);
    Queue::open(&name()).map_err(text)
}

/// The copy attaches as a process of its own before the mark. Attaching is another case.
fn attach<T: Value>(q: &Queue<T>) {
    ignore(q.get_many(0));
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn name() -> String {
    format!("instructions-{}", std::process::id())
}

fn drain<T: Value>(q: &Queue<T>) -> Vec<T> {
    q.try_iter().collect()
}

fn is_one_of<T: Value>(left: &[T], allowed: &[&[T]]) -> Result<(), String> {
    if allowed.contains(&left) { Ok(()) } else { Err(format!("{left:?} is left, which is none of {allowed:?}")) }
}

/// Checks the values that are left, then that the queue works on and has every block.
fn finish<T: Value>(q: Queue<T>, check: impl Fn(&[T]) -> Result<(), String>) -> Result<(), String> {
    let q = swept(q)?;
    check(&drain(&q))?;
    // Two values in place are too long for a slot, so each message takes a block.
    let fit = (0..).take_while(|_| q.try_loan(2).is_ok_and(|loan| loan.send().is_ok())).count();
    if fit != BLOCKS {
        return Err(format!("{fit} values fit instead of {BLOCKS}: blocks are lost"));
    }
    let back = std::iter::from_fn(|| q.try_borrow().ok().map(|message| message.len())).count();
    if back == BLOCKS { Ok(()) } else { Err(format!("{back} came back of {BLOCKS} values")) }
}

fn queue(
    victim: &mut Victim,
    before: &[u64],
    operation: impl Fn(&Queue<u64>),
    check: impl Fn(&[u64]) -> Result<(), String>,
) -> Result<(), String> {
    queue_of(victim, before, operation, check)
}

fn queue_of<T: Value>(
    victim: &mut Victim,
    before: &[T],
    operation: impl Fn(&Queue<T>),
    check: impl Fn(&[T]) -> Result<(), String>,
) -> Result<(), String> {
    let q = small()?;
    q.put_many(before.iter().copied()).map_err(text)?;
    victim.kill(|| attach(&q), || operation(&q));
    // A value that had been put when the victim died is there after the sweep. After a get the length may still count the value
    // taken.
    let put = q.len();
    let gets = put <= before.len();
    finish(q, |left| if gets || left.len() >= put { check(left) } else { Err(format!("{left:?} is left of {put}")) })
}

fn joinable(
    victim: &mut Victim,
    in_hand: bool,
    operation: impl Fn(&JoinableQueue<u64>),
    allowed: &[&[u64]],
) -> Result<(), String> {
    let builder = JoinableQueue::builder().bounded(1000).participants(PLACES).memory(64 * BLOCKS as u64).max_message(16);
    let q: JoinableQueue<u64> = builder.build().map_err(text)?;
    q.put_many([1, 2, 3]).map_err(text)?;
    let before = || if in_hand { ignore(q.get()) } else { ignore(q.get_many(0)) };
    victim.kill(before, || operation(&q));
    // This waits in vain, and looks for the dead meanwhile.
    let unfinished = q.join_timeout(LOOK).map_err(|_| q.unfinished());
    let left: Vec<u64> = q.try_iter().collect();
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

/// A first wait in vain, after which a wait no longer spins for long.
const IN_VAIN: Duration = Duration::from_millis(10);
/// How long the victim sleeps: too short for a look for the dead.
const NAP: Duration = Duration::from_millis(2);

/// The victim waits in vain, for a value or for room, and dies on its way to sleep or on its way back.
fn sleeper(victim: &mut Victim, for_room: bool) -> Result<(), String> {
    let _ = remove_queue(&name());
    let q = Queue::builder().bounded(2).memory(64 * BLOCKS as u64).max_message(40).named(name()).build().map_err(text)?;
    let before: &[u64] = if for_room { &[1, 2] } else { &[] };
    q.put_many(before.iter().copied()).map_err(text)?;
    let wait = |timeout| if for_room { ignore(q.put_timeout(99, timeout)) } else { ignore(q.get_timeout(timeout)) };
    victim.kill(|| wait(IN_VAIN), || wait(NAP));
    let q = swept(q)?;
    is_one_of(&drain(&q), &[before])?;
    // The next process that waits is woken.
    let (waiting, woken) = (q.clone(), q.clone());
    let waiter = std::thread::spawn(move || waiting.get_timeout(Duration::from_secs(10)));
    woken.put(7).map_err(text)?;
    let got = waiter.join().map_err(|_| "the waiter panicked".to_owned())?.map_err(text)?;
    is_one_of(&[got], &[&[7]])?;
    whole(|| q.try_loan(2).ok())
}

/// Checks that every block is free.
fn whole<L>(loan: impl FnMut() -> Option<L>) -> Result<(), String> {
    let loans: Vec<L> = std::iter::from_fn(loan).collect();
    if loans.len() == BLOCKS { Ok(()) } else { Err(format!("{} blocks of {BLOCKS} are free", loans.len())) }
}

/// Small values, until one has to go to a larger block; then a value that is itself larger.
fn another_size(victim: &mut Victim) -> Result<(), String> {
    let _ = remove_queue(&name());
    // Four blocks of 64 bytes, two of 128, one of 256.
    let q = Queue::builder().bounded(100).memory(768).max_message(240).named(name()).build().map_err(text)?;
    let small = |n: u8| vec![n; 10];
    for n in 0..4 {
        q.put(small(n)).map_err(text)?;
    }
    victim.kill(|| ignore(q.get_many(0)), || ignore(q.try_put(small(4))));
    let q = swept(q)?;
    let left: Vec<Vec<u8>> = std::iter::from_fn(|| q.try_get().ok()).collect();
    if !(4..=5).contains(&left.len()) || left.iter().zip(0..).any(|(value, n)| *value != small(n)) {
        return Err(format!("{left:?} is left"));
    }
    q.try_put(vec![9; 200]).map_err(|error| format!("the large block is lost: {error}"))?;
    let fit = (0..).take_while(|&n| q.try_put(small(n)).is_ok()).count();
    if fit == 6 { Ok(()) } else { Err(format!("{fit} small values fit instead of 6")) }
}

#[derive(Clone, Copy, PartialEq)]
enum Then {
    Done,
    GiveBack,
}

/// One of two values is in hand as a delivery, and done or given back.
fn delivery(victim: &mut Victim, then: Then) -> Result<(), String> {
    let q = small_joinable()?;
    q.put_many([1, 2]).map_err(text)?;
    let in_hand = std::cell::RefCell::new(None);
    let operation = || match in_hand.take() {
        Some(delivery) if then == Then::Done => ignore(multiproc::Delivery::done(delivery)),
        other => drop(other),
    };
    victim.kill(|| *in_hand.borrow_mut() = q.get_delivery().ok(), operation);
    let unfinished = q.join_timeout(LOOK).map_err(|_| q.unfinished());
    let mut left = Vec::new();
    while let Ok(delivery) = q.try_get_delivery() {
        if *delivery == 1 && delivery.count() < 2 {
            return Err("1 came back without a raised count".into());
        }
        left.push(delivery.done());
    }
    is_one_of(&left, if then == Then::Done { &[&[1, 2], &[2]] } else { &[&[1, 2]] })?;
    if unfinished != Err(left.len()) {
        return Err(format!("{left:?} is left, but {unfinished:?} are said to be unfinished"));
    }
    q.join_timeout(LOOK).map_err(text)?;
    whole(|| q.try_loan(2).ok())
}

fn small_joinable() -> Result<JoinableQueue<u64>, String> {
    let builder = JoinableQueue::builder().bounded(1000).participants(PLACES).memory(64 * BLOCKS as u64).max_message(16);
    builder.max_deliveries(3).build().map_err(text)
}

/// A process died with values in hand, done and not done. The victim finds it dead, and dies during the sweep.
fn sweep_from_join(victim: &mut Victim) -> Result<(), String> {
    let q = small_joinable()?;
    q.put_many([1, 2, 3, 4]).map_err(text)?;
    let take = || {
        ignore(q.get());
        ignore(q.task_done());
        ignore((q.get(), q.get()));
    };
    Victim::after(0).kill(take, || ());
    // A waiter looks for the dead after its first sleep, unless another process looked a moment ago.
    std::thread::sleep(APART);
    victim.kill(|| ignore(q.join_timeout(IN_VAIN)), || ignore(q.join_timeout(LOOK)));
    let unfinished = q.join_timeout(LOOK).map_err(|_| q.unfinished());
    let mut left = Vec::new();
    while let Ok(delivery) = q.try_get_delivery() {
        // One more than usual if the first sweeper raised the count and died before it gave the value back.
        let expected = if *delivery == 4 { 1..=1 } else { 2..=3 };
        if !expected.contains(&delivery.count()) {
            return Err(format!("{} came with a count of {}", *delivery, delivery.count()));
        }
        left.push(delivery.done());
    }
    left.sort_unstable();
    is_one_of(&left, &[&[2, 3, 4]])?;
    if unfinished != Err(3) {
        return Err(format!("{unfinished:?} are said to be unfinished, not 3"));
    }
    q.join_timeout(LOOK).map_err(text)?;
    whole(|| q.try_loan(2).ok())
}

/// The victim puts a dead letter back.
fn letter(victim: &mut Victim) -> Result<(), String> {
    let q = small_joinable()?;
    q.put(1).map_err(text)?;
    for _ in 0..3 {
        q.get_delivery().map_err(text)?.give_back();
    }
    let put_back = || q.try_get_dead().map(multiproc::DeadLetter::put_back);
    victim.kill(|| ignore(q.get_many(0)), || ignore(put_back()));
    // If the letter is still a dead letter, this waits in vain, and looks for the dead meanwhile.
    let new = q.get_timeout(LOOK).is_ok();
    if new {
        q.task_done().map_err(text)?;
    }
    let dead = q.try_get_dead().is_ok();
    q.join_timeout(LOOK).map_err(text)?;
    if new == dead {
        return Err(format!("the letter is in the queue: {new}, among the dead: {dead}"));
    }
    whole(|| q.try_loan(2).ok())
}

/// This process goes on with the dead sender's end of a pipe. The other end gets whole messages only.
fn sending(victim: &mut Victim, len: usize) -> Result<(), String> {
    let (ours, theirs) = multiproc::pipe::<Vec<u8>>().map_err(text)?;
    let message = vec![1; len];
    victim.kill(|| ignore(theirs.poll(Duration::ZERO)), || ignore(theirs.send_bytes(&message)));
    theirs.send_bytes(&[2; 10]).map_err(text)?;
    drop(theirs);
    let got: Vec<Vec<u8>> = std::iter::from_fn(|| ours.recv_bytes().ok()).collect();
    match got.as_slice() {
        [second] if *second == [2; 10] => Ok(()),
        [first, second] if *first == vec![1; len] && *second == [2; 10] => Ok(()),
        _ => Err(format!("messages of {:?} bytes came", got.iter().map(Vec::len).collect::<Vec<_>>())),
    }
}

fn receiving(victim: &mut Victim, len: usize) -> Result<(), String> {
    let (ours, theirs) = multiproc::pipe::<Vec<u8>>().map_err(text)?;
    ours.send_bytes(&vec![1; len]).map_err(text)?;
    ours.send_bytes(&[2; 10]).map_err(text)?;
    victim.kill(|| ignore(theirs.poll(Duration::ZERO)), || ignore(theirs.recv_bytes()));
    // The messages that are left are there already.
    let more = |end: &multiproc::Connection<Vec<u8>>| end.poll(Duration::ZERO).is_ok_and(|there| there);
    let got: Vec<Vec<u8>> =
        std::iter::from_fn(|| more(&theirs).then(|| theirs.recv_bytes_max(len.max(10), None).ok())?).collect();
    match got.as_slice() {
        [second] if *second == [2; 10] => {}
        [first, second] if *first == vec![1; len] && *second == [2; 10] => {}
        _ => return Err(format!("messages of {:?} bytes are left", got.iter().map(Vec::len).collect::<Vec<_>>())),
    }
    ours.send_bytes(&[3; 10]).map_err(text)?;
    let next = theirs.recv_bytes().map_err(text)?;
    if next == [3; 10] { Ok(()) } else { Err(format!("{next:?} came next")) }
}

/// The other end is told when the last process with this end closes it or dies.
fn closing(victim: &mut Victim) -> Result<(), String> {
    let (ours, theirs) = multiproc::pipe::<Vec<u8>>().map_err(text)?;
    let theirs = std::cell::RefCell::new(Some(theirs));
    victim.kill(|| ignore(theirs.borrow().as_ref().map(|end| end.send(&vec![1]))), || drop(theirs.take()));
    drop(theirs);
    let (first, second) = (ours.recv_timeout(LOOK), ours.recv_timeout(LOOK));
    match (first, second, ours.send(&vec![2])) {
        (Ok(_), Err(multiproc::pipe::RecvError::Disconnected), Err(multiproc::pipe::SendError::Disconnected)) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// How many instructions a case has, found by running it to its end.
fn length(case: &Case) -> Result<u64, String> {
    let mut victim = Victim::after(u64::MAX);
    (case.run)(&mut victim)?;
    Ok(victim.taken)
}

/// Runs one case with each of these kill points, in a process of its own.
fn kill_all((case, points): (usize, Vec<u64>)) -> Result<(), String> {
    let case = &CASES[case];
    for steps in points {
        let mut victim = Victim::after(steps);
        (case.run)(&mut victim).map_err(|error| format!("{} after {steps} instructions: {error}", case.name))?;
    }
    let _ = remove_queue(&name());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let most: u64 = std::env::args().nth(1).map_or(Ok(40), |n| n.parse())?;
    let only = std::env::args().nth(2).unwrap_or_default();
    // A case spends most of its time waiting for a look for the dead, so many run at once.
    let workers = 24;
    let (mut cases, mut failed) = (0, 0);
    for (number, case) in CASES.iter().enumerate().filter(|(_, case)| case.name.contains(&only)) {
        let length = length(case)?;
        // Attaching takes too many instructions to try each. There a sample has to do.
        let points = if most > 0 {
            most
        } else if length > LONG {
            SAMPLE
        } else {
            length
        };
        let stride = (length / points).max(1);
        let points: Vec<u64> = (1..=length).step_by(stride as usize).collect();
        let bad = spread::over_processes(workers, kill_all, number, &points)?;
        let which = if stride == 1 { "each".into() } else { format!("every {stride}th") };
        println!("{:<34} {:>6} kill points, {which} of {length} instructions, {bad} failed", case.name, points.len());
        (cases, failed) = (cases + points.len(), failed + bad);
    }
    let _ = remove_queue(&name());
    println!("instructions: {cases} cases, {failed} failed");
    if failed > 0 { Err("some kill points failed".into()) } else { Ok(()) }
}
