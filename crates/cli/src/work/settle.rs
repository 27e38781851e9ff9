//! What becomes of a message after its job has ended.
//!
//! A job's message is done, and the job is logged, once all that the job wrote has been printed. A worker that is killed before that
//! leaves the message to another one.

use crate::exit::{Exit, say};
use crate::work::capture::Captured;
use crate::work::drain::Phase;
use crate::work::halt::Tally;
use crate::work::item::Taken;
use crate::work::job::{Ended, Why};
use crate::work::joblog::Entry;
use crate::work::output::Target;
use crate::work::slots::{MessageSource, Worker};
use multiproc::MessageId;
use std::collections::HashSet;
use std::time::Instant;

/// What the end of a job means for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// `note`: the exit code, or 128 and the signal. `again`: it may run again.
    Failed {
        note: u32,
        again: bool,
    },
    /// The worker ended the job for a reason of its own.
    GivenBack {
        note: u32,
    },
}

/// A job whose output is being printed.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) taken: Taken,
    verdict: Verdict,
    /// Its line in the job log.
    line: Option<Vec<u8>>,
}

impl Finished {
    /// Gives its message back, since nobody saw its output: that says nothing about the message. One that failed for good is dead.
    pub(crate) fn abandon(self, note: u32) {
        match self.verdict {
            Verdict::Failed { note, again: false } => self.taken.delivery.put_aside(note),
            Verdict::Done | Verdict::Failed { .. } | Verdict::GivenBack { .. } => self.taken.delivery.give_back_interrupted(note),
        }
    }
}

/// A job that has ended, with what it wrote to standard output and standard error.
#[derive(Debug)]
pub(crate) struct Printable {
    output: [Captured; 2],
    pub(crate) finished: Finished,
}

/// A message that is to run again.
#[derive(Debug)]
pub(crate) struct Failed {
    taken: Taken,
    note: u32,
}

impl Failed {
    pub(crate) fn give_back(self) {
        self.taken.delivery.give_back(self.note);
    }
}

/// How jobs ended.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    halt: Tally,
    /// The messages whose last run in this worker failed.
    failed: HashSet<MessageId>,
    /// Those of them that are dead letters.
    dead: u64,
}

/// The note of a job that ran past its time, as `timeout` ends.
const TIMED_OUT: u32 = 124;
/// The exit code of failed jobs, and that for more than 100 of them, as GNU parallel has it. Other numbers would be taken for errors.
const FAILED: [u8; 2] = [1, 101];

impl Tallies {
    /// Counts the jobs that have ended for good, and those of them that failed.
    pub(crate) fn ended(&self) -> (u64, u64) {
        (self.halt.succeeded + self.halt.failed, self.halt.failed)
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.failed.len() {
            0 => Exit::Done,
            failed => Exit::Failed(FAILED[usize::from(failed > 100)]),
        }
    }
}

impl Worker<'_> {
    /// A job has ended: its output is next to be printed.
    pub(crate) fn on_end(&mut self, ended: Ended) -> anyhow::Result<()> {
        if self.unstarted.is_some() && self.plan.options.delay.is_none() {
            // What this job had of the system is free.
            self.next_start = None;
        }
        let verdict = self.verdict(&ended);
        let line = self.is_logged(verdict).then(|| entry(&ended).line());
        self.count(&ended, verdict);
        self.say_unlimited(verdict, &ended);
        let number = ended.taken.number;
        let runs_again = matches!(verdict, Verdict::Failed { again: true, .. }) && self.phase == Phase::Working;
        let Ended { taken, output, .. } = ended;
        let finished = Finished { taken, verdict, line };
        match verdict {
            // What another run prints as well is printed once.
            Verdict::GivenBack { .. } => {
                self.leave_place(number);
                self.settle(finished)?;
            }
            _ if runs_again && self.plan.source == MessageSource::Input => self.settle(finished)?,
            _ if self.plan.options.keep_order => self.order.fill(number, Printable { output, finished }),
            _ => {
                self.order.leave(number);
                self.queue_output(Printable { output, finished });
            }
        }
        self.print_in_order();
        Ok(())
    }

    /// Gives up a job's place in the order, unless its message comes back to this worker under the same number.
    pub(crate) fn leave_place(&mut self, number: u64) {
        if self.plan.source != MessageSource::Input || self.phase != Phase::Working {
            self.order.leave(number);
        }
    }

    /// Tells of the first failure where nothing limits how often a message fails: it may go on for ever.
    fn say_unlimited(&mut self, verdict: Verdict, ended: &Ended) {
        if let (Verdict::Failed { note, again: true }, None, 0) = (verdict, self.plan.limit, self.tallies.halt.failed) {
            let id = ended.taken.delivery.id();
            say!(
                "message {id} failed with exit code {note}, and runs again until it succeeds: --max-deliveries N would limit that"
            );
        }
    }

    /// A job that the worker ended was not run: another run of it is logged. `run` has one line for each job, as GNU parallel has: a try
    /// that is not the last one says neither that the job is done nor that it failed.
    fn is_logged(&self, verdict: Verdict) -> bool {
        let is_last = match verdict {
            Verdict::GivenBack { .. } => false,
            Verdict::Failed { again: true, .. } => self.plan.source != MessageSource::Input,
            Verdict::Done | Verdict::Failed { .. } => true,
        };
        is_last && self.plan.joblog.is_some()
    }

    pub(crate) fn print_in_order(&mut self) {
        while let Some(printable) = self.order.pop() {
            self.queue_output(printable);
        }
    }

    fn queue_output(&mut self, Printable { output: [stdout, stderr], finished }: Printable) {
        self.output.print_captured(Target::Stdout, stdout);
        self.output.print_captured(Target::Stderr, stderr);
        self.unprinted += 1;
        self.output.finish(finished);
    }

    fn verdict(&self, ended: &Ended) -> Verdict {
        let note = match ended.why {
            Some(Why::Stopped(note)) => return Verdict::GivenBack { note },
            Some(Why::TimedOut) => TIMED_OUT,
            None => exit_status(ended),
        };
        let again = self.plan.limit.is_none_or(|limit| ended.taken.delivery.count() < limit);
        if note == 0 { Verdict::Done } else { Verdict::Failed { note, again } }
    }

    /// Counts the end of a job, which may be the one that ends the work.
    fn count(&mut self, ended: &Ended, verdict: Verdict) {
        let id = ended.taken.delivery.id();
        match verdict {
            Verdict::Done => {
                self.tallies.failed.remove(&id);
                self.tallies.halt.succeeded += 1;
            }
            Verdict::Failed { again, .. } => {
                self.tallies.failed.insert(id);
                // Where nothing limits the runs of a message, each one counts.
                self.tallies.halt.failed += u64::from(!again || self.plan.limit.is_none());
            }
            Verdict::GivenBack { .. } => return,
        }
        let Some(halt) = self.plan.options.halt.filter(|halt| self.phase == Phase::Working && halt.is_reached(self.tallies.halt))
        else {
            return;
        };
        if halt.is_at_first_failure() {
            let Verdict::Failed { note, .. } = verdict else { return };
            self.exit = Some(Exit::Failed(note.clamp(1, 255) as u8));
        } else if halt.is_at_success() {
            self.exit = Some(Exit::Done);
        }
        self.drain();
        if halt.now {
            self.stop_jobs(128 + signal_hook::consts::SIGTERM as u32);
        } else {
            self.say_draining("");
        }
    }

    /// Prints what can be printed now, and settles the jobs whose output is out.
    pub(crate) fn print(&mut self) -> anyhow::Result<()> {
        let (mut finished, has_output) = (Vec::new(), !self.output.is_empty());
        let printed = match self.bar.as_ref().filter(|_| has_output) {
            Some(bar) => bar.aside(|| {
                let written = self.output.write(&mut finished);
                self.output.end_line();
                written
            }),
            None => self.output.write(&mut finished),
        };
        self.unprinted -= finished.len();
        // What is out is settled, whatever the log says.
        let settled: Vec<_> = finished.into_iter().map(|finished| self.settle(finished)).collect();
        if let Err(error) = printed {
            self.on_unprintable(error);
        }
        settled.into_iter().collect()
    }

    /// Logs the job, and does with its message what the end of the job means for it.
    pub(crate) fn settle(&mut self, Finished { taken, verdict, line }: Finished) -> anyhow::Result<()> {
        let logged = line.zip(self.plan.joblog.as_mut()).map_or(Ok(()), |(line, log)| log.write(&line));
        match verdict {
            Verdict::Done => taken.delivery.done(),
            Verdict::Failed { note, again: true } if self.phase == Phase::Working => {
                let due = Instant::now() + self.back_off().after(taken.delivery.count());
                self.retries.keep(due, self.supply.behind_all(), Failed { taken, note });
            }
            Verdict::Failed { note, again: true } => taken.delivery.give_back(note),
            Verdict::GivenBack { note } => taken.delivery.give_back_interrupted(note),
            // Nobody looks for the dead letters of a queue without a name.
            Verdict::Failed { .. } if self.plan.source == MessageSource::Input => taken.delivery.done(),
            Verdict::Failed { note, .. } => {
                self.tallies.dead += 1;
                taken.delivery.put_aside(note);
            }
        }
        logged
    }

    /// Tells what failed, and where to look for it.
    pub(crate) fn say_failed(&self) {
        let Tallies { failed, dead, .. } = &self.tallies;
        let failed = failed.len();
        let are = if *dead == 1 { "is a dead letter" } else { "are dead letters" };
        match (&self.plan.source, failed) {
            (_, 0) => {}
            (MessageSource::Input, _) => {
                let jobs = if failed == 1 { "job" } else { "jobs" };
                match &self.plan.options.joblog {
                    Some(path) => say!("{failed} {jobs} failed: see Exitval and Signal in {}", path.display()),
                    None => say!("{failed} {jobs} failed; --joblog FILE tells which, and --resume-failed runs them again"),
                }
            }
            (MessageSource::Named(name), _) => {
                let (name, messages) = (name.to_string_lossy(), if failed == 1 { "message" } else { "messages" });
                match dead {
                    0 => say!("{failed} {messages} failed here and went back into queue {name}"),
                    dead => say!("{failed} {messages} failed; {dead} {are}: see \"multiproc dead {name}\""),
                }
            }
        }
    }
}

fn entry(ended: &Ended) -> Entry<'_> {
    let Ended { taken, shown, code, signal, started, ran_for, sent, received, .. } = ended;
    Entry {
        number: taken.number,
        started: *started,
        ran_for: *ran_for,
        sent: *sent,
        received: *received,
        code: *code,
        signal: *signal,
        command: shown,
    }
}

/// 0 for success, else the code, or 128 and the signal, as a shell counts it.
fn exit_status(ended: &Ended) -> u32 {
    let status = if ended.signal != 0 { 128 + ended.signal } else { ended.code };
    status as u32
}
