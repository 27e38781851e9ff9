//! What a process knows of itself.

use multiproc_prim::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// What the calling process knows of itself (Python: what `multiprocessing.current_process()` returns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    name: Arc<str>,
    numbers: Arc<[u32]>,
    daemon: bool,
    parent: Option<u32>,
}

impl Current {
    /// The name: `"MainProcess"`, `"Process-1"`, `"Process-1:1"`, or what its parent chose (Python: `name`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id (Python: `pid`).
    #[must_use]
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The process id of the parent, as the parent's pid namespace numbers it; `None` in the main process (Python:
    /// `parent_process().pid`).
    #[must_use]
    pub fn parent_pid(&self) -> Option<u32> {
        self.parent
    }

    /// Whether this process ends with its parent (Python: `daemon`).
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// Set in a new process before `main`, while there is one thread. Reading it never waits.
static CURRENT: OnceLock<Current> = OnceLock::new();

/// How many children this process has started. A forked copy counts on from there.
static CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Describes the calling process (Python: `current_process`).
///
/// ```
/// # use multiproc_process as multiproc;
/// assert_eq!(multiproc::current_process().name(), "MainProcess");
/// ```
#[must_use]
pub fn current_process() -> Current {
    let main = || Current { name: "MainProcess".into(), numbers: Arc::new([]), daemon: false, parent: None };
    CURRENT.get().cloned().unwrap_or_else(main)
}

/// The numbers and the usual name of the next child. As in Python, children with a name of their own count too.
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
