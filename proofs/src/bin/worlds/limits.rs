//! Programs that use up something. The error names what ran out, and when some of it is given back everything works again.

use crate::programs::{PATIENCE, Program, expect, text};
use multiproc::{Process, PutError, Queue, pipe};
use std::time::{Duration, Instant};

pub(crate) const THOUSAND: Program = Program { name: "1,000 queues", run: thousand_queues };
pub(crate) const DESCRIPTORS: Program = Program { name: "queues", run: queues_until_the_end };
pub(crate) const PIPES: Program = Program { name: "pipes", run: pipes_until_the_end };
pub(crate) const TOO_LARGE: Program = Program { name: "16 MiB", run: too_large };
pub(crate) const FILLED: Program = Program { name: "filled", run: filled };
pub(crate) const CORE: Program = Program { name: "core dump", run: core_dump };

fn thousand_queues() -> Result<String, String> {
    let mut queues: Vec<Queue<u64>> = Vec::new();
    for number in 0..1000 {
        let q = Queue::unbounded().map_err(|error| format!("queue {number}: {error}"))?;
        q.put(number).map_err(|error| format!("queue {number}: {error}"))?;
        queues.push(q);
    }
    for (number, q) in queues.iter().enumerate() {
        expect("value", q.get_timeout(PATIENCE).map_err(text)?, number as u64)?;
    }
    Ok(String::new())
}

/// Makes things until that fails. Returns how many there were, and the error.
fn until_the_end<T>(make: impl Fn() -> Result<T, String>) -> Result<(usize, String), String> {
    let mut made = Vec::new();
    loop {
        match make() {
            Ok(one) => made.push(one),
            Err(why) => {
                // With nothing left, a process can't start either.
                let child = Process::spawn(crate::programs::wait_for_ever, ());
                if let Ok(child) = child {
                    child.kill().map_err(text)?;
                    child.join().map_err(text)?;
                }
                return Ok((made.len(), why));
            }
        }
        if made.len() > 50_000 {
            return Err("there is no end".into());
        }
    }
}

fn used_queue() -> Result<Queue<u64>, String> {
    let q = Queue::unbounded().map_err(text)?;
    q.put(1).map_err(text)?;
    expect("value", q.get().map_err(text)?, 1)?;
    Ok(q)
}

/// Gives the allocator enough for all small values at once, as Rust's standard library aborts a process whose heap can't grow.
fn set_heap_aside() {
    const PIECE: usize = 64 << 10;
    // SAFETY: changes when the allocator gives memory back: never.
    unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX) };
    drop((0..(64 << 20) / PIECE).map(|_| vec![1u8; PIECE]).collect::<Vec<_>>());
}

/// Reaches the end twice, at the same number both times: nothing was left over.
fn twice<T>(make: impl Fn() -> Result<T, String> + Copy) -> Result<String, String> {
    set_heap_aside();
    let (first, why) = until_the_end(make)?;
    make().map_err(|error| format!("after giving back {first}: {error}"))?;
    let (second, _) = until_the_end(make)?;
    // A thread that started meanwhile may keep a little.
    if first < 4 || second + 4 < first {
        return Err(format!("{first} at first, {second} the second time: {why}"));
    }
    let named = ["too many open files", "cannot allocate memory", "descriptors", "memory", "address space"];
    let clear = named.iter().any(|name| why.to_lowercase().contains(name));
    if clear { Ok(format!("{first}, then: {why}")) } else { Err(format!("after {first}, not clear: {why}")) }
}

fn queues_until_the_end() -> Result<String, String> {
    twice(used_queue)
}

fn pipes_until_the_end() -> Result<String, String> {
    twice(|| {
        let (a, b) = pipe().map_err(text)?;
        a.send(&1_u64).map_err(text)?;
        expect("value", b.recv_timeout(PATIENCE).map_err(text)?, 1)?;
        Ok((a, b))
    })
}

/// Does something with a queue that has a name, and so lies in `/dev/shm`.
fn with_named<T: serde::de::DeserializeOwned>(
    bounded: bool,
    work: impl FnOnce(&Queue<T>) -> Result<String, String>,
) -> Result<String, String> {
    let name = format!("world-{}", std::process::id());
    let builder = Queue::builder();
    let builder = if bounded { builder.bounded(4) } else { builder };
    let q = builder.named(&name).build().map_err(text)?;
    let done = work(&q);
    multiproc::remove_queue(&name).map_err(text)?;
    done
}

/// A value that can never fit is an error at once, not a wait.
fn too_large() -> Result<String, String> {
    for bounded in [false, true] {
        with_named(bounded, |q: &Queue<Vec<u8>>| {
            let begin = Instant::now();
            let Err(error) = q.put(vec![7; 16 << 20]) else { return Err("16 MiB went into 8".into()) };
            let took = begin.elapsed();
            let why = error.to_string();
            if !why.contains("memory") && !why.contains("/dev/shm") {
                return Err(format!("not clear: {why}"));
            }
            expect("length of the value that came back", error.into_inner().len(), 16 << 20)?;
            q.put(vec![7; 100]).map_err(text)?;
            expect("length", q.get_timeout(PATIENCE).map_err(text)?.len(), 100)?;
            if took > Duration::from_secs(2) { Err(format!("refused after {took:?}")) } else { Ok(String::new()) }
        })?;
    }
    Ok(String::new())
}

/// A queue grows until there is no memory. Puts wait or fail, nothing is lost, and the memory is given back.
fn filled() -> Result<String, String> {
    with_named(false, |q: &Queue<Vec<u8>>| {
        let mut fitted = Vec::new();
        for _ in 0..3 {
            let mut put = 0;
            let refused = loop {
                match q.try_put(vec![put as u8; 60_000]) {
                    Ok(()) => put += 1,
                    Err(error) => break error,
                }
            };
            if !matches!(refused, PutError::NoMemory(_)) {
                return Err(format!("after {put} values: {refused:?}"));
            }
            let waited = q.put_timeout(vec![0; 60_000], Duration::from_millis(30));
            if !matches!(waited, Err(PutError::NoMemory(_) | PutError::Timeout(_))) {
                return Err(format!("a wait at the end of memory: {waited:?}"));
            }
            for number in 0..put {
                expect("value", q.get_timeout(PATIENCE).map_err(text)?, vec![number as u8; 60_000])?;
            }
            fitted.push(put);
        }
        // If less than half of 8 MiB fits, memory is wasted. If less fits each time, memory leaks.
        if fitted.iter().all(|&put| put >= 60) {
            Ok(format!("{fitted:?} values of 60,000 bytes"))
        } else {
            Err(format!("{fitted:?}"))
        }
    })
}

/// How much of our shared memory a core dump of this process would hold: the lengths of all maps that are not marked.
fn core_dump() -> Result<String, String> {
    let queues: Result<Vec<Queue<u64>>, String> = (0..10).map(|_| used_queue()).collect();
    let queues = queues?;
    let mut dumped = 0;
    let mut len = 0;
    for line in std::fs::read_to_string("/proc/self/smaps").map_err(text)?.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((from, to)) = first.split_once('-') {
            let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap_or(0));
            len = if words.next().is_some_and(|rights| rights.ends_with('s')) { to - from } else { 0 };
        } else if first == "VmFlags:" && !words.any(|flag| flag == "dd") {
            dumped += len;
        }
    }
    drop(queues);
    if dumped <= 4 << 20 { Ok(format!("{} KiB", dumped >> 10)) } else { Err(format!("{} MiB would be written", dumped >> 20)) }
}
