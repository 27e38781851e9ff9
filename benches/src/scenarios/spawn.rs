//! Starting a process and waiting for its end.

use crate::measure::{Peer, Scenario, per_operation};
use anyhow::Result;
use multiproc::Process;
use std::process::{Command, Stdio};

pub fn all() -> Vec<Scenario> {
    let plain = Peer::limit("the same file run and waited for", 300, plain, 1.5);
    vec![Scenario::timed("spawn and join of a process", 300, spawn, [plain])]
}

fn nothing(_: ()) {}

fn spawn(n: u64) -> Result<f64> {
    per_operation(n, || {
        for _ in 0..n {
            Process::spawn(nothing, ())?.join()?;
        }
        Ok(())
    })
}

/// The same executable file, which ends at once because it is asked for help.
fn plain(n: u64) -> Result<f64> {
    per_operation(n, || {
        for _ in 0..n {
            Command::new("/proc/self/exe").arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        }
        Ok(())
    })
}
