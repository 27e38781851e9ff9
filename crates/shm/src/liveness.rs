//! Who a process is, and whether it still runs.

use crate::fork;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

/// A process, told apart from every other one that had or will have its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process id, as its own namespace numbers it.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did. 0: not known.
    pub start: u64,
    /// Inode of its pid namespace. 0: not known.
    pub namespace: u64,
}

impl Identity {
    /// This process. Asks the system once, and again after a fork.
    pub fn current() -> Self {
        static KNOWN: Mutex<Option<(u64, Identity)>> = Mutex::new(None);
        let stamp = fork::stamp();
        // A lock that another thread held during a fork stays held in the child: then ask the system instead.
        if let Ok(mut known) = KNOWN.try_lock() {
            return match *known {
                Some((of, identity)) if of == stamp => identity,
                _ => known.insert((stamp, Self::ask())).1,
            };
        }
        Self::ask()
    }

    /// The process that has this number in our namespace now, unless it is a zombie; `None` if there is none.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, start) = parse(&stat)?;
        let alive = !matches!(state, 'Z' | 'X') || threads(&pid.to_string()) > 1;
        alive.then(|| Self { pid, start, namespace: Self::current().namespace })
    }

    fn ask() -> Self {
        let pid = std::process::id();
        let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino());
        Self { pid, start: start_of("self").unwrap_or(0), namespace }
    }

    /// Whether the process still runs. `None`: it is of another namespace, or `/proc` won't say.
    pub fn is_alive(&self) -> Option<bool> {
        let here = Self::current();
        if here.namespace == 0 || self.namespace != here.namespace || self.start == 0 {
            return None;
        }
        if here.pid == self.pid && here.start == self.start {
            return Some(true);
        }
        let pid = self.pid.to_string();
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => {
                let (state, start) = parse(&stat)?;
                if start != self.start {
                    return Some(false);
                }
                // A zombie is dead, unless it is only the first thread of a process that goes on without it.
                Some(!matches!(state, 'Z' | 'X') || threads(&pid) > 1)
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
                // No such process, if /proc is there at all.
                start_of("self").map(|_| false)
            }
            Err(_) => None,
        }
    }
}

fn threads(pid: &str) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

fn start_of(pid: &str) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|(_, start)| start)
}

/// State and start time. The name in the second field may hold spaces and parentheses, so count from the last one.
fn parse(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_alive_and_a_child_that_was_waited_for_is_not() {
        let me = Identity::current();
        assert_eq!(me.is_alive(), Some(true));
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let start = start_of(&child.id().to_string()).unwrap();
        let identity = Identity { pid: child.id(), start, ..me };
        assert_eq!(identity.is_alive(), Some(true));
        assert_eq!(Identity { start: start + 1, ..identity }.is_alive(), Some(false));
        assert_eq!(Identity { namespace: 1, ..identity }.is_alive(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(identity.is_alive(), Some(false));
    }

    #[test]
    fn names_with_parentheses_are_parsed() {
        let stat = "7 (a) (b) c) S 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse(stat), Some(('S', 4242)));
    }
}
