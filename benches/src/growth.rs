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
    let measure = |name, points: &[f64], (unit, per_base): (&str, f64), figure: &dyn Fn(f64) -> Result<f64>| -> Result<Curve> {
        println!("{name}");
        let points = points.iter().map(|&x| {
            let y = figure(x)? * per_base;
            println!("  {x:>12} {y:>14.1} {unit}");
            Ok((x, y))
        });
        Ok(Curve { name, points: points.collect::<Result<_>>()? })
    };
    let curve = |name, points: &[f64], seconds: &dyn Fn(f64) -> Result<f64>| measure(name, points, ("ns", 1e9), seconds);

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
    draw_curves(&directory.join("attached.svg"), title, "processes attached", "ns per message", &[attached])?;

    let pairs = [1.0, 2.0, 4.0, 8.0, 16.0];
    let active = curve("queue, u64, so many producers and as many consumers", &pairs, &|count| {
        active_cost(count as u64, 4_000_000 / scale)
    })?;
    draw_curves(&directory.join("active.svg"), "Cost by active processes", "pairs of processes", "ns per message", &[active])?;

    let capacities = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
    let made = curve("making a queue and putting one u64, by capacity", &capacities, &|capacity| {
        let n = 200 / scale;
        per_operation(n, || (0..n).try_for_each(|_| Ok(Queue::bounded(capacity as u32)?.put(0u64)?)))
    })?;
    draw_curves(&directory.join("start.svg"), "Start-up by capacity", "messages that can wait", "ns per queue", &[made])?;

    let filled = |len: usize| {
        move |count: f64| {
            let q = Queue::<u8>::bounded(count as u32)?;
            for _ in 0..count as u64 {
                let loan = q.loan(len)?;
                let _ = loan.copy_from(0, &vec![7; len]);
                loan.send()?;
            }
            attached::resident(&q)
        }
    };
    let small = measure("memory of a queue full of messages of 8 bytes", &capacities, ("bytes", 1.0), &filled(8))?;
    let large = measure("memory of a queue full of messages of 100 bytes", &capacities, ("bytes", 1.0), &filled(100))?;
    let memory = [small, large];
    draw_curves(&directory.join("memory.svg"), "Memory by queued messages", "messages queued", "bytes", &memory)
}

fn put_share((q, n): (Queue<u64>, u64)) {
    (0..n).for_each(|i| q.put(i).unwrap());
}

fn get_share((q, n): (Queue<u64>, u64)) {
    (0..n).for_each(|_| _ = q.get().unwrap());
}

/// Seconds per message with so many producers and as many consumers. Starting them counts, and is little beside it.
fn active_cost(pairs: u64, n: u64) -> Result<f64> {
    let q = Queue::bounded(1024)?;
    per_operation(n, || {
        let mut processes = Vec::new();
        for _ in 0..pairs {
            processes.push(Process::spawn(put_share, (q.clone(), n / pairs))?);
            processes.push(Process::spawn(get_share, (q.clone(), n / pairs))?);
        }
        processes.into_iter().try_for_each(|process| Ok(process.join().map(drop)?))
    })
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
