//! Python's queues and pipes, measured by `peers/queues.py`.

use crate::measure::Peer;
use anyhow::{Result, ensure};
use std::process::Command;
use std::sync::LazyLock;

/// What is needed, and what is not measured without it.
static MULTIPROCESSING: LazyLock<bool> = LazyLock::new(|| has("multiprocessing", "CPython"));
static FASTER_FIFO: LazyLock<bool> = LazyLock::new(|| has("faster_fifo", "faster-fifo"));

fn has(module: &str, what: &str) -> bool {
    let output = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    let there = output.is_ok_and(|output| output.status.success());
    if !there {
        println!("python3 has no {module} here: {what} is not measured");
    }
    there
}

/// Whether this machine has a `Queue`, a `Pipe` or a `faster_fifo`.
pub fn is_here(what: &str) -> bool {
    if what == "faster_fifo" { *FASTER_FIFO } else { *MULTIPROCESSING }
}

/// Python's `Queue`, `Pipe` or `faster_fifo`, if it is here, with messages of a kind and size, as [`cost`] has them.
pub fn peer(what: &'static str, message: &'static str, operations: u64, target: f64) -> Option<Peer> {
    let name = match what {
        "Queue" => "CPython mp.Queue",
        "Pipe" => "CPython Pipe",
        _ => "faster-fifo, one by one",
    };
    is_here(what).then(|| Peer::new(name, operations, move |n| cost(what, message, n), target).seldom())
}

/// Seconds per task of a pool in Python, measured by Python itself: what to use, and what a task does.
pub fn pool_cost(what: &str, task: &str, workers: usize, n: u64) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/pools.py");
    let output = Command::new("python3").args([script, what, task, &workers.to_string(), &n.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// Seconds per message, measured by Python itself. A message is `int`, `dict`, or `str` or `bytes` and a size.
pub fn cost(what: &str, message: &str, n: u64) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/queues.py");
    let output = Command::new("python3").args([script, what, &(n + 1).to_string()]).args(message.split(' ')).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
