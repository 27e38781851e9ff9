//! What becomes of a message after its job has ended.
//!
//! A job's message is done once all that the job wrote has been printed. A worker that is killed before that leaves the message to
//! another one.

use crate::exit::Exit;
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
}

/// A message that is to run again.
#[derive(Debug)]
pub(crate) struct Failed {
    taken: Taken,
    note: u32,
}

impl Failed {
    pub(crate) fn give_back(self) {
        self.taken.delivery.give_back_noting(self.note);
    }
}

/// How jobs ended.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    halt: Tally,
    /// The messages whose last run in this worker failed.
    failed: HashSet<MessageId>,
}

/// The note of a job that ran past its time, as `timeout` ends.
const TIMED_OUT: u32 = 124;
/// The exit code of failed jobs, and that for more than 100 of them, as GNU parallel has it. Other numbers would be taken for errors.
const FAILED: [u8; 2] = [1, 101];

impl Tallies {
    pub(crate) fn exit(&self) -> Exit {
        match self.failed.len() {
            0 => Exit::Done,
            failed => Exit::Failed(FAILED[usize::from(failed > 100)]),
        }
    }
}

impl Worker<'_> {
    /// A job has ended: it is logged, and its output is next to be printed.
    pub(crate) fn on_end(&mut self, ended: Ended) -> anyhow::Result<()> {
        let verdict = self.verdict(&ended);
        // A job that the worker ended is no job that was run: another run of it is logged.
        if let Some(log) = self.plan.joblog.as_mut().filter(|_| !matches!(verdict, Verdict::GivenBack { .. })) {
            let Ended { shown, code, signal, started, ran_for, sent, received, .. } = &ended;
            log.write(&Entry {
                number: ended.taken.number,
                started: *started,
                ran_for: *ran_for,
                sent: *sent,
                received: *received,
                code: *code,
                signal: *signal,
                command: shown,
            })?;
        }
        self.count(&ended, verdict);
        let runs_again = matches!(verdict, Verdict::Failed { again: true, .. }) && self.phase == Phase::Working;
        match verdict {
            // What another run prints as well is printed once.
            Verdict::GivenBack { .. } => {
                self.order.leave(ended.taken.number);
                self.settle(Finished { taken: ended.taken, verdict });
            }
            _ if runs_again && self.plan.source == MessageSource::Input => self.settle(Finished { taken: ended.taken, verdict }),
            _ if self.plan.options.keep_order => self.order.fill(ended.taken.number, (ended, verdict)),
            _ => {
                self.order.leave(ended.taken.number);
                self.queue_output(ended, verdict);
            }
        }
        self.print_in_order();
        Ok(())
    }

    pub(crate) fn print_in_order(&mut self) {
        while let Some((ended, verdict)) = self.order.pop() {
            self.queue_output(ended, verdict);
        }
    }

    fn queue_output(&mut self, ended: Ended, verdict: Verdict) {
        let [stdout, stderr] = ended.output;
        self.output.print_captured(Target::Stdout, stdout);
        self.output.print_captured(Target::Stderr, stderr);
        self.unprinted += 1;
        self.output.finish(Finished { taken: ended.taken, verdict });
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
            self.exit = Some(Exit::Failed(exit_status(ended).clamp(1, 255) as u8));
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
    pub(crate) fn print(&mut self) {
        let mut finished = Vec::new();
        let printed = self.output.write(&mut finished);
        self.unprinted -= finished.len();
        finished.into_iter().for_each(|finished| self.settle(finished));
        if let Err(error) = printed {
            self.on_unprintable(error);
        }
    }

    /// Does with a message what the end of its job means for it.
    pub(crate) fn settle(&mut self, Finished { taken, verdict }: Finished) {
        match verdict {
            Verdict::Done => drop(taken.delivery.done()),
            Verdict::Failed { note, again: true } if self.phase == Phase::Working => {
                let due = Instant::now() + self.back_off().after(taken.delivery.count());
                self.retries.keep(due, self.traffic.behind_all(), Failed { taken, note });
            }
            Verdict::Failed { note, again: true } | Verdict::GivenBack { note } => taken.delivery.give_back_noting(note),
            // Nobody looks for the dead letters of a queue without a name.
            Verdict::Failed { .. } if self.plan.source == MessageSource::Input => drop(taken.delivery.done()),
            Verdict::Failed { note, .. } => taken.delivery.put_aside(note),
        }
    }
}

/// 0 for success, else the code, or 128 and the signal, as a shell counts it.
fn exit_status(ended: &Ended) -> u32 {
    let status = if ended.signal != 0 { 128 + ended.signal } else { ended.code };
    status as u32
}
