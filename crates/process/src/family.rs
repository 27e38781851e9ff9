//! The children of this process that nobody has waited for yet.

use crate::current_process;
use crate::handle::{Child, Process};
use crate::say::say;
use multiproc_prim::Deadline;
use multiproc_prim::PerProcess;
use rustix::process::Signal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A forked copy of the process has no children, and must not wait for a lock that a thread of the original held.
static CHILDREN: PerProcess<Mutex<Vec<Arc<Child>>>> = PerProcess::new(|| Mutex::new(Vec::new()));

fn children() -> MutexGuard<'static, Vec<Arc<Child>>> {
    CHILDREN.get().lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add(child: &Arc<Child>) {
    children().push(Arc::clone(child));
}

pub(crate) fn remove(child: &Child) {
    children().retain(|other| !std::ptr::eq(&**other, child));
}

fn all() -> Vec<Arc<Child>> {
    children().clone()
}

/// The children that still run; those that have ended are waited for, so that no zombie is left (Python: `active_children`).
pub fn active_children() -> Vec<Process> {
    let running = |child: &Arc<Child>| matches!(child.wait(Deadline::NOW), Ok(None));
    all().into_iter().filter(running).map(Process).collect()
}

/// How long a daemon has to end when it is asked to, before it is made to.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait for children before saying so.
const SILENCE: Duration = Duration::from_secs(1);

/// The normal end of a process: asks its daemons to end, waits for all other children.
pub(crate) fn end() {
    let (daemons, others): (Vec<_>, Vec<_>) = all().into_iter().partition(|child| child.daemon);
    for daemon in &daemons {
        let _ = daemon.signal(Signal::TERM);
    }
    wait_for(&others);
    let grace = Deadline::after(GRACE);
    for daemon in &daemons {
        if !matches!(daemon.wait(grace), Ok(Some(_))) {
            let _ = daemon.signal(Signal::KILL);
            let _ = daemon.wait(Deadline::NEVER);
        }
    }
}

/// Waits for children, and says which ones when that takes long: whatever `main` has to report comes only afterwards.
fn wait_for(children: &[Arc<Child>]) {
    let silence = Deadline::after(SILENCE);
    let slow: Vec<&Arc<Child>> = children.iter().filter(|child| matches!(child.wait(silence), Ok(None))).collect();
    if slow.is_empty() {
        return;
    }
    let mut names: Vec<String> = slow.iter().take(8).map(|child| format!("{} (pid {})", child.name, child.pid)).collect();
    if slow.len() > names.len() {
        names.push(format!("{} more", slow.len() - names.len()));
    }
    let me = current_process();
    let (name, pid, names) = (me.name(), me.pid(), names.join(", "));
    // The first process of all says why its `main` failed only when this is over.
    let after = if me.parent_pid().is_none() { "; an error of main is printed after that" } else { "" };
    say(&format!("process {name} (pid {pid}) waits for its child processes to end: {names}{after}"));
    for child in slow {
        let _ = child.wait(Deadline::NEVER);
    }
}
