//! How costs grow: with the number of queued messages, with their size, with the number of attached processes. Ours alone.

use crate::measure::{per_operation, pin, unpin};
use crate::report::{Curve, draw_curves};
use crate::scenarios::{attached, large::copied_through};
use anyhow::Result;
use multiproc::{Process, Queue, Sender, pipe_oneway};
use std::path::Path;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub fn run(directory: &Path, quick: bool) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let scale = if quick { 10 } else { 1 };
    let curve = |name, points: &[f64], cost: &dyn Fn(f64) -> Result<f64>| -> Result<Curve> {
        println!("{name}");
        let points = points.iter().map(|&x| {
            let y = cost(x)? * 1e9;
            println!("  {x:>12} {y:>14.1} ns");
            Ok((x, y))
        });
        Ok(Curve { name, points: points.collect::<Result<_>>()? })
    };

    let depths = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
    let at_depth = |operations: u64| move |depth: f64| depth_cost(depth as u32, operations / scale);
    let small = curve("put and get of a u64, so many queued", &depths, &at_depth(2_000_000))?;
    draw_curves(&directory.join("depth.svg"), "Cost by queued messages", "messages queued", "ns per put and get", &[small])?;

    let sizes =
        [8, 32, 128, 512, 2 * KIB, 8 * KIB, 32 * KIB, 128 * KIB, 512 * KIB, 2 * MIB, 8 * MIB, 64 * MIB].map(|size| size as f64);
    let operations = |size: f64| (2e9 / (size + 2000.0)) as u64 / scale + 10;
    let queue =
        curve("queue, bytes copied in and out, two processes", &sizes, &|size| queue_cost(size as usize, operations(size)))?;
    let pipe = curve("pipe, bytes, two processes", &sizes, &|size| pipe_cost(size as usize, operations(size)))?;
    draw_curves(&directory.join("size.svg"), "Cost by message size", "bytes per message", "ns per message", &[queue, pipe])?;

    let processes = [2.0, 4.0, 16.0, 64.0, 250.0];
    let attached = curve("queue, u64, so many attached, two active", &processes, &|count| {
        attached::cost(count as u64 - 2, 2_000_000 / scale)
    })?;
    let title = "Cost by attached processes";
    draw_curves(&directory.join("attached.svg"), title, "processes attached", "ns per message", &[attached])
}

/// Put and get in one process, with so many messages in the queue all the time.
pub fn depth_cost(depth: u32, operations: u64) -> Result<f64> {
    let q = Queue::<u64>::bounded(depth + 1)?;
    for i in 0..depth {
        q.put(u64::from(i))?;
    }
    per_operation(operations, || {
        for i in 0..operations {
            q.put(i)?;
            q.get()?;
        }
        Ok(())
    })
}

fn queue_cost(size: usize, n: u64) -> Result<f64> {
    copied_through(&Queue::builder().bounded(4).max_message(64 << 20).memory(4 << 30).build()?, size, n)
}

fn send_bytes((sender, size, n): (Sender<u8>, usize, u64)) {
    pin(1);
    let message = vec![7; size];
    for _ in 0..n {
        sender.send_bytes(&message).unwrap();
    }
}

fn pipe_cost(size: usize, n: u64) -> Result<f64> {
    let (receiver, sender) = pipe_oneway::<u8>()?;
    let process = Process::spawn(send_bytes, (sender, size, n + 1))?;
    pin(0);
    let mut buffer = vec![0; size];
    receiver.recv_bytes_into(&mut buffer)?;
    let cost = per_operation(n, || {
        for _ in 0..n {
            receiver.recv_bytes_into(&mut buffer)?;
        }
        Ok(())
    });
    unpin();
    process.join()?;
    cost
}
