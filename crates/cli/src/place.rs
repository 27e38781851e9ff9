//! The directory of named queues, as the library finds it, and what can be wrong with it.

use crate::text::size;
use rustix::fs::{Access, FileType, access, lstat, stat, statvfs};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgid, getuid};
use std::path::PathBuf;

/// What `MULTIPROC_DIR` names, else `/dev/shm`.
pub(crate) fn parent() -> PathBuf {
    // A program with more rights than the user who started it does not read the variable.
    let is_its_users = getuid() == geteuid() && getgid() == getegid();
    let named = std::env::var_os("MULTIPROC_DIR").filter(|named| is_its_users && !named.is_empty());
    named.map_or_else(|| "/dev/shm".into(), |named| std::path::absolute(&named).unwrap_or_else(|_| named.into()))
}

/// This user's directory in it.
pub(crate) fn own() -> PathBuf {
    parent().join(format!("multiproc-{}", geteuid().as_raw()))
}

/// What has to be changed before there can be queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) found: String,
    pub(crate) change: String,
}

impl Flaw {
    fn new(found: String, change: impl Into<String>) -> Option<Self> {
        Some(Self { found, change: change.into() })
    }

    pub(crate) fn sentence(&self) -> String {
        format!("{}: {}", self.found, self.change)
    }
}

/// How many bytes are free for queues, where the system tells.
pub(crate) fn free() -> Option<u64> {
    statvfs(parent()).ok().map(|system| system.f_bavail * system.f_frsize)
}

/// How much room there is for queues, and how to get more, in a part of a sentence.
pub(crate) fn room() -> String {
    let free = size(free().unwrap_or(0));
    format!("{} has {free} left, so free some or enlarge it (multiproc doctor tells how)", parent().display())
}

/// What is wrong with the directories, if anything is. `makes`: a queue is to be made there.
pub(crate) fn flaw(makes: bool) -> Option<Flaw> {
    let (parent, own, me) = (parent(), own(), geteuid().as_raw());
    let (there, mine) = (parent.display(), own.display());
    const ELSEWHERE: &str = "name another directory with MULTIPROC_DIR";
    let refused = |error: Errno| std::io::Error::from(error);
    match stat(&parent) {
        Err(Errno::NOENT) => return Flaw::new(format!("the directory {there} is not there"), format!("make it, or {ELSEWHERE}")),
        Err(error) => return Flaw::new(format!("can't look at {there}: {}", refused(error)), ELSEWHERE),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            return Flaw::new(format!("{there} is no directory"), ELSEWHERE);
        }
        Ok(_) => {}
    }
    match lstat(&own) {
        Err(Errno::NOENT) if makes && access(&parent, Access::WRITE_OK) == Err(Errno::ROFS) => {
            Flaw::new(format!("{there} is on a file system that is read-only"), ELSEWHERE)
        }
        Err(Errno::NOENT) if makes && access(&parent, Access::WRITE_OK | Access::EXEC_OK).is_err() => Flaw::new(
            format!("user {me} may not make a directory in {there}"),
            format!("have its owner change that, or {ELSEWHERE}"),
        ),
        Err(Errno::NOENT) => None,
        Err(Errno::ACCESS) => {
            Flaw::new(format!("user {me} may not look into {there}"), format!("have its owner change that, or {ELSEWHERE}"))
        }
        Err(error) => Flaw::new(format!("can't look at {mine}: {}", refused(error)), ELSEWHERE),
        Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                Flaw::new(format!("{mine} is a symbolic link"), "remove it: queues have to be in a directory of this user's own")
            }
            FileType::Directory if stat.st_uid != me => Flaw::new(
                format!("{mine} belongs to user {}, not to {me}", stat.st_uid),
                format!("have user {} or root remove it, or {ELSEWHERE}", stat.st_uid),
            ),
            FileType::Directory if stat.st_mode & 0o077 != 0 => Flaw::new(
                format!("{mine} has mode {:o}, which lets others in", stat.st_mode & 0o777),
                format!("chmod 700 {mine}"),
            ),
            FileType::Directory => None,
            _ => Flaw::new(format!("{mine} is a file, not a directory"), "remove it"),
        },
    }
}
