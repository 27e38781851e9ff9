//! When the next job starts, and with what.

use crate::exit::say;
use crate::work::command::Filling;
use crate::work::drain::Phase;
use crate::work::exec::NOT_RUN;
use crate::work::item::Taken;
use crate::work::job::{Capturing, Ended, Job, Launch};
use crate::work::quote;
use crate::work::slots::{MessageSource, Worker};
use crate::work::supply::Got;
use anyhow::Context;
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// What the next start waits for, beside the jobs that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// For nothing.
    Now,
    /// For a message.
    Message,
    /// For a time.
    At(Instant),
    /// For something that runs.
    Later,
    /// There is no next job.
    Never,
}

/// How often a busy machine is looked at, and what others still have in hand.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// When a start is tried again that the system refused.
const LATER: Duration = Duration::from_millis(200);
/// Jobs that may have ended and wait for an earlier one to be printed.
const MOST_OUT_OF_ORDER: usize = 4096;
/// A tag has the beginning of the message: so many bytes.
const MOST_TAG: usize = 200;

impl Worker<'_> {
    /// Starts the next job if one can start now. Returns what the one after it waits for.
    pub(crate) fn start_next(&mut self) -> anyhow::Result<Next> {
        let Some(slot) = self.free_slot() else { return Ok(Next::Later) };
        if let Some(at) = self.next_start.filter(|at| *at > Instant::now()) {
            // Where nothing more comes, there is no start to wait for.
            // Whether more can come is asked first: what came before the shutdown is seen after it.
            let is_last = self.is_idle() && (self.plan.until_empty || self.supply.is_shut_down());
            let is_over = is_last && self.supply.is_empty() && self.supply.is_all_done();
            return Ok(if is_over { Next::Never } else { Next::At(at) });
        }
        if let Some(taken) = self.unstarted.take() {
            return self.start(taken, slot);
        }
        let gate = self.plan.options.gate();
        if gate.is_used() && !self.supply.is_empty() && !gate.is_open() {
            return Ok(Next::At(Instant::now() + LOOK));
        }
        match self.supply.try_get()? {
            Got::Message(delivery) => {
                let taken = Taken::new(delivery, self.plan.source.form(), self.next_number);
                self.next_number += 1;
                if self.plan.options.keep_order {
                    self.order.open(taken.number);
                }
                self.start(taken, slot)
            }
            Got::Empty if self.retries.has_due() => Ok(Next::Now),
            Got::Empty if self.is_done_when_empty() => Ok(Next::Never),
            Got::Empty | Got::Asked => Ok(Next::Message),
            Got::ShutDown => Ok(Next::Never),
            Got::Unreadable(why) => {
                say!("a message can't be read, and is among the dead letters now: {why}");
                Ok(Next::Now)
            }
        }
    }

    /// Whether the work is over once no message waits: nothing is in hand, here or in another process, which may die with it.
    fn is_done_when_empty(&self) -> bool {
        self.plan.until_empty && self.is_idle() && self.supply.is_all_done()
    }

    /// A slot for the next job, unless what has ended waits for its output to be printed.
    fn free_slot(&self) -> Option<usize> {
        let is_backed_up = match self.plan.options.keep_order {
            // The job that the others wait for may have to be started again.
            true => self.order.len() + self.unprinted >= MOST_OUT_OF_ORDER && !self.waits_for_what_does_not_run(),
            false => self.jobs.iter().flatten().count() + self.unprinted >= self.jobs.len(),
        };
        let is_working = self.phase == Phase::Working;
        self.jobs.iter().position(Option::is_none).filter(|_| is_working && !is_backed_up)
    }

    fn waits_for_what_does_not_run(&self) -> bool {
        let runs = |number| self.jobs.iter().flatten().any(|job| job.taken.number == number);
        self.order.first_open().is_some_and(|number| !runs(number))
    }

    fn start(&mut self, taken: Taken, slot: usize) -> anyhow::Result<Next> {
        let arguments = taken.arguments();
        let filling = Filling { arguments: &arguments, number: taken.number, slot: slot + 1 };
        let filled = self.plan.template.fill(filling);
        drop(arguments);
        let Ok(command) = filled else {
            let other = self.other_way("--null splits input at NUL bytes");
            self.on_unfit(taken, &format!("it has a NUL byte, which no argument can hold; {other}"))?;
            return Ok(Next::Now);
        };
        let options = &self.plan.options;
        let capture = (!options.ungroup).then(|| {
            let tag = options.tag.then(|| tag(&taken).into());
            Capturing { tag, spool: (!options.line_buffer).then(|| self.spool.clone()) }
        });
        let shown = if self.plan.joblog.is_some() { quote::command(&command) } else { Vec::new() };
        let launch = Launch {
            slot,
            shown,
            command: &command,
            environment: self.environment(&taken, slot),
            has_input: self.plan.has_input,
            capture,
            timeout: options.timeout,
        };
        match Job::start(taken, launch, &self.guard) {
            Ok(job) => {
                self.jobs[slot] = Some(job);
                self.next_start = options.delay.and_then(|delay| Instant::now().checked_add(delay));
                Ok(Next::Now)
            }
            Err(refused) if refused.is_too_long() => {
                let other = self.other_way("put it into a queue, whose work can have it as standard input");
                self.on_unfit(refused.taken, &format!("it is longer than an argument can be; {other}"))?;
                Ok(Next::Now)
            }
            Err(refused) if refused.is_for_now() && self.jobs.iter().any(Option::is_some) => {
                self.unstarted = Some(refused.taken);
                let again = Instant::now() + LATER;
                self.next_start = Some(again);
                Ok(Next::At(again))
            }
            Err(refused) => {
                refused.taken.delivery.give_back_untried();
                Err(refused.error).context("can't start a job")
            }
        }
    }

    fn environment(&self, taken: &Taken, slot: usize) -> Vec<(&'static str, OsString)> {
        let number = taken.number.to_string();
        let mut environment = vec![
            ("MULTIPROC_DELIVERY", taken.delivery.count().to_string().into()),
            ("MULTIPROC_SLOT", (slot + 1).to_string().into()),
            ("PARALLEL_SEQ", number.clone().into()),
            ("PARALLEL_JOBSLOT", (slot + 1).to_string().into()),
        ];
        match &self.plan.source {
            MessageSource::Named(name) => {
                environment.extend([("MULTIPROC_ID", taken.delivery.id().to_string().into()), ("MULTIPROC_QUEUE", name.clone())])
            }
            MessageSource::Input => environment.push(("MULTIPROC_ID", number.clone().into())),
        }
        environment
    }

    /// What to do about a message that can be no argument. `run` has nothing but arguments.
    fn other_way(&self, of_run: &'static str) -> &'static str {
        if self.plan.source == MessageSource::Input { of_run } else { "without {} it goes to standard input" }
    }

    /// A message that makes no command counts as a job that failed.
    fn on_unfit(&mut self, taken: Taken, why: &str) -> anyhow::Result<()> {
        say!("job {} can't be run: {why}", taken.number);
        self.on_end(Ended::without_process(taken, NOT_RUN))
    }

    /// Gives back the messages that may run again.
    pub(crate) fn give_back_due(&mut self) {
        while !self.retries.is_empty() {
            // Whatever the counts say, nothing is left to be behind of in an empty queue.
            let taken = if self.retries.has_due() && self.supply.is_empty() { u64::MAX } else { self.supply.taken() };
            let Some(failed) = self.retries.pop(Instant::now(), taken) else { break };
            failed.give_back();
        }
    }
}

fn tag(taken: &Taken) -> Vec<u8> {
    let message = taken.arguments().join(&b' ');
    // Not in the middle of a character.
    let is_continued = |byte: &u8| byte & 0xc0 == 0x80;
    let most = message.len().min(MOST_TAG);
    let end = (0..=most).rev().find(|end| !message.get(*end).is_some_and(is_continued)).unwrap_or(most);
    let mut tag = quote::line(&message[..end]);
    tag.push(b'\t');
    tag
}
