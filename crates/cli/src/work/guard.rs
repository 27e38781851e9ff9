//! A process that ends what a killed worker leaves running.
//!
//! The kernel kills a job's command with its worker, but not what the command has started: the programs of a shell script, say. The
//! guard knows the process group of each job from a table in shared memory, and sleeps until the worker is gone. So it costs a job
//! no wake-up.

use crate::work::exec::this_program;
use anyhow::Context;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitCode, Stdio};
use std::sync::Arc;

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Its standard input ends with this process. That tells it.
    process: Child,
    table: File,
}

const ENTRY: usize = size_of::<i32>();

impl Guard {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let start = || -> io::Result<Self> {
            let table = File::from(memfd_create("multiproc-jobs", MemfdFlags::CLOEXEC)?);
            let mut guard = this_program("__guard");
            // In a group of its own, Ctrl-C does not reach it.
            guard.process_group(0).current_dir("/");
            let process = guard.stdin(Stdio::piped()).stdout(table.try_clone()?).stderr(Stdio::null()).spawn()?;
            Ok(Self { process, table })
        };
        start().context("can't start the process that watches over the jobs")
    }

    /// The job in `slot` has this process group from now on; `None`: it has ended.
    pub(crate) fn set(&self, slot: usize, group: Option<Pid>) -> io::Result<()> {
        let entry = group.map_or(0, Pid::as_raw_pid).to_ne_bytes();
        self.table.write_all_at(&entry, (slot * ENTRY) as u64)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // In a container the first process may reap nobody.
        let _ = self.process.wait();
    }
}

/// The guard's own life.
pub(crate) fn stand() -> ExitCode {
    // A signal to all processes of a service, or by the program's name, is the worker's to answer.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
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
