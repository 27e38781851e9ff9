//! A daemon's watch over its parent.

use crate::rights::{Parent, Refusal, system};
use multiproc_prim::background;
use multiproc_travel::Link;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How often to look at the parent's number where the system refuses pidfds.
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Ends this process when its parent ends, however that ends, and not before.
///
/// `pidfd` names the parent, which opened it: it works where the parent has no number, in another pid namespace.
/// Without it the daemon watches the socket, which hangs up when the parent and all its forked copies have ended or run another program.
pub(crate) fn end_with_parent(parent: Parent, pidfd: Option<OwnedFd>, link: &Link) -> Result<(), Refusal> {
    let (watched, events, period) = match pidfd {
        Some(pidfd) => (pidfd, PollFlags::IN, None),
        None => {
            let copy = link.as_fd().try_clone_to_owned().map_err(system("copy its socket"))?;
            (copy, PollFlags::RDHUP, Some(PERIOD))
        }
    };
    let has_ended = move |limit: Option<&Timespec>| {
        let mut entry = [PollFd::new(&watched, events)];
        match poll(&mut entry, limit) {
            Ok(0) | Err(Errno::INTR) => limit.is_some() && parent.has_gone(),
            Ok(_) => true,
            Err(_) => {
                // The system is short of memory. To end without need is worse than to end late.
                std::thread::sleep(Duration::from_millis(100));
                false
            }
        }
    };
    if has_ended(Some(&Timespec::default())) {
        return Err(Refusal::Orphan);
    }
    let watch = move || {
        while !has_ended(period.as_ref()) {}
        // A signal would not do: the first process of a pid namespace gets none from inside, not even SIGKILL.
        // SAFETY: ends the process at once; nothing runs after it.
        unsafe { libc::_exit(128 + libc::SIGKILL) }
    };
    background("multiproc-daemon", watch).map_err(system("start the thread that watches the parent"))
}
