//! Who a process is, and whether it is surely gone.

use crate::fork::PerProcess;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::os::unix::fs::MetadataExt;

/// A process, as its own pid namespace numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Inode of its pid namespace. 0: not known.
    pub namespace: u64,
}

impl Identity {
    /// This process. Asks the system once, and again after a fork.
    pub fn current() -> Self {
        static KNOWN: PerProcess<Identity> = PerProcess::new(Identity::ask);
        *KNOWN.get()
    }

    fn ask() -> Self {
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino());
        Self { pid: std::process::id(), namespace }
    }

    /// Whether the two are known to be numbered by the same namespace.
    pub fn is_neighbour_of(&self, other: &Self) -> bool {
        self.namespace != 0 && self.namespace == other.namespace
    }

    /// Whether there surely is no such process any more: the kernel says so of a process in our own pid namespace.
    ///
    /// `false` says nothing: it may run, be a zombie, be in another namespace, or its number may be another one's by now.
    pub fn is_gone(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // A process that may not be signalled is there: EPERM. Mount options of `/proc` change nothing of that.
        self.is_neighbour_of(&Self::current()) && pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_the_kernel_no_longer_knows_is_gone() {
        let me = Identity::current();
        assert!(!me.is_gone());
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let identity = Identity { pid: child.id(), ..me };
        assert!(!identity.is_gone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(identity.is_gone());
        // In another namespace the number may be a living process's, and so it may if the namespace is not known.
        assert!(!Identity { namespace: 1, ..identity }.is_gone());
        assert!(!Identity { namespace: 0, ..identity }.is_gone());
        assert!(!Identity { pid: 0, ..me }.is_gone() && !Identity { pid: u32::MAX, ..me }.is_gone());
    }
}
