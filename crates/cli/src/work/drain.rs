//! The end of the work. The first signal that asks for it lets running jobs finish, the second one ends them.

use crate::exit::{Exit, say};
use crate::signals::heeded;
use crate::work::job::{Job, Why};
use crate::work::output::InOrder;
use crate::work::slots::Worker;
use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGUSR1};
use signal_hook::low_level::pipe;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// The signals of this process, from now on. Each has a descriptor that is readable once it came.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(i32, UnixStream)>);

impl Signals {
    /// Watches for the signals that this process [heeds](heeded).
    pub(crate) fn watch() -> anyhow::Result<Self> {
        let watch = |signal: i32| -> io::Result<(i32, UnixStream)> {
            let (bell, ringer) = UnixStream::pair()?;
            bell.set_nonblocking(true)?;
            pipe::register(signal, ringer)?;
            Ok((signal, bell))
        };
        let watched = heeded([SIGINT, SIGTERM, SIGHUP, SIGUSR1]);
        Ok(Self(watched.map(watch).collect::<io::Result<_>>().context("can't watch for signals")?))
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &UnixStream> {
        self.0.iter().map(|(_, bell)| bell)
    }

    /// Takes the signals that came, each as often as it came.
    pub(crate) fn take(&self) -> Vec<i32> {
        let mut came = Vec::new();
        for (signal, bell) in &self.0 {
            let mut rings = [0; 16];
            let mut bell: &UnixStream = bell;
            let len = bell.read(&mut rings).unwrap_or(0);
            came.extend(std::iter::repeat_n(*signal, len));
        }
        came
    }
}

/// What the worker does about new jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Working,
    /// None starts any more.
    Draining,
}

impl Worker<'_> {
    pub(crate) fn on_signal(&mut self, signal: i32) {
        // As a shell counts a command that a signal ended.
        let note = 128 + signal as u32;
        if signal == SIGUSR1 {
            self.give_back_kept();
            return self.stop_jobs(note);
        }
        self.asked += 1;
        match self.asked {
            1 => {
                self.exit = Some(Exit::Signal(signal as u8));
                self.drain();
                self.say_draining(": once more ends them");
            }
            2 => {
                self.stop_jobs(note);
                self.abandon_output(note);
            }
            _ => self.running().for_each(Job::kill),
        }
    }

    /// Starts no new jobs, and leaves to others what does not run now.
    pub(crate) fn drain(&mut self) {
        self.phase = Phase::Draining;
        self.give_back_kept();
        let running: Vec<u64> = self.running().map(|job| job.taken.number).collect();
        self.order.leave_open(&running);
        self.print_in_order();
    }

    /// Tells what the worker waits for after a [`drain`](Self::drain).
    pub(crate) fn say_draining(&mut self, then: &str) {
        let running = self.running().count();
        if running > 0 {
            say!("no new jobs; {running} still running{then}");
        }
    }

    pub(crate) fn give_back_kept(&mut self) {
        if let Some(taken) = self.unstarted.take() {
            self.leave_place(taken.number);
            taken.delivery.give_back_untried();
        }
        while let Some(failed) = self.retries.pop_any() {
            failed.give_back();
        }
    }

    /// Ends the jobs that run, and gives their messages back with this note.
    pub(crate) fn stop_jobs(&mut self, note: u32) {
        let (now, kill_after) = (Instant::now(), self.plan.options.kill_after);
        self.running().for_each(|job| job.stop(Why::Stopped(note), now, kill_after));
    }

    /// Gives back what was not printed, with this note. Jobs that have ended are not done then.
    pub(crate) fn abandon_output(&mut self, note: u32) {
        let finished = self.output.abandon();
        self.unprinted -= finished.len();
        let in_order = std::mem::replace(&mut self.order, InOrder::new()).into_ended();
        finished.into_iter().chain(in_order.map(|printable| printable.finished)).for_each(|finished| finished.abandon(note));
    }

    /// Standard output takes no more: the work ends, and what was not printed goes back.
    pub(crate) fn on_unprintable(&mut self, error: io::Error) {
        self.exit = Some(if error.kind() == io::ErrorKind::BrokenPipe {
            Exit::Closed
        } else {
            say!("can't write to standard output: {error}");
            Exit::Usage
        });
        self.drain();
        self.stop_jobs(128 + SIGPIPE as u32);
        self.abandon_output(128 + SIGPIPE as u32);
    }
}
