//! Segments with a name: files of mode 600 in a directory of the user's own. A file gets its name when its content is whole.

use crate::error::{AttachError, CreateError, Flaw};
use crate::lock::path_of;
use multiproc_prim::descriptor::{apart, occupy_standard_streams};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{getegid, geteuid, getgid, getuid};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use thiserror::Error;

/// A name of a segment: 1 to 200 letters, digits, `.`, `_` or `-`, not starting with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentName(String);

/// Why a segment can't have a name: it is in the text.
#[derive(Clone, Error, PartialEq, Eq)]
#[error("{0:?} can't name a segment: use 1 to 200 letters, digits, '.', '_' or '-', not starting with a dot")]
pub struct NameError(String);

multiproc_prim::error_debug! { NameError }

impl SegmentName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// The name has other characters, none, or too many.
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

/// Where named segments are: in memory, not on a disk.
const PARENT: &str = "/dev/shm";

/// Names another place for them. It is read once in the life of a process.
const VARIABLE: &str = "MULTIPROC_DIR";

/// Where the named segments of this process are: `/dev/shm`, or what `MULTIPROC_DIR` names.
///
/// A program with more rights than the user who started it does not read the variable.
fn parent() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let is_its_users = getuid() == geteuid() && getgid() == getegid();
        let named = std::env::var_os(VARIABLE).filter(|named| is_its_users && !named.is_empty());
        // A relative one is meant from where the process begins, and not from where it goes later.
        named.map_or_else(|| PARENT.into(), |named| std::path::absolute(&named).unwrap_or_else(|_| named.into()))
    })
}

/// Times that another process may remove the directory meanwhile before we give up.
const TRIES: u32 = 100;

fn path() -> PathBuf {
    parent().join(format!("multiproc-{}", geteuid().as_raw()))
}

/// What an error calls the directory.
fn path_in_words() -> String {
    path().display().to_string()
}

/// Opens the directory of this user's segments, and checks that nobody else may add, swap or read names in it. `None`: there is none.
fn directory() -> Result<Option<OwnedFd>, AttachError> {
    let (path, uid) = (path(), geteuid().as_raw());
    // All files here are opened after this.
    occupy_standard_streams().map_err(|error| directory_error("open a closed standard stream", error))?;
    // As a place only: this works whatever the directory's mode is.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let refused = |flaw| AttachError::Refused { segment: path.display().to_string(), flaw };
    let directory = match retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty())) {
        Err(Errno::NOENT) => return Ok(None),
        // Only a look at the name itself tells a link from a file.
        Err(Errno::LOOP | Errno::NOTDIR) if is_link(&path) => return Err(refused(Flaw::Symlink)),
        other => other.map_err(|error| directory_error("open the directory of named segments", error))?,
    };
    let stat =
        rustix::fs::fstat(&directory).map_err(|error| directory_error("look at the directory of named segments", error))?;
    if stat.st_uid != uid {
        return Err(refused(Flaw::Owner { owner: stat.st_uid, expected: uid }));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(refused(Flaw::DirectoryMode { mode: stat.st_mode & 0o777 }));
    }
    if stat.st_mode & 0o700 != 0o700 {
        // It was made under a umask that took rights from its owner. The descriptor's own path can't be swapped for another.
        let repaired = rustix::fs::chmod(path_of(directory.as_fd()), Mode::RWXU);
        repaired.map_err(|error| directory_error("give the directory of named segments its mode of 700", error))?;
    }
    Ok(Some(directory))
}

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

fn directory_error(what: &'static str, error: impl Into<std::io::Error>) -> AttachError {
    AttachError::System { segment: path_in_words(), what, source: error.into() }
}

/// Opens the directory of this user's segments, and makes it if there is none.
fn make_directory() -> Result<OwnedFd, AttachError> {
    const WHAT: &str = "make the directory of named segments";
    for _ in 0..TRIES {
        match rustix::fs::mkdir(path(), Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(directory_error(WHAT, error)),
        }
        if let Some(directory) = directory()? {
            return Ok(directory);
        }
    }
    Err(directory_error(WHAT, Errno::NOENT))
}

/// Removes the directory, unless it has names.
fn tidy() {
    let _ = rustix::fs::rmdir(path());
}

/// Creates a file without a name, on the file system where `name` will be.
pub(crate) fn create_unnamed(name: &SegmentName) -> Result<OwnedFd, CreateError> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = apart(|| retry_on_intr(|| rustix::fs::open(parent(), flags, mode))).map_err(|source| {
        let (segment, what) = (parent().display().to_string(), "make a file there (MULTIPROC_DIR can name another directory)");
        CreateError::Directory(AttachError::System { segment, what, source })
    })?;
    // Whatever the umask took.
    rustix::fs::fchmod(&file, mode).map_err(|error| {
        let (segment, what) = (name.to_string(), "give its file the mode 600");
        CreateError::System { segment, what, source: error.into() }
    })?;
    Ok(file)
}

/// Gives the finished file its name, unless that is taken.
pub(crate) fn link(file: BorrowedFd<'_>, name: &SegmentName) -> Result<(), CreateError> {
    let system = |source| CreateError::System { segment: name.to_string(), what: "name it through /proc/self/fd", source };
    let path = path_of(file);
    let mut tries = 0;
    let linked = loop {
        let directory = match make_directory() {
            Ok(directory) => directory,
            Err(error) => break Err(CreateError::Directory(error)),
        };
        match rustix::fs::linkat(rustix::fs::CWD, &path, &directory, &name.0, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => break Err(CreateError::Exists(name.0.clone())),
            // Another process removed the directory with its last name.
            Err(Errno::NOENT) if tries < TRIES => tries += 1,
            Err(error) => break Err(system(error.into())),
        }
    };
    tidy();
    linked
}

/// Opens a named file, never through a symbolic link.
pub(crate) fn open(name: &SegmentName) -> Result<OwnedFd, AttachError> {
    let not_found = || AttachError::NotFound(name.0.clone());
    let directory = directory()?.ok_or_else(not_found)?;
    // Not blocking: a fifo in its place must not stop us.
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let refused = |flaw| AttachError::Refused { segment: name.0.clone(), flaw };
    let system = |source| AttachError::System { segment: name.to_string(), what: "open it", source };
    match retry_on_intr(|| rustix::fs::openat(&directory, &name.0, flags, Mode::empty())) {
        Ok(file) => apart(|| Ok::<_, Errno>(file)).map_err(system),
        Err(Errno::NOENT) => Err(not_found()),
        Err(Errno::LOOP) => Err(refused(Flaw::Symlink)),
        Err(Errno::ISDIR | Errno::NXIO) => Err(refused(Flaw::NotAFile)),
        Err(error) => Err(system(error.into())),
    }
}

/// Removes the name, and the directory with its last name. Processes that have the segment keep it.
pub(crate) fn remove(name: &SegmentName) -> Result<(), AttachError> {
    let not_found = || AttachError::NotFound(name.0.clone());
    match rustix::fs::unlinkat(directory()?.ok_or_else(not_found)?, &name.0, AtFlags::empty()) {
        Ok(()) => {
            tidy();
            Ok(())
        }
        Err(Errno::NOENT) => Err(not_found()),
        Err(error) => Err(AttachError::System { segment: name.to_string(), what: "remove it", source: error.into() }),
    }
}

/// Whether a file lies where named segments do. A memory file never does, so a file there has, had or can get a name.
pub(crate) fn is_at_home(device: u64) -> bool {
    [Path::new(PARENT), parent()].iter().any(|place| rustix::fs::stat(*place).is_ok_and(|place| place.st_dev == device))
}

/// The names in this user's directory that a segment can have, in order.
pub(crate) fn list() -> Result<Vec<SegmentName>, AttachError> {
    let Some(directory) = directory()? else { return Ok(Vec::new()) };
    let listed = |error: Errno| directory_error("list the named segments", error);
    // The directory was opened as a place only.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = apart(|| retry_on_intr(|| rustix::fs::openat(&directory, ".", flags, Mode::empty())));
    let directory = directory.map_err(|error| directory_error("list the named segments", error))?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(directory).map_err(listed)? {
        let entry = entry.map_err(listed)?;
        names.extend(entry.file_name().to_str().ok().and_then(|name| SegmentName::new(name).ok()));
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}
