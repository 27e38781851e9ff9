//! Tests in a process of their own.

use multiproc_process::{Exit, Process};
use std::time::Duration;

pub(crate) const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs the rest of a test in a process of its own, with one thread.
pub(crate) fn alone(test: fn(())) {
    let process = Process::spawn(test, ()).unwrap();
    let exit = process.join_timeout(WATCHDOG).unwrap();
    if exit.is_none() {
        process.kill().unwrap();
    }
    assert_eq!(exit, Some(Exit::Code(0)));
}

pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
