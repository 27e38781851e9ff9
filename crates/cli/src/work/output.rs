//! What goes to standard output and standard error, in order, without ever waiting for a slow reader.

use crate::work::capture::Captured;
use crate::work::spool::Spooled;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, write};
use rustix::stdio::{stderr, stdout};
use rustix::termios::isatty;
use rustix::time::Timespec;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
}

/// Everything that is to be printed. `F` stands for a job that has ended: it comes out once all before it is written.
#[derive(Debug)]
pub(crate) struct Output<F> {
    pieces: VecDeque<Piece<F>>,
    /// Bytes of lines that wait.
    line_bytes: usize,
    /// What one write to standard output and to standard error may take.
    portions: [usize; 2],
    /// Whether standard output and standard error are terminals.
    are_terminals: [bool; 2],
    /// Whether the cursor of a terminal is behind a line that has not ended.
    is_mid_line: bool,
}

#[derive(Debug)]
enum Piece<F> {
    Bytes { to: Target, bytes: Vec<u8>, at: usize },
    Spooled { to: Target, spooled: Spooled },
    Finished(F),
}

/// A pipe that takes anything takes a page without waiting.
const PAGE: usize = 4096;
/// What one write to a file may take.
const PORTION: usize = 64 << 10;
/// What is written before other things have their turn.
const TURN: usize = 1 << 20;
/// Jobs are read no further while this many bytes of their lines wait.
const MOST_LINE_BYTES: usize = 1 << 20;

impl<F> Output<F> {
    pub(crate) fn new() -> Self {
        let portion = |stream| {
            let is_file = fstat(stream).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
            if is_file { PORTION } else { PAGE }
        };
        Self {
            pieces: VecDeque::new(),
            line_bytes: 0,
            portions: [portion(stdout()), portion(stderr())],
            are_terminals: [stdout(), stderr()].map(isatty),
            is_mid_line: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn is_backed_up(&self) -> bool {
        self.line_bytes >= MOST_LINE_BYTES
    }

    pub(crate) fn print(&mut self, to: Target, bytes: Vec<u8>) {
        self.line_bytes += bytes.len();
        self.pieces.push_back(Piece::Bytes { to, bytes, at: 0 });
    }

    pub(crate) fn print_captured(&mut self, to: Target, captured: Captured) {
        match captured {
            Captured::Nothing => {}
            Captured::Bytes(bytes) => self.print(to, bytes),
            Captured::Spooled(spooled) => self.pieces.push_back(Piece::Spooled { to, spooled }),
        }
    }

    /// Says that a job has ended, and all its output is here.
    pub(crate) fn finish(&mut self, finished: F) {
        self.pieces.push_back(Piece::Finished(finished));
    }

    /// What has to be writable for [`write`](Self::write) to go on.
    pub(crate) fn awaits(&self) -> Option<Target> {
        match self.pieces.front()? {
            Piece::Bytes { to, .. } | Piece::Spooled { to, .. } => Some(*to),
            Piece::Finished(_) => None,
        }
    }

    /// Writes what can be written now, and moves the jobs whose output is out to `finished`. [`BrokenPipe`](io::ErrorKind::BrokenPipe):
    /// the reader of standard output left.
    pub(crate) fn write(&mut self, finished: &mut Vec<F>) -> io::Result<()> {
        let mut written = 0;
        while let Some(piece) = self.pieces.pop_front() {
            match piece {
                Piece::Finished(job) => finished.push(job),
                Piece::Spooled { to, mut spooled } => {
                    let taken =
                        spooled.take().map_err(|error| io::Error::other(format!("its part in a temporary file: {error}")))?;
                    if let Some(bytes) = taken {
                        self.pieces.push_front(Piece::Spooled { to, spooled });
                        self.line_bytes += bytes.len();
                        self.pieces.push_front(Piece::Bytes { to, bytes, at: 0 });
                    }
                }
                Piece::Bytes { bytes, at, .. } if at == bytes.len() => self.line_bytes -= bytes.len(),
                Piece::Bytes { to, bytes, at } => {
                    let end = bytes.len().min(at + self.portions[to as usize]);
                    let len = write_now(to, &bytes[at..end])?;
                    if len > 0 && self.are_terminals[to as usize] {
                        self.is_mid_line = bytes[at + len - 1] != b'\n';
                    }
                    self.pieces.push_front(Piece::Bytes { to, bytes, at: at + len });
                    written += len;
                    if len == 0 || written >= TURN {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the last line on a terminal, before something else is drawn there.
    pub(crate) fn end_line(&mut self) {
        if self.are_terminals[Target::Stderr as usize] && self.is_empty() && std::mem::take(&mut self.is_mid_line) {
            let _ = write(stderr(), b"\n");
        }
    }

    /// Drops what was not written. Returns the jobs whose output that was.
    pub(crate) fn abandon(&mut self) -> Vec<F> {
        self.line_bytes = 0;
        self.is_mid_line = false;
        let finished = |piece| if let Piece::Finished(job) = piece { Some(job) } else { None };
        self.pieces.drain(..).filter_map(finished).collect()
    }
}

impl Target {
    pub(crate) fn descriptor(self) -> BorrowedFd<'static> {
        match self {
            Self::Stdout => stdout(),
            Self::Stderr => stderr(),
        }
    }
}

/// Writes if that does not have to wait. Returns the number of bytes.
fn write_now(to: Target, bytes: &[u8]) -> io::Result<usize> {
    let mut polled = [PollFd::from_borrowed_fd(to.descriptor(), PollFlags::OUT)];
    match poll(&mut polled, Some(&Timespec::default())) {
        Ok(0) | Err(Errno::INTR) => return Ok(0),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    match (write(to.descriptor(), bytes), to) {
        (Ok(len), _) => Ok(len),
        (Err(Errno::AGAIN | Errno::INTR), _) => Ok(0),
        // There is nobody to tell.
        (Err(_), Target::Stderr) => Ok(bytes.len()),
        (Err(error), Target::Stdout) => Err(error.into()),
    }
}

/// Jobs in the order of their numbers: each one's place is open from its first start until it ends for the last time.
#[derive(Debug)]
pub(crate) struct InOrder<T>(BTreeMap<u64, Option<T>>);

impl<T> InOrder<T> {
    pub(crate) fn new() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn open(&mut self, number: u64) {
        self.0.entry(number).or_insert(None);
    }

    pub(crate) fn fill(&mut self, number: u64, job: T) {
        self.0.insert(number, Some(job));
    }

    /// Gives up a place whose job does not end here.
    pub(crate) fn leave(&mut self, number: u64) {
        self.0.remove(&number);
    }

    /// Gives up all open places but these.
    pub(crate) fn leave_open(&mut self, but: &[u64]) {
        self.0.retain(|number, job| job.is_some() || but.contains(number));
    }

    /// The jobs that have ended.
    pub(crate) fn into_ended(self) -> impl Iterator<Item = T> {
        self.0.into_values().flatten()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first place, if its job has not ended.
    pub(crate) fn first_open(&self) -> Option<u64> {
        self.0.first_key_value().filter(|(_, job)| job.is_none()).map(|(number, _)| *number)
    }

    /// Takes the next job in order, if it has ended.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.first_entry().filter(|first| first.get().is_some())?.remove()
    }
}
