//! What this crate says on standard error.

use rustix::io::{Errno, write};

/// Writes a line in one piece, so that lines of several processes do not mix. An error is ignored: standard error may have no reader.
pub(crate) fn say(line: &str) {
    let line = format!("{line}\n");
    while write(rustix::stdio::stderr(), line.as_bytes()) == Err(Errno::INTR) {}
}
