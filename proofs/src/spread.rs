//! Cases spread over processes, for all processors to work.

use multiproc::Process;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// One process's share takes less, whatever the machine.
const HANGS: Duration = Duration::from_secs(1500);

/// Has `run` try each of the cases of one kind, in so many processes. Returns how many of those failed; each says why.
pub fn over_processes<C: Clone + Serialize + DeserializeOwned + 'static>(
    processes: usize,
    run: fn((usize, Vec<C>)) -> Result<(), String>,
    kind: usize,
    cases: &[C],
) -> Result<usize, Box<dyn std::error::Error>> {
    let share = |first: usize| cases.iter().skip(first).step_by(processes).cloned().collect();
    let started: Result<Vec<_>, _> = (0..processes).map(|first| Process::spawn(run, (kind, share(first)))).collect();
    let mut failed = 0;
    for process in started? {
        let exit = process.join_timeout(HANGS)?;
        if exit.is_none() {
            eprintln!("{} hangs", process.name());
            process.kill()?;
        }
        failed += usize::from(!exit.is_some_and(|exit| exit.success()));
    }
    Ok(failed)
}
