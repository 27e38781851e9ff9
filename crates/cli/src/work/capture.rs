//! What one job writes to one of its streams, until it is printed.

use crate::work::spool::{Spool, Spooled};
use rustix::io::{Errno, ioctl_fionbio, read};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// A line that is longer is printed in parts.
const MOST_OF_A_LINE: usize = 1 << 20;

/// One stream of a job.
#[derive(Debug)]
pub(crate) struct Capture {
    /// `None` once it has ended.
    pipe: Option<OwnedFd>,
    /// What each line begins with.
    tag: Option<Rc<[u8]>>,
    is_at_line_start: bool,
    kept: Kept,
    received: u64,
}

#[derive(Debug)]
enum Kept {
    /// All of it, for the end of the job.
    Whole(Spooled),
    /// What was not taken yet: so many bytes of complete lines, and the beginning of one more.
    Lines { bytes: Vec<u8>, complete: usize },
}

/// The output of a job that has ended.
#[derive(Debug)]
pub(crate) enum Captured {
    Nothing,
    Spooled(Spooled),
    Bytes(Vec<u8>),
}

impl Capture {
    /// `spool`: keep the output there until the job has ended. Without it, lines are printed as they come.
    pub(crate) fn new(pipe: OwnedFd, tag: Option<Rc<[u8]>>, spool: Option<&Spool>) -> io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        let kept = match spool {
            Some(spool) => Kept::Whole(spool.begin()),
            None => Kept::Lines { bytes: Vec::new(), complete: 0 },
        };
        Ok(Self { pipe: Some(pipe), tag, is_at_line_start: true, kept, received: 0 })
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Counts the bytes that the job wrote.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Reads what is there, at most as much as `buffer` takes. Returns the number of bytes.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        match read(pipe, &mut *buffer) {
            Ok(0) => {
                self.pipe = None;
                Ok(0)
            }
            Ok(len) => {
                self.received += len as u64;
                self.keep(&buffer[..len])?;
                Ok(len)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let tagged = self.tag.as_ref().map(|tag| {
            let mut tagged = Vec::with_capacity(2 * bytes.len());
            let mut is_at_line_start = self.is_at_line_start;
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                if is_at_line_start {
                    tagged.extend_from_slice(tag);
                }
                tagged.extend_from_slice(line);
                is_at_line_start = line.ends_with(b"\n");
            }
            tagged
        });
        self.is_at_line_start = bytes.ends_with(b"\n");
        let bytes = tagged.as_deref().unwrap_or(bytes);
        match &mut self.kept {
            Kept::Whole(spooled) => spooled.append(bytes),
            Kept::Lines { bytes: kept, complete } => {
                if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
                    *complete = kept.len() + end + 1;
                }
                kept.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Takes the lines that are complete, where lines are printed as they come, and what there is of a line that is too long to be kept.
    pub(crate) fn take_lines(&mut self) -> Option<Vec<u8>> {
        let Kept::Lines { bytes, complete } = &mut self.kept else { return None };
        if bytes.len() - *complete >= MOST_OF_A_LINE {
            *complete = bytes.len();
        }
        let rest = bytes.split_off(std::mem::take(complete));
        Some(std::mem::replace(bytes, rest)).filter(|lines| !lines.is_empty())
    }

    /// Closes the stream. Returns what was not printed yet. Where lines count, the last one gets its end.
    pub(crate) fn finish(self) -> io::Result<Captured> {
        if self.received == 0 {
            return Ok(Captured::Nothing);
        }
        match self.kept {
            Kept::Lines { mut bytes, .. } => {
                if !self.is_at_line_start {
                    bytes.push(b'\n');
                }
                Ok(Captured::Bytes(bytes))
            }
            Kept::Whole(mut spooled) => {
                if self.tag.is_some() && !self.is_at_line_start {
                    spooled.append(b"\n")?;
                }
                spooled.finish()?;
                Ok(Captured::Spooled(spooled))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn captured(parts: &[&str], tag: Option<&str>, by_line: bool) -> (Vec<String>, String) {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let spool = (!by_line).then(Spool::new);
        let mut capture = Capture::new(ours.into(), tag.map(|tag| tag.as_bytes().into()), spool.as_ref()).unwrap();
        let mut lines = Vec::new();
        for part in parts {
            theirs.write_all(part.as_bytes()).unwrap();
            capture.read(&mut [0; 64]).unwrap();
            lines.extend(capture.take_lines().map(|lines| String::from_utf8(lines).unwrap()));
        }
        let mut rest = String::new();
        match capture.finish().unwrap() {
            Captured::Nothing => {}
            Captured::Bytes(bytes) => rest = String::from_utf8(bytes).unwrap(),
            Captured::Spooled(mut spooled) => {
                rest = String::from_utf8(spooled.take().unwrap().unwrap()).unwrap();
            }
        }
        (lines, rest)
    }

    #[test]
    fn lines_come_whole_and_what_is_grouped_stays_as_it_is() {
        let parts = ["one\ntw", "o\n", "thr", "ee"];
        assert_eq!(captured(&parts, None, true), (vec!["one\n".into(), "two\n".into()], "three\n".into()));
        assert_eq!(captured(&parts, None, false), (vec![], "one\ntwo\nthree".into()));
    }

    #[test]
    fn a_tag_stands_before_each_line_once() {
        let parts = ["one\ntw", "o\n", "\nx"];
        assert_eq!(captured(&parts, Some("t\t"), false), (vec![], "t\tone\nt\ttwo\nt\t\nt\tx\n".into()));
        assert_eq!(captured(&[], Some("t\t"), false), (vec![], String::new()));
    }

    #[test]
    fn a_line_without_end_is_printed_in_parts_and_ended_once() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut capture = Capture::new(ours.into(), Some(b"t\t".as_slice().into()), None).unwrap();
        let (mut printed, mut most_kept) = (Vec::new(), 0);
        for _ in 0..5 * MOST_OF_A_LINE / 1000 {
            theirs.write_all(&[b'x'; 1000]).unwrap();
            capture.read(&mut [0; 1000]).unwrap();
            let Kept::Lines { bytes, .. } = &capture.kept else { unreachable!() };
            most_kept = most_kept.max(bytes.len());
            printed.extend(capture.take_lines().unwrap_or_default());
        }
        assert!(most_kept < MOST_OF_A_LINE + 1000, "{most_kept}");
        let Captured::Bytes(rest) = capture.finish().unwrap() else { unreachable!() };
        printed.extend(rest);
        assert_eq!(printed.len(), 2 + 5 * MOST_OF_A_LINE / 1000 * 1000 + 1);
        assert!(printed.starts_with(b"t\tx") && printed.ends_with(b"x\n"));
    }
}
