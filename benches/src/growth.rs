//! How costs grow: with the number of queued messages, with their size, with the number of processes. The numbers go into files;
//! `cargo xtask bench draw` makes pictures of them.

use crate::measure::{machine, per_operation, pin, unpin};
use crate::scenarios::{attached, large::copied_through, memory, sizes};
use anyhow::Result;
use multiproc::pipe::Sender;
use multiproc::{Process, Queue, pipe_oneway};
use std::path::Path;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Where the numbers of one picture go.
struct File<'a> {
    directory: &'a Path,
    name: &'static str,
    text: String,
}

impl<'a> File<'a> {
    /// Axes are a label and a unit: seconds, bytes or count.
    fn new(directory: &'a Path, name: &'static str, title: &str, x: &str, y: &str) -> Self {
        println!("{name}");
        let text = format!("# title: {title}\n# x: {x}\n# y: {y}\n# taken: {}\n", machine());
        Self { directory, name, text }
    }

    /// Measures one curve: a cost at each of these points.
    fn curve(&mut self, name: &str, points: &[f64], cost: &dyn Fn(f64) -> Result<f64>) -> Result<()> {
        for &x in points {
            let line = format!("{name};{x};{:e}", cost(x)?);
            println!("  {line}");
            self.text.push_str(&line);
            self.text.push('\n');
        }
        Ok(())
    }

    fn write(self) -> Result<()> {
        Ok(std::fs::write(self.directory.join(self.name).with_extension("csv"), self.text)?)
    }
}

pub fn run(directory: &Path, quick: bool) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let scale = if quick { 10 } else { 1 };
    let file = |name, title, x, y| File::new(directory, name, title, x, y);

    let depths = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
    let title = "A message costs the same, however many wait before it";
    let mut depth = file("depth", title, "messages that wait; count", "time per put and get of a u64, in one process; seconds");
    depth.curve("Queue<u64>", &depths, &|depth| depth_cost(depth as u32, 2_000_000 / scale))?;
    depth.write()?;

    let sizes =
        [8, 32, 128, 512, 2 * KIB, 8 * KIB, 32 * KIB, 128 * KIB, 512 * KIB, 2 * MIB, 8 * MIB, 64 * MIB].map(|size| size as f64);
    let operations = |size: f64| (2e9 / (size + 2000.0)) as u64 / scale + 10;
    let y = "time per message between two processes, copied in and out; seconds";
    let mut size = file("size", "What a message costs, by its size", "size of a message; bytes", y);
    size.curve("Queue with room for 4", &sizes, &|size| queue_cost(size as usize, operations(size)))?;
    size.curve("pipe", &sizes, &|size| pipe_cost(size as usize, operations(size)))?;
    size.write()?;

    let y = "time per message, one process sends and another one receives; seconds";
    let mut message = file("message", "What a message costs between two processes", "size of a message; bytes", y);
    let shown = &sizes[..10];
    message.curve("Queue with room for 4", shown, &|size| queue_cost(size as usize, operations(size)))?;
    message.curve("pipe", shown, &|size| pipe_cost(size as usize, operations(size)))?;
    // Some hundred times as dear for small messages: fewer of them.
    let fewer = |size: f64| operations(size) / 20 + 10;
    for (name, side) in sizes::peers() {
        message.curve(name, shown, &|size| side(size as usize, fewer(size)))?;
    }
    message.write()?;

    let processes = [2.0, 4.0, 16.0, 64.0, 250.0];
    let title = "Attached processes that do nothing cost nothing";
    let x = "processes attached, two of them active; count";
    let mut idle = file("attached", title, x, "time per message between the two; seconds");
    idle.curve("Queue<u64>", &processes, &|count| attached::cost(count as u64 - 2, 2_000_000 / scale))?;
    idle.write()?;

    let pairs = [1.0, 2.0, 4.0, 8.0, 16.0];
    let x = "producers, and as many consumers; count";
    let mut active = file("active", "More processes than processors", x, "time per message; seconds");
    active.curve("Queue<u64>", &pairs, &|count| active_cost(count as u64, 4_000_000 / scale))?;
    active.write()?;

    let capacities = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
    let title = "A new queue costs the same, whatever its capacity";
    let mut start =
        file("start", title, "messages that can wait; count", "time to make a bounded queue and put one u64; seconds");
    start.curve("Queue<u64>", &capacities, &|capacity| {
        let n = 200 / scale;
        per_operation(n, || (0..n).try_for_each(|_| Ok(Queue::bounded(capacity as u32)?.put(0u64)?)))
    })?;
    start.write()?;

    let mut memory = file("memory", "Memory of a full queue", "messages that wait; count", "resident memory; bytes");
    memory.curve("messages of 100 bytes", &capacities, &|count| filled(count as u32, 100))?;
    memory.curve("messages of 8 bytes", &capacities, &|count| filled(count as u32, 8))?;
    memory.write()
}

/// Bytes of memory of a queue that is full of messages of this length.
fn filled(count: u32, len: usize) -> Result<f64> {
    let q = Queue::<u8>::bounded(count)?;
    for _ in 0..count {
        let loan = q.loan(len)?;
        let _ = loan.copy_from(0, &vec![7; len]);
        loan.send()?;
    }
    memory::resident(&q)
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
