//! One round: the queues, the processes that use them, and the blows that hit these processes.

use crate::account::{Put, Total, settle};
use crate::cast::{Jobs, Random, Results, produce, work};
use multiproc::{Exit, JoinableQueue, Process, Queue};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const WORKERS: usize = 16;
const PRODUCERS: usize = 4;
/// How many workers die at once, now and then.
const AT_ONCE: usize = 10;
/// A growing queue holds more values than this before the first worker starts.
const BACKLOG: u64 = 1_100_000;
/// Little memory, so that leaked blocks are missed soon.
const MEMORY: u64 = 2 << 20;
/// Longer than anything takes that does not hang.
const HANGS: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The queue is unbounded and has a backlog. Otherwise it is bounded and has little memory.
    pub(crate) grows: bool,
    /// The queue is shut down while it is full of jobs. Otherwise its producers end first.
    pub(crate) shut_down: bool,
}

type Failure = Box<dyn std::error::Error>;

pub(crate) struct Round {
    kind: Kind,
    jobs: Jobs,
    results: Results,
    log: PathBuf,
    workers: Vec<Process>,
    /// The producers, with their numbers.
    producers: Vec<(u64, Process)>,
    /// Whether the producer of each number was killed.
    killed: Vec<bool>,
    stopped: Vec<(Instant, Process)>,
    random: Random,
    total: Total,
}

fn new_jobs(kind: Kind) -> Result<Jobs, multiproc::OpenError> {
    if kind.grows {
        JoinableQueue::unbounded()
    } else {
        JoinableQueue::builder().bounded(64).memory(MEMORY).max_message(1000).build()
    }
}

/// How many messages fit into the memory that is free now.
fn free_blocks(jobs: &Jobs) -> usize {
    std::iter::from_fn(|| jobs.try_loan(1).ok()).collect::<Vec<_>>().len()
}

fn send(process: &Process, signal: i32) {
    // Only this question waits for a process that has ended. Until then its number belongs to no other process.
    if process.is_alive() {
        // SAFETY: a child of ours, not waited for.
        unsafe { libc::kill(process.pid() as i32, signal) };
    }
}

impl Round {
    pub(crate) fn new(kind: Kind) -> Result<Self, Failure> {
        let results = if kind.grows { Queue::unbounded()? } else { Queue::bounded(64)? };
        let log = std::env::temp_dir().join(format!("multiproc-storm-{}", std::process::id()));
        std::fs::write(&log, [])?;
        let (workers, producers, killed, stopped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (random, total) = (Random::new(), Total { rounds: 1, ..Total::default() });
        Ok(Self { kind, jobs: new_jobs(kind)?, results, log, workers, producers, killed, stopped, random, total })
    }

    pub(crate) fn run(mut self, blows: u64) -> Result<Total, Failure> {
        let results = self.results.clone();
        let collector = std::thread::spawn(move || std::iter::from_fn(|| results.get().ok()).collect::<Vec<_>>());
        let done = self.storm(blows);
        if done.is_err() {
            self.workers.iter().chain(self.producers.iter().map(|(_, process)| process)).for_each(|process| {
                send(process, libc::SIGKILL);
                let _ = process.join();
            });
        }
        self.results.shutdown();
        let delivered = collector.join().map_err(|_| "the collector panicked")?;
        let logged = self.logged();
        let _ = std::fs::remove_file(&self.log);
        let put = logged?.into_iter().zip(&self.killed).map(|(logged, &killed)| Put { logged, killed });
        let settled = settle(delivered, &put.collect::<Vec<_>>());
        // The values that are missing help to find out why a round did not end.
        (self.total.jobs, self.total.again) = match (done, settled) {
            (Err(error), Err(also)) => return Err(format!("{error}; {also}").into()),
            (done, settled) => done.and(settled.map_err(Failure::from))?,
        };
        if !self.jobs.is_empty() || self.jobs.unfinished() != 0 {
            return Err(format!("{} jobs left, {} unfinished", self.jobs.len(), self.jobs.unfinished()).into());
        }
        Ok(self.total)
    }

    fn storm(&mut self, blows: u64) -> Result<(), Failure> {
        if self.kind.grows {
            self.build_backlog()?;
        }
        // A shutdown in the middle lets the last blows fall while the workers drain the queue.
        let until_shut_down = if self.kind.shut_down { blows / 2 + self.random.below(blows / 2 + 1) } else { blows };
        for _ in 0..until_shut_down {
            self.replace(!self.kind.grows, true)?;
            self.blow()?;
        }
        if self.kind.shut_down {
            self.jobs.shutdown();
        } else {
            self.end_producers();
        }
        for _ in until_shut_down..blows {
            // The living workers have to do what the dead had in hand. New workers come only when none is left.
            self.replace(false, false)?;
            self.blow()?;
        }
        self.drain()
    }

    /// Lets producers put more than a million jobs, and kills and stops some of them meanwhile.
    fn build_backlog(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.total.backlog < BACKLOG {
            if begin.elapsed() > HANGS {
                return Err(format!("after {HANGS:?} there were {} jobs", self.total.backlog).into());
            }
            self.replace(true, false)?;
            std::thread::sleep(Duration::from_micros(self.random.below(50_000)));
            self.go_on(Instant::now());
            match self.random.below(3) {
                0 => self.kill_a_producer(),
                1 => self.stop_a_producer(),
                _ => {}
            }
            self.total.backlog = self.logged()?.iter().sum();
        }
        Ok(())
    }

    /// Deals one blow, after a pause.
    fn blow(&mut self) -> Result<(), Failure> {
        std::thread::sleep(Duration::from_micros(self.random.below(3000)));
        self.go_on(Instant::now());
        match self.random.below(10) {
            0..=4 => self.kill_workers(1),
            5 => self.kill_a_producer(),
            6 | 7 => self.stop_a_worker(),
            8 => self.stop_a_producer(),
            _ => self.kill_workers(AT_ONCE),
        }
        Ok(())
    }

    fn kill_workers(&mut self, count: usize) {
        let first = self.random.below(WORKERS as u64) as usize;
        let len = self.workers.len();
        let dying: Vec<Process> = self.workers.iter().cycle().skip(first).take(count.min(len)).cloned().collect();
        dying.iter().for_each(|process| send(process, libc::SIGKILL));
        self.total.killed += dying.len() as u64;
    }

    fn kill_a_producer(&mut self) {
        let chosen = self.random.below(PRODUCERS as u64) as usize;
        let Some((number, process)) = self.producers.get(chosen) else { return };
        self.killed[*number as usize] = true;
        self.total.killed += 1;
        send(process, libc::SIGKILL);
    }

    fn stop_a_worker(&mut self) {
        let chosen = self.random.below(WORKERS as u64) as usize;
        if let Some(process) = self.workers.get(chosen).cloned() {
            self.stop(process);
        }
    }

    fn stop_a_producer(&mut self) {
        let chosen = self.random.below(PRODUCERS as u64) as usize;
        if let Some((_, process)) = self.producers.get(chosen).cloned() {
            self.stop(process);
        }
    }

    fn stop(&mut self, process: Process) {
        send(&process, libc::SIGSTOP);
        self.total.stopped += 1;
        self.stopped.push((Instant::now() + Duration::from_micros(self.random.below(30_000)), process));
    }

    /// Lets stopped processes go on when their time has come.
    fn go_on(&mut self, now: Instant) {
        self.stopped.retain(|(until, process)| {
            let due = *until <= now;
            if due {
                send(process, libc::SIGCONT);
            }
            !due
        });
    }

    /// Forgets the processes that have ended. An end that the storm did not cause is an error.
    fn take_away_ended(&mut self) -> Result<(), Failure> {
        for process in self.workers.iter().chain(self.producers.iter().map(|(_, process)| process)) {
            match process.exit_code() {
                None | Some(Exit::Signal(libc::SIGKILL)) => {}
                Some(Exit::Code(0 | 101)) => self.total.left += 1,
                Some(exit) => return Err(format!("{} ended with {exit}", process.name()).into()),
            }
        }
        self.workers.retain(Process::is_alive);
        self.producers.retain(|(_, process)| process.is_alive());
        Ok(())
    }

    /// Starts new processes in the place of those that have ended. A worker always follows when none is left.
    fn replace(&mut self, producers: bool, workers: bool) -> Result<(), Failure> {
        self.take_away_ended()?;
        while producers && self.producers.len() < PRODUCERS {
            let number = self.killed.len() as u64;
            self.killed.push(false);
            let arguments = (self.jobs.clone(), self.log.display().to_string(), number);
            self.producers.push((number, Process::spawn(produce, arguments)?));
        }
        while (workers && self.workers.len() < WORKERS) || (!producers && self.workers.is_empty()) {
            self.workers.push(Process::spawn(work, (self.jobs.clone(), self.results.clone()))?);
        }
        Ok(())
    }

    fn end_producers(&mut self) {
        for (number, process) in std::mem::take(&mut self.producers) {
            self.killed[number as usize] = true;
            send(&process, libc::SIGKILL);
            let _ = process.join();
        }
    }

    /// Waits until every job is done and every process has ended.
    fn drain(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        while self.jobs.join_timeout(Duration::from_millis(20)).is_err() {
            self.go_on(Instant::now());
            self.replace(false, !self.kind.shut_down)?;
            if begin.elapsed() > HANGS {
                return Err(
                    format!("after {HANGS:?}, {} unfinished, {} in the queue", self.jobs.unfinished(), self.jobs.len()).into()
                );
            }
        }
        self.go_on(Instant::now() + HANGS);
        if !self.kind.grows && !self.kind.shut_down {
            // The last deaths may not be swept yet. This waits in vain, and looks for the dead meanwhile.
            let _ = self.jobs.get_timeout(Duration::from_millis(100));
            let (free, fresh) = (free_blocks(&self.jobs), free_blocks(&new_jobs(self.kind)?));
            if free != fresh {
                return Err(format!("{free} of {fresh} blocks of memory are free").into());
            }
        }
        self.jobs.shutdown();
        let all = self.workers.iter().chain(self.producers.iter().map(|(_, process)| process));
        for process in all {
            if process.join_timeout(HANGS)?.is_none() {
                return Err(format!("{} did not see the end", process.name()).into());
            }
        }
        self.take_away_ended()
    }

    /// Puts that returned Ok, by producer.
    fn logged(&self) -> Result<Vec<u64>, Failure> {
        let mut counts: Vec<u64> = std::fs::read(&self.log)?
            .chunks_exact(8)
            .map(|bytes| bytes.iter().rev().fold(0, |count, &byte| count << 8 | u64::from(byte)))
            .collect();
        // A producer that died before its first put has none.
        counts.resize(self.killed.len(), 0);
        Ok(counts)
    }
}
