//! What a process knows of itself.

use multiproc_prim::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// A process as it sees itself (Python: what `multiprocessing.current_process()` returns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    name: Arc<str>,
    numbers: Arc<[u32]>,
    daemon: bool,
    parent: Option<u32>,
}

impl Current {
    /// `"MainProcess"`, `"Process-1"`, `"Process-1:1"`, or what it was named (Python: `name`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id (Python: `pid`).
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The process id of its parent, as the parent's pid namespace numbers it; `None` in the main process (Python:
    /// `parent_process().pid`).
    pub fn parent_pid(&self) -> Option<u32> {
        self.parent
    }

    /// Whether it ends with the one that started it (Python: `daemon`).
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// Set before `main`, while there is one thread; reading it never waits. `None` in the main process.
static CURRENT: OnceLock<Current> = OnceLock::new();

/// Children that this process has started. A forked copy goes on from there.
static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// This process (Python: `current_process`).
///
/// ```
/// assert_eq!(multiproc_process::current_process().name(), "MainProcess");
/// ```
pub fn current_process() -> Current {
    let main = || Current { name: "MainProcess".into(), numbers: Arc::new([]), daemon: false, parent: None };
    CURRENT.get().cloned().unwrap_or_else(main)
}

/// The number and usual name of the next child, as Python counts them: those with a name of their own count too.
pub(crate) fn next_child() -> (Vec<u32>, String) {
    let mut numbers = current_process().numbers.to_vec();
    numbers.push(CHILDREN.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
    let dotted: Vec<String> = numbers.iter().map(u32::to_string).collect();
    let name = format!("Process-{}", dotted.join(":"));
    (numbers, name)
}

/// Tells a new process who it is.
pub(crate) fn become_child(name: &str, numbers: &[u32], daemon: bool, parent: u32) {
    let _ = CURRENT.set(Current { name: name.into(), numbers: numbers.into(), daemon, parent: Some(parent) });
}
