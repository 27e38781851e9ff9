//! Segments with a name: files of mode 600 in a directory of the user's own, made whole before they can be seen.

use crate::descriptor::{apart, occupy_standard_streams};
use crate::error::{AttachError, CreateError, Flaw};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use thiserror::Error;

/// A name that a segment can have: 1 to 200 letters, digits, `.`, `_` or `-`, not starting with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName(String);

/// Why a name can't be one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} can't name a segment: use 1 to 200 letters, digits, '.', '_' or '-', not starting with a dot")]
pub struct NameError(String);

impl SegmentName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// It has other characters, none, or too many.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(NameError(name.chars().take(210).collect()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where named segments live: memory, not a disk.
const PARENT: &str = "/dev/shm";

/// The directory of this user's segments, checked: nobody else may add, swap or read names in it.
fn directory() -> Result<OwnedFd, AttachError> {
    let system = |what| move |error: Errno| AttachError::System { what, source: error.into() };
    // All files here are opened after this.
    occupy_standard_streams().map_err(|source| AttachError::System { what: "open a closed standard stream", source })?;
    let uid = rustix::process::geteuid();
    let path = format!("{PARENT}/multiproc-{}", uid.as_raw());
    match rustix::fs::mkdir(&path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(system("make the directory of named segments")(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let refused = |flaw| AttachError::Refused { segment: path.clone(), flaw };
    let directory = match retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty())) {
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(refused(Flaw::Symlink)),
        other => other.map_err(system("open the directory of named segments"))?,
    };
    let stat = rustix::fs::fstat(&directory).map_err(system("look at the directory of named segments"))?;
    if stat.st_uid != uid.as_raw() {
        return Err(refused(Flaw::Owner { owner: stat.st_uid, expected: uid.as_raw() }));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(refused(Flaw::Mode { mode: stat.st_mode & 0o777 }));
    }
    Ok(directory)
}

/// A file without a name yet, in the directory where it will get one.
pub(crate) fn create_unnamed() -> Result<OwnedFd, CreateError> {
    let directory = directory().map_err(|error| CreateError::System {
        what: "use the directory of named segments",
        source: std::io::Error::other(error),
    })?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    apart(|| retry_on_intr(|| rustix::fs::openat(&directory, ".", flags, Mode::RUSR | Mode::WUSR)))
        .map_err(|source| CreateError::System { what: "create a file for the segment", source })
}

/// Gives the finished file its name, unless that is taken.
pub(crate) fn link(file: BorrowedFd<'_>, name: &SegmentName) -> Result<(), CreateError> {
    let system = |source| CreateError::System { what: "name the segment", source };
    let directory = directory().map_err(|error| system(std::io::Error::other(error)))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(rustix::fs::CWD, path, &directory, &name.0, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(CreateError::Exists(name.0.clone())),
        Err(error) => Err(system(error.into())),
    }
}

/// Opens a named file, never through a symbolic link.
pub(crate) fn open(name: &SegmentName) -> Result<OwnedFd, AttachError> {
    let directory = directory()?;
    // Not blocking: a fifo in its place must not stop us.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let refused = |flaw| AttachError::Refused { segment: name.0.clone(), flaw };
    match retry_on_intr(|| rustix::fs::openat(&directory, &name.0, flags, Mode::empty())) {
        Ok(file) => {
            apart(|| Ok::<_, Errno>(file)).map_err(|source| AttachError::System { what: "open the named segment", source })
        }
        Err(Errno::NOENT) => Err(AttachError::NotFound(name.0.clone())),
        Err(Errno::LOOP) => Err(refused(Flaw::Symlink)),
        Err(Errno::ISDIR | Errno::NXIO) => Err(refused(Flaw::NotAFile)),
        Err(error) => Err(AttachError::System { what: "open the named segment", source: error.into() }),
    }
}

/// Takes the name away. Processes that have the segment open keep it.
pub(crate) fn remove(name: &SegmentName) -> Result<(), AttachError> {
    match rustix::fs::unlinkat(directory()?, &name.0, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => Err(AttachError::NotFound(name.0.clone())),
        Err(error) => Err(AttachError::System { what: "remove the named segment", source: error.into() }),
    }
}
