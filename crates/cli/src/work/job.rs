//! One running job: its process, its streams and its time.

use crate::work::capture::{Capture, Captured};
use crate::work::exec::bound_command;
use crate::work::guard::Guard;
use crate::work::item::Taken;
use crate::work::spool::Spool;
use rustix::event::PollFlags;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

/// How a job is started.
pub(crate) struct Launch<'a> {
    pub(crate) slot: usize,
    pub(crate) command: &'a [OsString],
    /// The command as the log shows it.
    pub(crate) shown: Vec<u8>,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Whether the message goes to its standard input, which is `/dev/null` otherwise.
    pub(crate) has_input: bool,
    /// `None`: it writes to this process's own streams.
    pub(crate) capture: Option<Capturing>,
    pub(crate) timeout: Option<Duration>,
}

/// How the output of a job is kept.
#[derive(Clone, Debug)]
pub(crate) struct Capturing {
    pub(crate) tag: Option<Rc<[u8]>>,
    /// Where it is until the job has ended. `None`: its lines are printed as they come.
    pub(crate) spool: Option<Spool>,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) taken: Taken,
    pub(crate) slot: usize,
    shown: Vec<u8>,
    process: Child,
    /// Its number names the process, and its process group, until the process is waited for.
    group: Pid,
    pidfd: OwnedFd,
    input: Option<ChildStdin>,
    sent: usize,
    pub(crate) streams: [Option<Capture>; 2],
    started: (Instant, SystemTime),
    timeout_at: Option<Instant>,
    ending: Option<Ending>,
    exited: Option<Exited>,
}

/// Why a job does not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    TimedOut,
    /// The worker gives its message back, with this note.
    Stopped(u32),
}

#[derive(Debug)]
struct Ending {
    why: Why,
    kill_at: Instant,
    was_killed: bool,
}

#[derive(Debug)]
struct Exited {
    ran_for: Duration,
    /// How long its streams may stay open.
    until: Instant,
    /// Bytes that may still be read.
    budget: usize,
}

/// What is awaited of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Input,
    Stream(usize),
    Exit,
}

/// A job that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) taken: Taken,
    pub(crate) shown: Vec<u8>,
    pub(crate) why: Option<Why>,
    /// Its exit code; 0 where a signal ended it, and -1 where its time did, as GNU parallel counts.
    pub(crate) code: i32,
    pub(crate) signal: i32,
    pub(crate) started: SystemTime,
    pub(crate) ran_for: Duration,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) output: [Captured; 2],
}

impl Ended {
    /// A job that failed before it had a process.
    pub(crate) fn without_process(taken: Taken, code: u8) -> Self {
        Self {
            taken,
            shown: Vec::new(),
            why: None,
            code: code.into(),
            signal: 0,
            started: SystemTime::now(),
            ran_for: Duration::ZERO,
            sent: 0,
            received: 0,
            output: [Captured::Nothing, Captured::Nothing],
        }
    }
}

/// Processes that a command left behind may write for so long after its end.
const LINGER: Duration = Duration::from_millis(200);
/// They may write so much: an endless writer is not followed.
const LINGER_BYTES: usize = 1 << 20;

/// What GNU parallel logs of a job that did not end by itself.
const TIMED_OUT_CODE: i32 = -1;

/// A message that got no process.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) taken: Taken,
    pub(crate) error: io::Error,
}

impl NotStarted {
    /// Whether the system may allow it later.
    pub(crate) fn is_for_now(&self) -> bool {
        let errno = Errno::from_io_error(&self.error);
        matches!(errno, Some(Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE))
    }

    pub(crate) fn is_too_long(&self) -> bool {
        Errno::from_io_error(&self.error) == Some(Errno::TOOBIG)
    }
}

impl Job {
    pub(crate) fn start(taken: Taken, launch: Launch<'_>, guard: &Guard) -> Result<Self, NotStarted> {
        let started = (Instant::now(), SystemTime::now());
        match launch.start(guard) {
            Ok((process, group, pidfd, input, streams)) => {
                let timeout_at = launch.timeout.and_then(|timeout| started.0.checked_add(timeout));
                let (slot, shown) = (launch.slot, launch.shown);
                let (sent, ending, exited) = (0, None, None);
                let mut job =
                    Self { taken, slot, shown, process, group, pidfd, input, sent, streams, started, timeout_at, ending, exited };
                job.feed();
                Ok(job)
            }
            Err(error) => Err(NotStarted { taken, error }),
        }
    }

    /// What to wait for. `reads`: whether its output is read now.
    pub(crate) fn awaits(&self, reads: bool) -> impl Iterator<Item = (Watch, BorrowedFd<'_>, PollFlags)> {
        let exit = self.exited.is_none().then(|| (Watch::Exit, self.pidfd.as_fd(), PollFlags::IN));
        let input = self.input.as_ref().map(|input| (Watch::Input, input.as_fd(), PollFlags::OUT));
        let streams = self
            .streams
            .iter()
            .enumerate()
            .filter(move |_| reads)
            .filter_map(|(which, stream)| Some((Watch::Stream(which), stream.as_ref()?.descriptor()?, PollFlags::IN)));
        exit.into_iter().chain(input).chain(streams)
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        let kill_at = self.ending.as_ref().filter(|ending| !ending.was_killed).map(|ending| ending.kill_at);
        let timeout_at = self.timeout_at.filter(|_| self.ending.is_none() && self.exited.is_none());
        let until = self.exited.as_ref().map(|exited| exited.until);
        [kill_at, timeout_at, until].into_iter().flatten().min()
    }

    pub(crate) fn on_time(&mut self, now: Instant, kill_after: Duration) {
        if self.exited.is_none() && self.timeout_at.is_some_and(|at| at <= now) {
            self.stop(Why::TimedOut, now, kill_after);
        }
        if let Some(ending) = self.ending.as_mut().filter(|ending| !ending.was_killed && ending.kill_at <= now) {
            ending.was_killed = true;
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }

    pub(crate) fn on_ready(&mut self, watch: Watch, buffer: &mut [u8]) -> io::Result<()> {
        match watch {
            Watch::Input => self.feed(),
            Watch::Stream(which) => self.read(which, buffer).map(drop)?,
            Watch::Exit => {
                let now = Instant::now();
                let until = match &self.ending {
                    Some(ending) => ending.kill_at,
                    None if self.streams.iter().all(Option::is_none) => now,
                    None => now + LINGER,
                };
                self.input = None;
                self.exited = Some(Exited { ran_for: now - self.started.0, until, budget: LINGER_BYTES });
                for which in 0..self.streams.len() {
                    while self.read(which, buffer)? > 0 {}
                }
            }
        }
        Ok(())
    }

    fn read(&mut self, which: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.streams[which] else { return Ok(0) };
        if self.exited.as_ref().is_some_and(|exited| exited.budget == 0) {
            return Ok(0);
        }
        let len = stream.read(buffer)?;
        if let Some(exited) = &mut self.exited {
            exited.budget = exited.budget.saturating_sub(len);
        }
        Ok(len)
    }

    /// Writes of the message what the job's standard input takes now.
    fn feed(&mut self) {
        let Some(input) = &mut self.input else { return };
        while let Some(rest) = self.taken.delivery.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match input.write(rest) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The job does not read it.
                Err(_) => break,
            }
        }
        self.input = None;
    }

    /// Asks the job and all that it started to end, and sees to it after `kill_after`.
    pub(crate) fn stop(&mut self, why: Why, now: Instant, kill_after: Duration) {
        // A command that has ended keeps its end. Only its output is not waited for any longer.
        if let (Some(exited), None) = (&mut self.exited, &self.ending) {
            exited.until = now;
            return;
        }
        if self.ending.is_none() {
            let _ = kill_process_group(self.group, Signal::TERM);
            // A job that is stopped has to run to end.
            let _ = kill_process_group(self.group, Signal::CONT);
            let kill_at = now + kill_after;
            self.ending = Some(Ending { why, kill_at, was_killed: false });
            if let Some(exited) = &mut self.exited {
                exited.until = kill_at;
            }
        }
    }

    /// Ends the job at once, whatever it is doing.
    pub(crate) fn kill(&mut self) {
        if let Some(ending) = &mut self.ending {
            ending.was_killed = true;
        }
        let _ = kill_process_group(self.group, Signal::KILL);
        if let Some(exited) = &mut self.exited {
            exited.until = Instant::now();
        }
    }

    /// Whether the command has ended, and nothing more is expected of what it has left behind.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let Some(exited) = &self.exited else { return false };
        let mut streams = self.streams.iter().flatten().peekable();
        let has_streams = streams.peek().is_some();
        now >= exited.until || exited.budget == 0 || has_streams && streams.all(|stream| stream.descriptor().is_none())
    }

    /// Takes the job's end, once it is over.
    pub(crate) fn end(mut self, guard: &Guard) -> io::Result<Ended> {
        if self.ending.is_some() {
            // Those that outlived the command. As long as nobody has waited for it, the number of the group is its own.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        guard.set(self.slot, None)?;
        let status = self.process.wait()?;
        let received = self.streams[0].as_ref().map_or(0, Capture::received);
        let [stdout, stderr] = self.streams.map(|stream| stream.map_or(Ok(Captured::Nothing), Capture::finish));
        let why = self.ending.map(|ending| ending.why);
        let code = match status.code() {
            // It did not end by itself. A log that said 0 would say that it was done.
            None | Some(0) if why == Some(Why::TimedOut) => TIMED_OUT_CODE,
            code => code.unwrap_or(0),
        };
        Ok(Ended {
            taken: self.taken,
            shown: self.shown,
            why,
            code,
            signal: status.signal().unwrap_or(0),
            started: self.started.1,
            ran_for: self.exited.map_or_else(|| self.started.0.elapsed(), |exited| exited.ran_for),
            sent: self.sent as u64,
            received,
            output: [stdout?, stderr?],
        })
    }
}

type Started = (Child, Pid, OwnedFd, Option<ChildStdin>, [Option<Capture>; 2]);

impl Launch<'_> {
    fn start(&self, guard: &Guard) -> io::Result<Started> {
        let mut command = bound_command(self.command);
        command.process_group(0).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(if self.has_input { Stdio::piped() } else { Stdio::null() });
        let output = || if self.capture.is_some() { Stdio::piped() } else { Stdio::inherit() };
        command.stdout(output()).stderr(output());
        let mut process = spawn(&mut command)?;
        let watched = self.watch(&mut process, guard);
        if watched.is_err() {
            let _ = kill_process_group(Pid::from_child(&process), Signal::KILL);
            let _ = process.kill();
            // Before its number can be another group's.
            let _ = guard.set(self.slot, None);
            let _ = process.wait();
        }
        watched.map(|(group, pidfd, input, streams)| (process, group, pidfd, input, streams))
    }

    #[allow(clippy::type_complexity)]
    fn watch(&self, process: &mut Child, guard: &Guard) -> io::Result<(Pid, OwnedFd, Option<ChildStdin>, [Option<Capture>; 2])> {
        let group = Pid::from_child(process);
        guard.set(self.slot, Some(group))?;
        let pidfd = pidfd_open(group, PidfdFlags::empty())?;
        let input = process.stdin.take();
        if let Some(input) = &input {
            ioctl_fionbio(input, true)?;
        }
        let streams = [process.stdout.take().map(OwnedFd::from), process.stderr.take().map(OwnedFd::from)];
        let capture = |pipe: Option<OwnedFd>| -> io::Result<Option<Capture>> {
            let Some((pipe, how)) = pipe.zip(self.capture.as_ref()) else { return Ok(None) };
            Capture::new(pipe, how.tag.clone(), how.spool.as_ref()).map(Some)
        };
        let [stdout, stderr] = streams.map(capture);
        Ok((group, pidfd, input, [stdout?, stderr?]))
    }
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
