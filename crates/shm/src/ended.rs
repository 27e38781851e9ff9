//! Whether a process that is known by its number has surely ended.

use crate::liveness::Identity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};

/// Whether the process with the number `pid` of the pid namespace `namespace` (an inode, 0: not known) has surely ended.
///
/// It goes by what the kernel says of the number in our own namespace, and never by `/proc`, which may hide a process. Where nothing
/// can be known, as of another namespace, the answer is no; and so it is after the number went to another process.
pub fn has_ended(pid: u32, namespace: u64) -> bool {
    let here = Identity::current();
    if namespace == 0 || namespace != here.namespace || pid == here.pid {
        return false;
    }
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
    match pidfd_open(number, PidfdFlags::empty()) {
        // Readable once all its threads have ended, though nobody has waited for it yet.
        Ok(process) => {
            let mut entry = [PollFd::new(&process, PollFlags::IN)];
            matches!(poll(&mut entry, Some(&Timespec::default())), Ok(1))
        }
        Err(Errno::SRCH) => true,
        // A sandbox may forbid the one and not the other.
        Err(_) => test_kill_process(number) == Err(Errno::SRCH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_our_namespace_that_is_gone_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let (pid, here) = (child.id(), Identity::current().namespace);
        assert!(!has_ended(pid, here) && !has_ended(std::process::id(), here));
        child.kill().unwrap();
        while !has_ended(pid, here) {
            std::thread::yield_now();
        }
        assert!(!has_ended(pid, 0) && !has_ended(pid, here + 1));
        child.wait().unwrap();
        assert!(has_ended(pid, here));
    }
}
