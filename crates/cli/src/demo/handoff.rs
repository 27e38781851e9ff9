//! communication_demo2.py: a producer that has ended before its consumer starts.

use super::pace::{Pace, sleep};
use super::say;
use anyhow::Result;
use multiproc::{Process, Queue};

fn produce(q: Queue<String>) -> Result<()> {
    for i in 1..=3 {
        q.put(format!("数据{i}"))?;
    }
    Ok(())
}

fn consume((q, pace): (Queue<String>, Pace)) {
    sleep(1, pace);
    while let Ok(data) = q.try_get() {
        say!("GET到数据：{data}");
    }
    say!("数据已经被全部拿完了");
}

pub(crate) fn main(pace: Pace) -> Result<()> {
    let q = Queue::unbounded()?;
    super::join_all([&Process::spawn(produce, q.clone())?])?;
    super::join_all([&Process::spawn(consume, (q, pace))?])
}
