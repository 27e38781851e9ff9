//! 案例分析2: five processes compute, and a queue brings the results back.

use super::pace::{Pace, sleep};
use super::say;
use anyhow::Result;
use multiproc::{Process, Queue, current_process};

fn calculate_square((num, q, pace): (u64, Queue<u64>, Pace)) -> Result<()> {
    let result = num * num;
    say!("进程{}计算 {num} 的平方,结果是{result}", current_process().name());
    sleep(1, pace);
    q.put(result)?;
    Ok(())
}

pub(crate) fn main(pace: Pace) -> Result<()> {
    let q = Queue::unbounded()?;
    let mut processes = Vec::new();
    for num in [1, 2, 3, 4, 5] {
        processes.push(Process::spawn(calculate_square, (num, q.clone(), pace))?);
    }
    super::join_all(&processes)?;

    let mut results = Vec::new();
    while !q.is_empty() {
        results.push(q.get()?);
    }
    say!("所有进程计算结果:{results:?}");
    say!("主进程结束");
    Ok(())
}
