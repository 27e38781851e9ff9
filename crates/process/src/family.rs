//! The children of this process that nobody has waited for yet.

use crate::current::current_process;
use crate::error::JoinError;
use crate::exit::Exit;
use crate::record::Record;
use crate::say::say;
use multiproc_prim::{Deadline, PerProcess};
use rustix::process::Signal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A forked copy of the process has no children, and must not wait for a lock that a thread of the original held.
static CHILDREN: PerProcess<Mutex<Vec<Arc<Record>>>> = PerProcess::new(|| Mutex::new(Vec::new()));

/// How long a daemon has to end after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

/// How long the end of a process waits for its children before it says so.
const SILENCE: Duration = Duration::from_secs(1);

fn children() -> MutexGuard<'static, Vec<Arc<Record>>> {
    CHILDREN.get().lock().unwrap_or_else(PoisonError::into_inner)
}

fn all() -> Vec<Arc<Record>> {
    children().clone()
}

/// Takes a new child in.
pub(crate) fn adopt(child: Record) -> Arc<Record> {
    let child = Arc::new(child);
    children().push(Arc::clone(&child));
    child
}

/// Waits for a child's end; it is no longer in the family then. `None` if the deadline passed first.
pub(crate) fn wait(child: &Record, deadline: Deadline) -> Result<Option<Exit>, JoinError> {
    let exit = child.wait(deadline)?;
    if exit.is_some() {
        children().retain(|other| !std::ptr::eq(&**other, child));
    }
    Ok(exit)
}

/// The children that still run. Those that have ended are waited for, so that no zombie is left.
pub(crate) fn running() -> Vec<Arc<Record>> {
    all().into_iter().filter(|child| matches!(wait(child, Deadline::NOW), Ok(None))).collect()
}

/// The normal end of a process: ends its daemons, and waits for all other children.
pub(crate) fn end() {
    let (daemons, others): (Vec<_>, Vec<_>) = all().into_iter().partition(|child| child.daemon);
    for daemon in &daemons {
        let _ = daemon.signal(Signal::TERM);
    }
    wait_for(&others);
    let grace = Deadline::after(GRACE);
    for daemon in &daemons {
        if !matches!(wait(daemon, grace), Ok(Some(_))) {
            let _ = daemon.signal(Signal::KILL);
            let _ = wait(daemon, Deadline::NEVER);
        }
    }
}

/// Waits for children. When that takes long it says for which ones, because an error of `main` is printed only afterwards.
fn wait_for(children: &[Arc<Record>]) {
    let silence = Deadline::after(SILENCE);
    let slow: Vec<&Arc<Record>> = children.iter().filter(|child| matches!(wait(child, silence), Ok(None))).collect();
    if slow.is_empty() {
        return;
    }
    let mut names: Vec<String> = slow.iter().take(8).map(|child| format!("{} (pid {})", child.name, child.pid)).collect();
    if slow.len() > names.len() {
        names.push(format!("{} more", slow.len() - names.len()));
    }
    let me = current_process();
    let (name, pid, names) = (me.name(), me.pid(), names.join(", "));
    // A new process has printed its function's error already.
    let after = if me.parent_pid().is_none() { "; an error of main is printed after that" } else { "" };
    say(&format!("process {name} (pid {pid}) waits for its child processes to end: {names}{after}"));
    for child in slow {
        let _ = wait(child, Deadline::NEVER);
    }
}
