//! Records on standard input and standard output, as bytes: lines, or ended by NUL.

use crate::exit::Stop;
use crate::signals::Signals;
use anyhow::Context;
use multiproc::Readable;
use rustix::event::PollFlags;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

/// A pipe that is ready to be written takes this many bytes without a wait (`PIPE_BUF`).
const CHUNK: usize = 4096;
const INPUT_BUFFER: usize = 256 << 10;

/// The byte that ends a record.
pub(crate) fn terminator(null: bool) -> u8 {
    if null { 0 } else { b'\n' }
}

/// Records from a file or a stream, one after the other.
pub(crate) struct Records<'s> {
    from: BufReader<Input<'s>>,
    terminator: u8,
}

impl<'s> Records<'s> {
    pub(crate) fn of_stdin(terminator: u8, signals: &'s Signals) -> anyhow::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned().context("can't read standard input")?;
        Ok(Self::of(stdin.into(), terminator, signals))
    }

    pub(crate) fn of(file: File, terminator: u8, signals: &'s Signals) -> Self {
        Self { from: BufReader::with_capacity(INPUT_BUFFER, Input { file, signals }), terminator }
    }

    /// The next record, without its end. The last one may lack its end. `None`: there is no more.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        if self.from.read_until(self.terminator, &mut record).map_err(cant_read)? == 0 {
            return Ok(None);
        }
        if record.last() == Some(&self.terminator) {
            record.pop();
        }
        Ok(Some(record))
    }

    /// Everything that is left, as one record.
    pub(crate) fn rest(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.from.read_to_end(&mut rest).map_err(cant_read)?;
        Ok(rest)
    }
}

/// A file whose reads end when a signal comes.
struct Input<'s> {
    file: File,
    signals: &'s Signals,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.signals.wait_beside(self.file.as_fd(), PollFlags::IN)?;
            match self.file.read(buffer) {
                // Another process made the stream non-blocking and was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }
}

/// The `Stop` in an error, or the error with what could not be done.
fn stopped(error: io::Error, what: &'static str) -> anyhow::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Stop>()) {
        Some(stop) => (*stop).into(),
        None => anyhow::Error::new(error).context(what),
    }
}

fn cant_read(error: io::Error) -> anyhow::Error {
    stopped(error, "can't read the input")
}

fn cant_write(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Stop::Closed.into(),
        _ => stopped(error, "can't write to standard output"),
    }
}

/// Standard output, written so that a signal ends a wait for its reader.
pub(crate) struct Output<'s> {
    file: File,
    is_pipe: bool,
    signals: &'s Signals,
}

impl<'s> Output<'s> {
    pub(crate) fn new(signals: &'s Signals) -> anyhow::Result<Self> {
        let file: File = io::stdout().as_fd().try_clone_to_owned().context("can't write to standard output")?.into();
        let is_pipe = file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        Ok(Self { file, is_pipe, signals })
    }

    /// Waits until a few bytes can be written. Call it before a message is taken: where the reader left, no message is taken then.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        let ready = self.signals.wait_beside(self.file.as_fd(), PollFlags::OUT).map_err(cant_write)?;
        if ready.intersects(PollFlags::ERR | PollFlags::HUP) {
            return Err(Stop::Closed.into());
        }
        Ok(())
    }

    /// Writes everything. What was written is with the reader or with the system.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> anyhow::Result<()> {
        while !bytes.is_empty() {
            self.wait()?;
            match self.file.write(&bytes[..bytes.len().min(CHUNK)]) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(cant_write(error)),
            }
        }
        Ok(())
    }

    /// Has the system write it to the disk, where it goes to a file.
    pub(crate) fn sync(&self) -> anyhow::Result<()> {
        match self.file.sync_data() {
            // A pipe, a terminal, a device.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other.map_err(cant_write),
        }
    }

    /// A pipe to wait for: ready once its reader left. Other streams don't tell, or are readable for other reasons.
    pub(crate) fn reader_gone(&self) -> Option<Readable<&File>> {
        self.is_pipe.then_some(Readable(&self.file))
    }
}
