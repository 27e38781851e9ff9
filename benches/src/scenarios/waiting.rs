//! Waiting for many queues at once, for a descriptor, and in futures.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use anyhow::Result;
use multiproc::{Process, Queue, Readable, Selector, Source};
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What one side waits for, beside its queue.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    Queues,
    Socket,
}

pub fn all() -> Vec<Scenario> {
    let get = || Peer::limit("get", 30_000, |n| parked(n, Beside::Nothing), 1.2);
    let wake = || Peer::limit("wake-up of a get", 2_000, |n| woken(n, Beside::Nothing), 1.2);
    vec![
        Scenario::timed("wake-up of a Selector of 4 queues, two processors", 2_000, |n| woken(n, Beside::Queues), [wake()]),
        Scenario::timed("wake-up of a Selector of a queue and a socket", 2_000, |n| woken(n, Beside::Socket), [wake()]),
        Scenario::timed("Selector of 4 queues, round trip, one processor", 30_000, |n| parked(n, Beside::Queues), [get()]),
        Scenario::timed("Selector of a queue and a socket, the same", 30_000, |n| parked(n, Beside::Socket), [get()]),
        Scenario::timed(
            "get_async and put_async, round trip, both spin or park",
            30_000,
            async_round_trip,
            [Peer::new("tokio::sync::mpsc between threads", 30_000, tokio_round_trip, 0.5)],
        ),
        Scenario::timed(
            "get_async, queue of 1024, two processes",
            1_000_000,
            async_gets,
            [Peer::new("tokio::sync::mpsc between threads", 1_000_000, tokio_gets, 0.5)],
        ),
    ]
}

/// Gets the next value as a program does that waits for more than its queue. `None`: the queue is shut down.
fn get(selector: &mut Option<Selector<'_>>, queue: &Queue<u64>) -> Option<u64> {
    let Some(selector) = selector else { return queue.get().ok() };
    loop {
        selector.wait(None).unwrap();
        match queue.try_get() {
            Err(multiproc::GetError::Empty) => {}
            got => return got.ok(),
        }
    }
}

/// Runs `work` with what waits for the queue.
fn with_selector<R>(queue: &Queue<u64>, beside: Beside, work: impl FnOnce(&mut Option<Selector<'_>>) -> R) -> Result<R> {
    let others: [Queue<u64>; 3] = [Queue::bounded(1)?, Queue::bounded(1)?, Queue::bounded(1)?];
    let (ours, _theirs) = UnixStream::pair()?;
    let socket = Readable(ours);
    let mut sources: Vec<&dyn Source> = vec![queue];
    match beside {
        Beside::Nothing => return Ok(work(&mut None)),
        Beside::Queues => sources.extend(others.iter().map(|other| other as &dyn Source)),
        Beside::Socket => sources.push(&socket),
    }
    let mut selector = Selector::new();
    for source in sources {
        selector.add(source);
    }
    Ok(work(&mut Some(selector)))
}

fn echo((there, back, beside, processor): (Queue<u64>, Queue<u64>, u8, usize)) {
    pin(processor);
    let beside = [Beside::Nothing, Beside::Queues, Beside::Socket][usize::from(beside)];
    with_selector(&there, beside, |selector| {
        while let Some(value) = get(selector, &there) {
            back.put(value).unwrap();
        }
    })
    .unwrap();
}

/// Both on one processor, so that each has to sleep for the other to run.
fn parked(n: u64, beside: Beside) -> Result<f64> {
    let (there, back) = (Queue::bounded(8)?, Queue::bounded(8)?);
    let process = Process::spawn(echo, (there.clone(), back.clone(), beside as u8, 0))?;
    pin(0);
    let result = with_selector(&back, beside, |selector| {
        per_operation(n, || {
            for i in 0..n {
                there.put(i)?;
                assert_eq!(get(selector, &back), Some(i));
            }
            Ok(())
        })
    })?;
    unpin();
    there.shutdown();
    process.join()?;
    result
}

/// Long enough for the other side to fall asleep.
const NAP: Duration = Duration::from_micros(500);

/// Seconds from a put to the answer of a process that slept: its wake-up, mostly, since this side spins.
fn woken(n: u64, beside: Beside) -> Result<f64> {
    let (there, back) = (Queue::bounded(8)?, Queue::bounded(8)?);
    let process = Process::spawn(echo, (there.clone(), back.clone(), beside as u8, 1))?;
    pin(0);
    let mut spent = Duration::ZERO;
    for i in 0..n {
        std::thread::sleep(NAP);
        let begin = Instant::now();
        there.put(i)?;
        while back.try_get().is_err() {
            std::hint::spin_loop();
        }
        spent += begin.elapsed();
    }
    unpin();
    there.shutdown();
    process.join()?;
    Ok(spent.as_secs_f64() / n as f64)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn echo_async((there, back): (Queue<u64>, Queue<u64>)) {
    pin(1);
    run(async {
        while let Ok(value) = there.get_async().await {
            back.put_async(value).await.unwrap();
        }
    });
}

fn async_round_trip(n: u64) -> Result<f64> {
    let (there, back) = (Queue::bounded(8)?, Queue::bounded(8)?);
    let process = Process::spawn(echo_async, (there.clone(), back.clone()))?;
    pin(0);
    let result = run(async {
        let begin = Instant::now();
        for i in 0..n {
            there.put_async(i).await?;
            assert_eq!(back.get_async().await?, i);
        }
        Ok(begin.elapsed().as_secs_f64() / n as f64)
    });
    unpin();
    there.shutdown();
    process.join()?;
    result
}

fn tokio_round_trip(n: u64) -> Result<f64> {
    let (there, mut got) = tokio::sync::mpsc::channel(8);
    let (answers, mut back) = tokio::sync::mpsc::channel(8);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            run(async {
                while let Some(value) = got.recv().await {
                    answers.send(value).await.unwrap();
                }
            });
        });
        pin(0);
        let result = run(async {
            let begin = Instant::now();
            for i in 0..n {
                there.send(i).await?;
                assert_eq!(back.recv().await, Some(i));
            }
            Ok(begin.elapsed().as_secs_f64() / n as f64)
        });
        drop(there);
        unpin();
        result
    })
}

fn put_all((queue, n): (Queue<u64>, u64)) {
    pin(1);
    run(async {
        for i in 0..n {
            queue.put_async(i).await.unwrap();
        }
    });
}

fn async_gets(n: u64) -> Result<f64> {
    let queue = Queue::bounded(1024)?;
    let process = Process::spawn(put_all, (queue.clone(), n + 1))?;
    pin(0);
    let result = run(async {
        queue.get_async().await?;
        let begin = Instant::now();
        for i in 1..=n {
            assert_eq!(queue.get_async().await?, i);
        }
        Ok(begin.elapsed().as_secs_f64() / n as f64)
    });
    unpin();
    process.join()?;
    result
}

fn tokio_gets(n: u64) -> Result<f64> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1024);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            run(async {
                for i in 0..=n {
                    sender.send(i).await.unwrap();
                }
            });
        });
        pin(0);
        let result = run(async {
            receiver.recv().await;
            let begin = Instant::now();
            for i in 1..=n {
                assert_eq!(receiver.recv().await, Some(i));
            }
            Ok(begin.elapsed().as_secs_f64() / n as f64)
        });
        unpin();
        result
    })
}
