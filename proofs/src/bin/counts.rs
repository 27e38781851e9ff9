//! Does one operation again and again. `cargo xtask ci` runs it under callgrind, which counts the instructions.
//!
//! `cargo run --release -p multiproc-proofs --bin counts -- "queue u64" 1000`

use multiproc::{JoinableQueue, Queue, pipe_oneway};
use std::hint::black_box;

/// Rounds after which nothing happens for the first time: memory is there, buffers have their size.
const ONCE: u64 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _main = multiproc::init();
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let n: u64 = arguments.next().map_or(Ok(1000), |n| n.parse())?;
    let numbers = Queue::<u64>::bounded(64)?;
    let texts = Queue::<[u64; 4]>::bounded(64)?;
    let bytes = Queue::<Vec<u8>>::bounded(64)?;
    let jobs = JoinableQueue::<u64>::bounded(64)?;
    let (receiver, sender) = pipe_oneway::<u64>()?;
    let mut buffer = [0; 8];
    let mut operation = || -> Result<(), Box<dyn std::error::Error>> {
        match what.as_str() {
            "queue u64" => {
                numbers.put(black_box(7))?;
                black_box(numbers.get()?);
            }
            "queue 32 bytes" => {
                texts.put(black_box([u64::MAX; 4]))?;
                black_box(texts.get()?);
            }
            "queue 100 bytes" => {
                bytes.put(black_box(vec![7; 100]))?;
                black_box(bytes.get()?);
            }
            "joinable queue" => {
                jobs.put(black_box(7))?;
                black_box(jobs.get()?);
                jobs.task_done()?;
            }
            "pipe 8 bytes" => {
                sender.send_bytes(black_box(&[7; 8]))?;
                receiver.recv_bytes_into(black_box(&mut buffer))?;
            }
            _ => return Err("one of: queue u64, queue 32 bytes, queue 100 bytes, joinable queue, pipe 8 bytes".into()),
        }
        Ok(())
    };
    for _ in 0..ONCE + n {
        operation()?;
    }
    Ok(())
}
