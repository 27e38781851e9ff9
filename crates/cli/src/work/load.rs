//! `--load` and `--memfree`: no new job while the machine is busy.

use crate::proc::available_memory;
use std::fs::read_to_string;

/// What has to hold before a job starts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gate {
    /// The most threads that may run on the machine, as `/proc/loadavg` counts them at this moment.
    pub(crate) load: Option<u64>,
    /// The fewest bytes of memory that programs can still get.
    pub(crate) memory: Option<u64>,
}

impl Gate {
    pub(crate) fn is_used(self) -> bool {
        self.load.is_some() || self.memory.is_some()
    }

    /// Where the system does not tell, the gate is open.
    pub(crate) fn is_open(self) -> bool {
        let has_room = self.load.is_none_or(|most| running_threads().is_none_or(|running| running < most));
        has_room && self.memory.is_none_or(|least| available_memory().is_none_or(|available| available >= least))
    }
}

/// Counts the threads that run or could run, without the one that asks. The load average of the first minute would see a job that has just started
/// too late.
fn running_threads() -> Option<u64> {
    let text = read_to_string("/proc/loadavg").ok()?;
    let running: u64 = text.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()?;
    Some(running.saturating_sub(1))
}
