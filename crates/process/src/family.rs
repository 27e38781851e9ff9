//! The children of this process that nobody has waited for yet.

use crate::handle::{Child, Process};
use multiproc_prim::Deadline;
use rustix::process::Signal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

static CHILDREN: Mutex<Vec<Arc<Child>>> = Mutex::new(Vec::new());

pub(crate) fn add(child: &Arc<Child>) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(child));
}

pub(crate) fn remove(child: &Child) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !std::ptr::eq(&**other, child));
}

fn all() -> Vec<Arc<Child>> {
    let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    children.iter().filter(|child| child.is_ours()).cloned().collect()
}

/// The children that still run; those that have ended are waited for, so that no zombie is left (Python: `active_children`).
pub fn active_children() -> Vec<Process> {
    let running = |child: &Arc<Child>| matches!(child.wait(Deadline::NOW), Ok(None));
    all().into_iter().filter(running).map(Process).collect()
}

/// How long a daemon has to end when it is asked to, before it is made to.
const GRACE: Duration = Duration::from_millis(500);

/// The normal end of a process: asks its daemons to end, waits for everyone else.
pub(crate) fn end() {
    let children = all();
    let (daemons, others): (Vec<_>, Vec<_>) = children.into_iter().partition(|child| child.daemon);
    for daemon in &daemons {
        let _ = daemon.signal(Signal::TERM);
    }
    for child in &others {
        let _ = child.wait(Deadline::NEVER);
    }
    let grace = Deadline::after(GRACE);
    for daemon in &daemons {
        if !matches!(daemon.wait(grace), Ok(Some(_))) {
            let _ = daemon.signal(Signal::KILL);
            let _ = daemon.wait(Deadline::NEVER);
        }
    }
}
