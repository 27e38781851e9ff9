//! A process that ends what a killed worker leaves running.
//!
//! The kernel kills a job's command with its worker, but not what the command has started: the programs of a shell script, say. The
//! guard knows the process group of each job from a table in shared memory, and sleeps until the worker is gone. So it costs a job
//! no wake-up. The worker replaces a guard that was killed itself.

use crate::work::exec::this_program;
use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::time::Timespec;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Standing,
    table: File,
    /// When the last one was started.
    started: Instant,
}

#[derive(Debug)]
enum Standing {
    /// Its standard input ends with this process. That tells it.
    Here { process: Child, pidfd: OwnedFd },
    /// The system had no process for it: it is tried again then.
    Missing { again: Instant },
}

const ENTRY: usize = size_of::<i32>();
/// How long the guard may take to end.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// When a process is tried again that the system refused.
const LATER: Duration = Duration::from_millis(200);

impl Guard {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let start = || -> io::Result<Self> {
            let table = File::from(memfd_create("multiproc-jobs", MemfdFlags::CLOEXEC)?);
            Ok(Self { process: Standing::start(&table)?, table, started: Instant::now() })
        };
        start().context("can't start the process that watches over the jobs")
    }

    /// Readable once the guard has ended, which another process has done to it.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.process {
            Standing::Here { pidfd, .. } => Some(pidfd.as_fd()),
            Standing::Missing { .. } => None,
        }
    }

    /// When to call [`replace`](Self::replace), if the guard is missing.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        match self.process {
            Standing::Here { .. } => None,
            Standing::Missing { again } => Some(again),
        }
    }

    /// Starts another guard in place of one that has ended. It knows the jobs from the same table.
    pub(crate) fn replace(&mut self) {
        if let Standing::Here { process, .. } = &mut self.process {
            let _ = process.wait();
        }
        // Not again and again where each one ends at once.
        let again = self.started + LATER;
        if again > Instant::now() {
            self.process = Standing::Missing { again };
            return;
        }
        self.started = Instant::now();
        let started = Standing::start(&self.table);
        self.process = started.unwrap_or_else(|_| Standing::Missing { again: Instant::now() + LATER });
    }

    /// The job in `slot` has this process group from now on; `None`: it has ended.
    pub(crate) fn set(&self, slot: usize, group: Option<Pid>) -> io::Result<()> {
        let entry = group.map_or(0, Pid::as_raw_pid).to_ne_bytes();
        self.table.write_all_at(&entry, (slot * ENTRY) as u64)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Standing::Here { process, pidfd } = &mut self.process {
            drop(process.stdin.take());
            // One that was stopped ends nothing.
            let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
            let has_ended = retry_on_intr(|| poll(&mut ended, Some(&PATIENCE)));
            if has_ended == Ok(0) {
                let _ = process.kill();
            }
            // In a container the first process may reap nobody.
            let _ = process.wait();
        }
    }
}

impl Standing {
    fn start(table: &File) -> io::Result<Self> {
        let mut guard = this_program("__guard");
        // In a group of its own, Ctrl-C does not reach it.
        guard.process_group(0).current_dir("/");
        let mut process = guard.stdin(Stdio::piped()).stdout(table.try_clone()?).stderr(Stdio::null()).spawn()?;
        match pidfd_open(Pid::from_child(&process), PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Self::Here { process, pidfd }),
            Err(error) => {
                // Before its standard input ends: it would take that for the end of the worker, and end all jobs.
                let _ = process.kill();
                let _ = process.wait();
                Err(error.into())
            }
        }
    }
}

/// The guard's own life.
pub(crate) fn stand() -> ExitCode {
    // A signal to all processes of a service, or by the program's name, is the worker's to answer.
    for signal in [SIGHUP, SIGINT, SIGTERM, SIGUSR1] {
        let _ = flag::register(signal, Arc::default());
    }
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    let mut table = Vec::new();
    let mut at = 0;
    let mut part = [0; 4096];
    // The table is this process's standard output, and nobody reads it in order.
    while let Ok(len @ 1..) = rustix::io::pread(rustix::stdio::stdout(), &mut part, at) {
        table.extend_from_slice(&part[..len]);
        at += len as u64;
    }
    for entry in table.chunks_exact(ENTRY) {
        let group = i32::from_ne_bytes(entry.try_into().unwrap_or_default());
        if let Some(group) = Pid::from_raw(group) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
    ExitCode::SUCCESS
}
