//! Sends messages of 0 B to 1 MiB between 16 processes for hours. Each arrives once and whole, and neither memory nor descriptors
//! grow.
//!
//! `cargo run --release -p multiproc-proofs --bin soak -- 1000000000`

use multiproc::{GetError, Process, Queue};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::{Duration, Instant};

const PRODUCERS: u64 = 8;
const CONSUMERS: u64 = 8;
const LONGEST: usize = 1 << 20;

/// Messages, bytes, and the sum of a mark for each message. Equal sums mean the same messages, but for a chance of one in 2^64.
type Sum = (u64, u64, u64);

fn add(sum: &mut Sum, head: u64, len: usize) {
    let (messages, bytes, marks) = sum;
    *messages += 1;
    *bytes += len as u64;
    *marks = marks.wrapping_add(BuildHasherDefault::<DefaultHasher>::default().hash_one((head, len)));
}

/// Most lengths are short and few are long. One in 130,000 is the longest.
fn length(random: u64) -> usize {
    let uniform = (random >> 11) as f64 / (1u64 << 53) as f64;
    ((8.0 / uniform.max(1e-12) - 8.0) as usize).min(LONGEST)
}

/// The ranges of the first eight bytes, which number the message, and of the last eight, which repeat them.
fn ends(len: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    (0..len.min(8), len.saturating_sub(8).max(len.min(8))..len)
}

fn produce((q, sums, number, messages): (Queue<u8>, Queue<Sum>, u64, u64)) {
    let mut sum = Sum::default();
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let filling = vec![0xa5; LONGEST];
    for sequence in 0..messages {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let len = length(random);
        let bytes = (sequence << 4 | number).to_le_bytes();
        let (first, last) = ends(len);
        let loan = q.loan(len).unwrap();
        let _ = loan.copy_from(first.start, &bytes[..first.len()]);
        let _ = loan.copy_from(first.end, &filling[first.end..last.start.max(first.end)]);
        let _ = loan.copy_from(last.start, &bytes[..last.len()]);
        loan.send().unwrap();
        add(&mut sum, head(&bytes[..first.len()]), len);
    }
    sums.put(sum).unwrap();
}

fn head(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |head, &byte| head << 8 | u64::from(byte))
}

fn consume((q, sums): (Queue<u8>, Queue<Sum>)) {
    let mut sum = Sum::default();
    let mut buffer = vec![0; LONGEST];
    loop {
        match q.borrow() {
            Ok(message) => {
                let bytes = &mut buffer[..message.len()];
                assert!(message.copy_to(0, bytes));
                drop(message);
                let (first, last) = ends(bytes.len());
                assert_eq!(bytes[last.clone()], bytes[..last.len()], "a message of {} bytes is torn", bytes.len());
                assert!(bytes[first.end..last.start.max(first.end)].iter().all(|&byte| byte == 0xa5));
                add(&mut sum, head(&bytes[first]), bytes.len());
            }
            Err(GetError::ShutDown) => break,
            Err(error) => panic!("{error}"),
        }
    }
    sums.put(sum).unwrap();
}

/// Private memory in KiB and descriptors of all processes together, and the KiB of shared memory that they all map.
fn used(processes: &[Process]) -> (u64, usize, u64) {
    let (mut private, mut descriptors, mut shared) = (0, 0, 0);
    for process in processes {
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
        private += field("RssAnon:").unwrap_or(0);
        shared = shared.max(field("RssShmem:").unwrap_or(0));
        descriptors += std::fs::read_dir(format!("/proc/{}/fd", process.pid())).map_or(0, Iterator::count);
    }
    (private, descriptors, shared)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let messages: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let q: Queue<u8> = Queue::builder().bounded(1024).memory(1 << 30).max_message(LONGEST as u64).build()?;
    let (put, got) = (Queue::unbounded()?, Queue::unbounded()?);
    let begin = Instant::now();
    let share = |number| messages / PRODUCERS + u64::from(number < messages % PRODUCERS);
    let consumers: Result<Vec<_>, _> = (0..CONSUMERS).map(|_| Process::spawn(consume, (q.clone(), got.clone()))).collect();
    let producers: Result<Vec<_>, _> =
        (0..PRODUCERS).map(|number| Process::spawn(produce, (q.clone(), put.clone(), number, share(number)))).collect();
    let (consumers, producers) = (consumers?, producers?);
    // Ten looks a second at first, later one every ten seconds. The first half says what the second half may use.
    let mut looks = Vec::new();
    let mut next = Duration::from_millis(100);
    while producers.iter().all(Process::is_alive) {
        if begin.elapsed() > next {
            looks.push(used(&consumers));
            next += (next / 10).clamp(Duration::from_millis(100), Duration::from_secs(10));
        }
        producers[0].join_timeout(Duration::from_millis(50))?;
    }
    for process in &producers {
        assert!(process.join()?.success());
    }
    q.shutdown();
    for process in &consumers {
        assert!(process.join()?.success());
    }
    let total = |sums: &Queue<Sum>| {
        let mut total = Sum::default();
        while let Ok((messages, bytes, marks)) = sums.try_get() {
            total = (total.0 + messages, total.1 + bytes, total.2.wrapping_add(marks));
        }
        total
    };
    let (put, got) = (total(&put), total(&got));
    let took = begin.elapsed().as_secs_f64();
    println!("{} messages, {} MiB, in {took:.0} s: {:.2} M messages/s", got.0, got.1 >> 20, got.0 as f64 / took / 1e6);
    assert_eq!(put, got, "messages, bytes and marks that were put and got");
    assert_eq!(got.0, messages);
    let most = |looks: &[(u64, usize, u64)]| looks.iter().fold((0, 0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1), a.2.max(b.2)));
    let (early, late) = (most(&looks[..looks.len() / 2]), most(&looks[looks.len() / 2..]));
    println!(
        "at most, in the first half of {} looks and in the second: {early:?}, {late:?} (KiB private, descriptors, KiB shared)",
        looks.len()
    );
    // Long messages are rare, so their blocks come into use late. The builder's limit bounds that memory. A consumer that waits
    // for long for the first time begins to keep watch, and opens this many descriptors for it.
    let watch = 5 * consumers.len();
    let grows = late.0 > early.0 + 1024 || late.1 > early.1 + watch || late.2 > (1 << 20) + (64 << 10);
    assert!(!grows, "something grows");
    println!("soak: {messages} cases, 0 failed");
    Ok(())
}
