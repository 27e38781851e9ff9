//! Cases spread over several processes, so that all processors work.

use multiproc::Process;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Longer than one process needs for its share on any machine.
const HANGS: Duration = Duration::from_secs(1500);

/// Splits the cases of one kind among this many processes, each of which calls `run`. Returns how many processes failed; each
/// prints why.
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
