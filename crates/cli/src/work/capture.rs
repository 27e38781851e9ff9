//! What one job writes to one of its streams, until it is printed.

use rustix::io::{Errno, ioctl_fionbio, read};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use tempfile::SpooledTempFile;

/// Output beyond this many bytes goes to a temporary file until the job has ended.
const IN_MEMORY: usize = 4 << 20;

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
    Whole(SpooledTempFile),
    /// What was not taken yet: so many bytes of complete lines, and the beginning of one more.
    Lines { bytes: Vec<u8>, complete: usize },
}

/// The output of a job that has ended.
#[derive(Debug)]
pub(crate) enum Captured {
    Nothing,
    /// At its beginning.
    Spooled(SpooledTempFile),
    Bytes(Vec<u8>),
}

impl Capture {
    pub(crate) fn new(pipe: OwnedFd, tag: Option<Rc<[u8]>>, by_line: bool) -> io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        let kept =
            if by_line { Kept::Lines { bytes: Vec::new(), complete: 0 } } else { Kept::Whole(SpooledTempFile::new(IN_MEMORY)) };
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
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                if self.is_at_line_start {
                    tagged.extend_from_slice(tag);
                }
                tagged.extend_from_slice(line);
                self.is_at_line_start = line.ends_with(b"\n");
            }
            tagged
        });
        let bytes = tagged.as_deref().unwrap_or(bytes);
        match &mut self.kept {
            Kept::Whole(file) => file.write_all(bytes),
            Kept::Lines { bytes: kept, complete } => {
                if let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') {
                    *complete = kept.len() + end + 1;
                }
                kept.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Takes the lines that are complete, where lines are printed as they come.
    pub(crate) fn take_lines(&mut self) -> Option<Vec<u8>> {
        let Kept::Lines { bytes, complete: complete @ 1.. } = &mut self.kept else { return None };
        let rest = bytes.split_off(std::mem::take(complete));
        Some(std::mem::replace(bytes, rest))
    }

    /// Closes the stream. Returns what was not printed yet. Where lines count, the last one gets its end.
    pub(crate) fn finish(self) -> io::Result<Captured> {
        if self.received == 0 {
            return Ok(Captured::Nothing);
        }
        match self.kept {
            Kept::Lines { mut bytes, complete } => {
                if bytes.len() > complete {
                    bytes.push(b'\n');
                }
                Ok(Captured::Bytes(bytes))
            }
            Kept::Whole(mut file) => {
                if !self.is_at_line_start {
                    file.write_all(b"\n")?;
                }
                file.rewind()?;
                Ok(Captured::Spooled(file))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn captured(parts: &[&str], tag: Option<&str>, by_line: bool) -> (Vec<String>, String) {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut capture = Capture::new(ours.into(), tag.map(|tag| tag.as_bytes().into()), by_line).unwrap();
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
            Captured::Spooled(mut file) => drop(file.read_to_string(&mut rest).unwrap()),
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
}
