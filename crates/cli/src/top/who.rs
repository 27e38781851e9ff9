//! The process behind a number: what it runs, and whether a signal would reach the right one.
//!
//! A queue knows its holders by the numbers of their own pid namespaces. In another namespace the same number is another process, so a
//! process counts as the holder only if the queue's file is in its memory.

use crate::place;
use crate::proc::signals;
use crate::text::Text;
use rustix::fs::{major, minor, stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The file of a queue that this process has open: device and inode, as `/proc/PID/maps` writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueFile(String, String);

impl QueueFile {
    /// Finds it in this process's [memory](own_memory). `None`: no queue with this name is open, or its name was removed meanwhile.
    pub(crate) fn of(queue: &str, memory: &str) -> Option<Self> {
        let path = place::own().join(queue);
        let there = stat(&path).ok()?;
        let numbers = (format!("{:02x}:{:02x}", major(there.st_dev), minor(there.st_dev)), there.st_ino.to_string());
        // Some file systems tell another device here than there.
        let is_it = |(file, named): &(Self, &str)| file.1 == numbers.1 && (file.0 == numbers.0 || path.as_os_str() == *named);
        shared_files(memory).find(is_it).map(|(file, _)| file)
    }

    fn is_in(&self, pid: u32) -> bool {
        shared_files(&memory(pid)).any(|(file, _)| file == *self)
    }
}

/// What this process has in memory, as `/proc` writes it.
pub(crate) fn own_memory() -> String {
    memory(std::process::id())
}

fn memory(pid: u32) -> String {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    String::from_utf8_lossy(&maps).into_owned()
}

/// The files that a process shares with others in its memory: `address rights offset device inode path`. The rights of a program or a
/// library have a `p` where these have an `s`.
fn shared_files(maps: &str) -> impl Iterator<Item = (QueueFile, &str)> {
    maps.lines().filter_map(|line| {
        let mut words = line.splitn(6, ' ');
        words.nth(1).filter(|rights| rights.ends_with('s'))?;
        let (device, inode, path) = (words.nth(1)?, words.next()?, words.next()?);
        Some((QueueFile(device.to_owned(), inode.to_owned()), path.trim_start()))
    })
}

/// The command line of a holder. `None`: it can't be seen, or another process has its number here.
pub(crate) fn command(pid: u32, queue: &QueueFile) -> Option<Text> {
    if !queue.is_in(pid) {
        return None;
    }
    let words = arguments(pid);
    // A program is as good by its name as by its path.
    let program =
        words.first().map(|program| Path::new(program).file_name().map_or(program.clone(), |name| name.to_string_lossy().into()));
    let line: Vec<String> = program.into_iter().chain(words.into_iter().skip(1)).collect();
    Some(Text::of(line.join(" ")))
}

fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// What the user can have a holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Kill,
    GiveBack,
}

/// A holder that a signal would reach, and nobody else: its number may be used again meanwhile.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) pid: u32,
    pub(crate) order: Order,
    process: OwnedFd,
}

impl Target {
    /// Finds the process, or says why it can't be told to.
    pub(crate) fn find(pid: u32, queue: Option<&QueueFile>, order: Order) -> Result<Self, String> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| format!("there is no process {pid}"))?;
        // First: the file in the memory of a process says nothing about the one that has its number later.
        let process = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            Errno::SRCH => format!("process {pid} is not here: it has ended, or runs in another container"),
            other => format!("can't get hold of process {pid}: {}", std::io::Error::from(other)),
        })?;
        if !queue.is_some_and(|queue| queue.is_in(pid)) {
            return Err(format!("process {pid} here does not have the queue open: it is another one"));
        }
        if order == Order::GiveBack {
            gives_back(pid)?;
        }
        Ok(Self { pid, order, process })
    }

    pub(crate) fn carry_out(&self) -> Result<(), String> {
        let signal = match self.order {
            Order::Kill => Signal::KILL,
            Order::GiveBack => Signal::USR1,
        };
        pidfd_send_signal(&self.process, signal).map_err(|error| match error {
            Errno::SRCH => format!("process {} has ended by itself", self.pid),
            other => format!("can't signal process {}: {}", self.pid, std::io::Error::from(other)),
        })
    }
}

/// Whether a process gives back on SIGUSR1. Any other one would be ended by it.
fn gives_back(pid: u32) -> Result<(), String> {
    let words = arguments(pid);
    let is_multiproc =
        words.first().is_some_and(|program| Path::new(program).file_name().is_some_and(|name| name == "multiproc"));
    if !is_multiproc || !words.get(1).is_some_and(|word| matches!(word.as_str(), "work" | "run")) {
        return Err(format!("process {pid} is no \"multiproc work\": it can't be told to give back (k kills it)"));
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    match catches_usr1(&status) {
        true => Ok(()),
        false => Err(format!("process {pid} does not listen to SIGUSR1: it would end instead (k kills it)")),
    }
}

fn catches_usr1(status: &str) -> bool {
    signals(status, "SigCgt") & (1 << (Signal::USR1.as_raw() - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_memory_is_known_by_device_and_inode() {
        let maps = "7f00-7f01 r-xp 00000000 fe:00 131 /usr/lib/a b.so\n\
                    7f01-7f02 r--p 00000000 fe:00 132 /usr/bin/jobs\n\
                    7f02-7f03 rw-s 00000000 00:1a 77                         /dev/shm/multiproc-0/jobs\n\
                    7f04-7f05 rw-p 00000000 00:00 0 \n\
                    7f06-7f07 rw-s 00000000 00:1a 78                         /dev/shm/multiproc-0/old (deleted)\n";
        let found: Vec<_> = shared_files(maps).collect();
        let file = |inode: &str| QueueFile("00:1a".into(), inode.into());
        assert_eq!(found, [(file("77"), "/dev/shm/multiproc-0/jobs"), (file("78"), "/dev/shm/multiproc-0/old (deleted)")]);
    }

    #[test]
    fn a_process_without_the_queue_is_not_the_holder() {
        let other = QueueFile("ff:ff".into(), "1".into());
        assert_eq!(command(std::process::id(), &other), None);
        assert!(Target::find(std::process::id(), Some(&other), Order::Kill).is_err());
        assert!(Target::find(std::process::id(), None, Order::Kill).is_err());
        assert!(Target::find(0, Some(&other), Order::Kill).is_err());
        assert!(Target::find(u32::MAX, Some(&other), Order::Kill).is_err());
    }

    #[test]
    fn only_a_process_that_catches_usr1_is_sent_it() {
        assert!(catches_usr1("Name:\tx\nSigCgt:\t0000000000000200\n"));
        assert!(!catches_usr1("Name:\tx\nSigIgn:\t0000000000000200\nSigCgt:\t0000000000000100\n"));
        assert!(!catches_usr1(""));
    }
}
