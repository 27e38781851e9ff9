//! How a process ended.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a process ended (Python: `exitcode`, where a signal is a negative number).
///
/// ```
/// # use multiproc_process as multiproc;
/// use multiproc::Exit;
///
/// let exit = Exit::Signal(9);
/// assert_eq!((exit.code(), exit.signal(), exit.success()), (None, Some(9), false));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Exit {
    /// The process returned or exited. 0 is success, 101 a panic.
    Code(i32),
    /// A signal ended the process.
    Signal(i32),
    /// Nobody knows: other code of this program waited for the process, or the caller is a forked copy of the parent.
    Unknown,
}

impl Exit {
    /// Whether the process ended with exit code 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code, 0 to 255; `None` if the process did not end by itself.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        if let Self::Code(code) = self { Some(code) } else { None }
    }

    /// The number of the signal that ended the process, such as 9 for `SIGKILL`.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        if let Self::Signal(signal) = self { Some(signal) } else { None }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown exit status"),
        }
    }
}
