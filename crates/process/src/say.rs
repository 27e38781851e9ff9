//! What this crate says on standard error.

use rustix::io::{Errno, write};

/// Writes a line in one piece, so that lines of several processes do not mix. It never fails: nobody may be reading.
pub(crate) fn say(line: &str) {
    let line = format!("{line}\n");
    while write(rustix::stdio::stderr(), line.as_bytes()) == Err(Errno::INTR) {}
}
