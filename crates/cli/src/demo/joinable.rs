//! JoinableQueue 代码案例: daemon consumers say what is done, and the producer waits until everything is.

use super::pace::{Pace, sleep_randomly};
use super::say;
use anyhow::Result;
use multiproc::{JoinableQueue, Process, current_process};

type Buns = JoinableQueue<String>;

fn consumer((q, pace): (Buns, Pace)) -> Result<()> {
    loop {
        let bun = q.get()?;
        sleep_randomly(pace);
        say!("进程{} 吃了 {bun}", current_process().name());
        q.task_done()?;
    }
}

fn producer((q, pace): (Buns, Pace)) -> Result<()> {
    for i in 0..10 {
        sleep_randomly(pace);
        let bun = format!("{i}号包子");
        q.put(bun.clone())?;
        say!("进程{}生产了{bun}", current_process().name());
    }
    q.join()?;
    Ok(())
}

pub(crate) fn main(pace: Pace) -> Result<()> {
    let q = JoinableQueue::unbounded()?;
    let producer = Process::spawn(producer, (q.clone(), pace))?;
    for _ in 0..10 {
        Process::builder().daemon(true).spawn(consumer, (q.clone(), pace))?;
    }

    super::join_all([&producer])?;
    say!("所有队列处理完成，程序退出");
    Ok(())
}
