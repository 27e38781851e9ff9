//! The identity of a process, and whether that process has surely ended.

use multiproc_prim::PerProcess;
use multiproc_prim::descriptor::{apart, is_ready};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};
use std::os::unix::fs::MetadataExt;

/// A process, as its own pid namespace numbers it.
///
/// For structures that keep a process's identity themselves, as a pipe does. [`Membership`](crate::Membership) needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Inode of its pid namespace. 0: not known.
    pub namespace: u64,
}

impl Identity {
    /// The identity of this process. Asks the system once, and again after a fork.
    pub fn current() -> Self {
        static KNOWN: PerProcess<Identity> = PerProcess::new(Identity::ask);
        *KNOWN.get()
    }

    fn ask() -> Self {
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino());
        Self { pid: std::process::id(), namespace }
    }

    /// Whether the same namespace is known to number both processes.
    pub fn is_neighbour_of(&self, other: &Self) -> bool {
        self.namespace != 0 && self.namespace == other.namespace
    }

    /// Whether the process surely is no more: the kernel says so of a process in our own pid namespace.
    ///
    /// `false` says nothing. The process may run, be a zombie or be in another namespace, or another process may have its number.
    pub fn is_gone(&self) -> bool {
        // A process that may not be signalled is there: EPERM. This does not depend on how `/proc` is mounted.
        self.number_here().is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }

    /// Whether the process has surely ended: it is no more, or a zombie that its parent has not waited for yet.
    ///
    /// `false` says nothing, as with [`is_gone`](Self::is_gone).
    pub fn has_ended(&self) -> bool {
        let Some(pid) = self.number_here().filter(|_| self.pid != Self::current().pid) else { return false };
        match apart(|| pidfd_open(pid, PidfdFlags::empty())) {
            // Readable once all its threads have ended.
            Ok(process) => is_ready(process, PollFlags::IN),
            // There is no such process, or a sandbox forbids to open it and allows to ask.
            Err(_) => self.is_gone(),
        }
    }

    /// Its process id, if that is valid in our own namespace.
    fn number_here(&self) -> Option<Pid> {
        let number = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        number.filter(|_| self.is_neighbour_of(&Self::current()))
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

    #[test]
    fn only_a_process_of_our_namespace_that_is_gone_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let me = Identity::current();
        let identity = Identity { pid: child.id(), ..me };
        assert!(!identity.has_ended() && !me.has_ended());
        child.kill().unwrap();
        while !identity.has_ended() {
            std::thread::yield_now();
        }
        assert!(!Identity { namespace: 0, ..identity }.has_ended());
        assert!(!Identity { namespace: me.namespace + 1, ..identity }.has_ended());
        child.wait().unwrap();
        assert!(identity.has_ended());
    }
}
