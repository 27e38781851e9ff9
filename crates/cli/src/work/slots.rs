//! The worker: takes messages, runs a job for each in a slot of its own, and waits for whatever comes next.
//!
//! One thread does it all and never waits for one thing alone: not for a job that reads nothing, nor for a slow reader of the output.
//! So time-outs and signals are always served. The kernel ties each job to the thread that started it, which is the main thread.

use crate::exit::Exit;
use crate::work::bar::Bar;
use crate::work::command::Template;
use crate::work::drain::{Phase, Signals};
use crate::work::guard::Guard;
use crate::work::item::{Form, Taken};
use crate::work::job::{Job, Watch};
use crate::work::joblog::JobLog;
use crate::work::options::Options;
use crate::work::output::{InOrder, Output, Target};
use crate::work::retry::{BackOff, Retries};
use crate::work::settle::{Failed, Finished, Printable, Tallies};
use crate::work::spool::Spool;
use crate::work::start::{LOOK, Next};
use crate::work::supply::Supply;
use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// What a worker is to do.
pub(crate) struct Plan {
    pub(crate) template: Template,
    /// Whether a message is its job's standard input.
    pub(crate) has_input: bool,
    pub(crate) source: MessageSource,
    pub(crate) options: Options,
    pub(crate) joblog: Option<JobLog>,
    /// After so many deliveries a message is not run again.
    pub(crate) limit: Option<u16>,
    pub(crate) until_empty: bool,
    /// How many jobs there are in all, where that is known.
    pub(crate) total: Option<u64>,
}

/// Where messages come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MessageSource {
    /// A queue that others use as well.
    Named(OsString),
    /// This process's own input, through a queue of its own.
    Input,
}

impl MessageSource {
    pub(crate) fn form(&self) -> Form {
        if *self == Self::Input { Form::Numbered } else { Form::Plain }
    }
}

pub(crate) struct Worker<'q> {
    pub(crate) supply: Box<dyn Supply + 'q>,
    pub(crate) plan: Plan,
    pub(crate) guard: Guard,
    pub(crate) bar: Option<Bar>,
    signals: Signals,
    pub(crate) jobs: Vec<Option<Job>>,
    /// A message that the system had no process for.
    pub(crate) unstarted: Option<Taken>,
    pub(crate) spool: Spool,
    pub(crate) output: Output<Finished>,
    /// Jobs whose output is not printed yet.
    pub(crate) unprinted: usize,
    pub(crate) order: InOrder<Printable>,
    pub(crate) retries: Retries<Failed>,
    pub(crate) tallies: Tallies,
    pub(crate) phase: Phase,
    /// How the worker ends, if not by the number of failed jobs.
    pub(crate) exit: Option<Exit>,
    /// Signals so far that asked for the end.
    pub(crate) asked: usize,
    pub(crate) next_number: u64,
    pub(crate) next_start: Option<Instant>,
    buffer: Vec<u8>,
}

/// What a wait ended for.
struct Ready {
    signals: Vec<i32>,
    /// The guard has ended.
    guard: bool,
    /// What jobs are ready for, each by its slot.
    jobs: Vec<(usize, Watch)>,
}

const TARGETS: [Target; 2] = [Target::Stdout, Target::Stderr];
/// The longest time before a failed message runs again.
const MOST_BACK_OFF: Duration = Duration::from_secs(300);
/// What is read of a job's output at a time.
const PORTION: usize = 64 << 10;

impl<'q> Worker<'q> {
    pub(crate) fn new(supply: impl Supply + 'q, plan: Plan) -> anyhow::Result<Self> {
        let slots = plan.options.jobs;
        // Before the jobs have all the descriptors that this process may have.
        supply.readiness()?;
        let is_counted = plan.source != MessageSource::Input;
        let bar = plan.options.bar.then(|| Bar::new(plan.total, is_counted));
        Ok(Self {
            supply: Box::new(supply),
            plan,
            bar,
            signals: Signals::watch()?,
            guard: Guard::start()?,
            jobs: (0..slots).map(|_| None).collect(),
            unstarted: None,
            spool: Spool::new(),
            output: Output::new(),
            unprinted: 0,
            order: InOrder::new(),
            retries: Retries::new(),
            tallies: Tallies::default(),
            phase: Phase::Working,
            exit: None,
            asked: 0,
            next_number: 1,
            next_start: None,
            buffer: vec![0; PORTION],
        })
    }

    /// Works until it is over.
    pub(crate) fn work(mut self) -> anyhow::Result<Exit> {
        let worked = self.take_turns();
        if worked.is_err() {
            // What was in hand goes back: the worker's error says nothing about it.
            let note = 128 + signal_hook::consts::SIGKILL as u32;
            self.give_back_kept();
            self.running().for_each(Job::kill);
            for job in self.jobs.drain(..).flatten() {
                if let Ok(ended) = job.end(&self.guard) {
                    ended.taken.delivery.give_back_interrupted(note);
                }
            }
            self.abandon_output(note);
        }
        if let Some(bar) = &self.bar {
            bar.clear();
        }
        self.say_failed();
        worked.map(|()| self.exit.unwrap_or_else(|| self.tallies.exit()))
    }

    pub(crate) fn back_off(&self) -> BackOff {
        BackOff { first: self.plan.options.retry_delay, most: MOST_BACK_OFF }
    }

    pub(crate) fn running(&mut self) -> impl Iterator<Item = &mut Job> {
        self.jobs.iter_mut().flatten()
    }

    fn take_turns(&mut self) -> anyhow::Result<()> {
        loop {
            self.print()?;
            if let Some(bar) = &self.bar {
                bar.show(&self.tallies, || self.supply.unfinished());
            }
            self.give_back_due();
            let next = self.start_next()?;
            if self.is_idle() && (next == Next::Never || self.phase != Phase::Working) {
                return Ok(());
            }
            let Ready { signals, guard, jobs } = self.wait(&next)?;
            if guard || self.guard.next_time().is_some_and(|at| at <= Instant::now()) {
                self.guard.replace();
            }
            signals.into_iter().for_each(|signal| self.on_signal(signal));
            self.serve(jobs)?;
        }
    }

    /// Whether nothing is in hand.
    pub(crate) fn is_idle(&self) -> bool {
        let has_jobs = self.jobs.iter().any(Option::is_some) || self.unstarted.is_some();
        !has_jobs && self.output.is_empty() && self.order.len() == 0 && self.retries.is_empty()
    }

    /// Waits for the next event.
    fn wait(&self, next: &Next) -> anyhow::Result<Ready> {
        let mut polled: Vec<PollFd<'_>> = self.signals.descriptors().map(|bell| PollFd::new(bell, PollFlags::IN)).collect();
        let bells = polled.len();
        polled.extend(self.guard.descriptor().map(|guard| PollFd::from_borrowed_fd(guard, PollFlags::IN)));
        let guards = polled.len();
        let target = self.output.awaits().map(|target| target.descriptor());
        polled.extend(target.map(|target| PollFd::from_borrowed_fd(target, PollFlags::OUT)));
        if *next == Next::Message {
            polled.push(PollFd::from_borrowed_fd(self.supply.readiness()?, PollFlags::IN));
        }
        let (first, mut watched) = (polled.len(), Vec::new());
        for (slot, job) in self.jobs.iter().enumerate() {
            for (watch, descriptor, events) in job.iter().flat_map(|job| job.awaits(!self.output.is_backed_up())) {
                polled.push(PollFd::from_borrowed_fd(descriptor, events));
                watched.push((slot, watch));
            }
        }
        let timeout = self.next_time(next).map(|at| at.saturating_duration_since(Instant::now()));
        match poll(&mut polled, timeout.and_then(|timeout| Timespec::try_from(timeout).ok()).as_ref()) {
            Ok(_) => {}
            // A signal came. Then nothing else is known to be ready.
            Err(Errno::INTR) => return Ok(Ready { signals: self.signals.take(), guard: false, jobs: Vec::new() }),
            Err(error) => return Err(error).context("can't wait for the jobs"),
        }
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let signals = if polled[..bells].iter().any(is_ready) { self.signals.take() } else { Vec::new() };
        let guard = polled[bells..guards].iter().any(is_ready);
        let jobs = polled[first..].iter().zip(watched).filter(|(polled, _)| is_ready(polled)).map(|(_, watch)| watch).collect();
        Ok(Ready { signals, guard, jobs })
    }

    fn next_time(&self, next: &Next) -> Option<Instant> {
        let start = match next {
            // Another process's message may become done, which nothing tells.
            Next::Message if self.plan.until_empty && self.is_idle() => Some(Instant::now() + LOOK),
            Next::Now => Some(Instant::now()),
            Next::At(at) => Some(*at),
            Next::Message | Next::Later | Next::Never => None,
        };
        let jobs = self.jobs.iter().flatten().filter_map(Job::next_time);
        jobs.chain(start).chain(self.retries.next_due()).chain(self.guard.next_time()).min()
    }

    /// Does what is ready, and what it is time for.
    fn serve(&mut self, ready: Vec<(usize, Watch)>) -> anyhow::Result<()> {
        for (slot, watch) in ready {
            if let Some(job) = &mut self.jobs[slot] {
                job.on_ready(watch, &mut self.buffer).with_context(not_kept)?;
            }
        }
        let (now, kill_after) = (Instant::now(), self.plan.options.kill_after);
        for slot in 0..self.jobs.len() {
            let Some(job) = &mut self.jobs[slot] else { continue };
            job.on_time(now, kill_after);
            for (which, stream) in job.streams.iter_mut().enumerate() {
                if let Some(lines) = stream.as_mut().and_then(|stream| stream.take_lines()) {
                    self.output.print(TARGETS[which], lines);
                }
            }
            if job.is_over(now) {
                let job = self.jobs[slot].take();
                let ended = job.map(|job| job.end(&self.guard)).transpose().with_context(not_kept)?;
                ended.map_or(Ok(()), |ended| self.on_end(ended))?;
            }
        }
        Ok(())
    }
}

fn not_kept() -> String {
    format!("can't keep the output of a job in {}: TMPDIR can name another place", std::env::temp_dir().display())
}
