//! Each figure: what is measured, between this process and a child.

use anyhow::{Context, Result, ensure};
use multiproc::pipe::Sender;
use multiproc::{Connection, JoinableQueue, Process, Queue, pipe, pipe_oneway};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::thread;
use std::time::{Duration, Instant};

pub(super) struct Figure {
    pub(super) name: &'static str,
    /// Bytes in a message, where they are the point.
    pub(super) bytes: Option<u64>,
    /// Nanoseconds for one message or step, for each round.
    pub(super) measure: fn(Duration) -> Result<Vec<f64>>,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub(super) const FIGURES: [Figure; 9] = [
    Figure { name: "Queue, u64", bytes: None, measure: |time| queue(time, 100_000, 1024, 7_u64) },
    Figure { name: "Queue, String of 20", bytes: None, measure: |time| queue(time, 50_000, 1024, "x".repeat(20)) },
    Figure { name: "Queue, 1 KiB", bytes: Some(KIB as u64), measure: |time| queue(time, 20_000, 1024, vec![1_u8; KIB]) },
    Figure { name: "Queue, 1 MiB", bytes: Some(MIB as u64), measure: |time| queue(time, 50, 16, vec![1_u8; MIB]) },
    Figure { name: "JoinableQueue, get and done", bytes: None, measure: joinable },
    Figure { name: "Pipe, u64", bytes: None, measure: stream },
    Figure { name: "Pipe, there and back", bytes: None, measure: round_trip },
    Figure { name: "Queue, waking a sleeper", bytes: None, measure: wake_up },
    Figure { name: "Process, start to end", bytes: None, measure: spawn },
];

/// Rounds for about this time, at least three, after one that does not count.
fn rounds(time: Duration, mut round: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    let end = Instant::now() + time;
    round()?;
    let mut figures = Vec::new();
    while figures.len() < 3 || Instant::now() < end {
        figures.push(round()?);
    }
    Ok(figures)
}

/// The time of `count` things, for each one, in nanoseconds.
fn timed(count: u64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let begin = Instant::now();
    for _ in 0..count {
        work()?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / count as f64)
}

/// A child that works until its orders are shut down.
fn child<T, A, S>(target: T, args: A) -> Result<Process>
where
    T: multiproc::Target<A, S, Returned: multiproc::Ending>,
    A: Serialize + DeserializeOwned + 'static,
    S: 'static,
{
    Process::builder().daemon(true).spawn(target, args).map_err(|error| anyhow::anyhow!("can't start a process: {error}"))
}

/// Ends a wait for messages that never come: the queue is shut down when the child ends.
fn end_with(process: Process, end: impl FnOnce() + Send + 'static) -> Result<()> {
    let watch = move || {
        let _ = process.join();
        end();
    };
    thread::Builder::new().name("child".into()).spawn(watch).context("can't watch the child")?;
    Ok(())
}

const CHILD: &str = "the child process has ended too early";

fn feed<T: Serialize + DeserializeOwned + Clone>((orders, queue, value): (Queue<u64>, Queue<T>, T)) {
    while let Ok(count) = orders.get() {
        for _ in 0..count {
            if queue.put(value.clone()).is_err() {
                return;
            }
        }
    }
}

fn queue<T>(time: Duration, count: u64, room: u32, value: T) -> Result<Vec<f64>>
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    let (orders, queue) = (Queue::unbounded()?, Queue::bounded(room)?);
    let process = child(feed::<T>, (orders.clone(), queue.clone(), value))?;
    let ended = queue.clone();
    end_with(process, move || ended.shutdown())?;
    let figures = rounds(time, || {
        orders.put(count + 1)?;
        // Now the child is at work.
        queue.get().context(CHILD)?;
        timed(count, || queue.get().map(drop).context(CHILD))
    });
    orders.shutdown();
    figures
}

fn feed_jobs((orders, queue): (Queue<u64>, JoinableQueue<u64>)) {
    while let Ok(count) = orders.get() {
        for job in 0..count {
            if queue.put(job).is_err() {
                return;
            }
        }
    }
}

fn joinable(time: Duration) -> Result<Vec<f64>> {
    const COUNT: u64 = 50_000;
    let (orders, queue) = (Queue::unbounded()?, JoinableQueue::bounded(1024)?);
    let process = child(feed_jobs, (orders.clone(), queue.clone()))?;
    let ended = queue.clone();
    end_with(process, move || ended.shutdown())?;
    let next = || {
        queue.get().context(CHILD)?;
        queue.task_done().map_err(Into::into)
    };
    let figures = rounds(time, || {
        orders.put(COUNT + 1)?;
        next()?;
        timed(COUNT, next)
    });
    orders.shutdown();
    figures
}

fn send((orders, sender): (Queue<u64>, Sender<u64>)) {
    while let Ok(count) = orders.get() {
        for value in 0..count {
            if sender.send(&value).is_err() {
                return;
            }
        }
    }
}

fn stream(time: Duration) -> Result<Vec<f64>> {
    const COUNT: u64 = 100_000;
    let orders = Queue::unbounded()?;
    let (receiver, sender) = pipe_oneway()?;
    let _process = child(send, (orders.clone(), sender))?;
    let figures = rounds(time, || {
        orders.put(COUNT + 1)?;
        receiver.recv().context(CHILD)?;
        timed(COUNT, || receiver.recv().map(drop).context(CHILD))
    });
    orders.shutdown();
    figures
}

fn echo(connection: Connection<u64>) {
    while let Ok(value) = connection.recv() {
        if connection.send(&value).is_err() {
            return;
        }
    }
}

fn round_trip(time: Duration) -> Result<Vec<f64>> {
    let (ours, theirs) = pipe::<u64>()?;
    let _process = child(echo, theirs)?;
    rounds(time, || {
        timed(2000, || {
            ours.send(&7).context(CHILD)?;
            ours.recv().map(drop).context(CHILD)
        })
    })
}

/// Nanoseconds of a clock that all processes share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn answer_when_woken((calls, answers): (Queue<u64>, Queue<u64>)) {
    while let Ok(sent) = calls.get() {
        if answers.put(now().saturating_sub(sent)).is_err() {
            return;
        }
    }
}

fn wake_up(time: Duration) -> Result<Vec<f64>> {
    let (calls, answers) = (Queue::bounded(1)?, Queue::bounded(1)?);
    let process = child(answer_when_woken, (calls.clone(), answers.clone()))?;
    let ended = answers.clone();
    end_with(process, move || ended.shutdown())?;
    let figures = rounds(time, || {
        let mut times = Vec::new();
        for _ in 0..20 {
            // Long enough for the child to have gone to sleep.
            thread::sleep(Duration::from_millis(2));
            calls.put(now())?;
            times.push(answers.get().context(CHILD)?);
        }
        times.sort_unstable();
        Ok(times[times.len() / 2] as f64)
    });
    calls.shutdown();
    figures
}

fn nothing() {}

fn spawn(time: Duration) -> Result<Vec<f64>> {
    rounds(time, || {
        timed(5, || {
            let exit = Process::spawn(nothing, ()).map_err(|error| anyhow::anyhow!("can't start a process: {error}"))?.join()?;
            ensure!(exit.success(), "a process ended with {exit}");
            Ok(())
        })
    })
}
