//! `--joblog`: a line for each job, in GNU parallel's columns.

use anyhow::Context;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Lines of several workers in one file don't mix: each line is one write to the end of the file.
#[derive(Debug)]
pub(crate) struct JobLog {
    file: File,
    path: PathBuf,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) number: u64,
    pub(crate) started: SystemTime,
    pub(crate) ran_for: Duration,
    /// Bytes that the job was given on standard input, and that it wrote to standard output.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) code: i32,
    pub(crate) signal: i32,
    pub(crate) command: &'a [u8],
}

const COLUMNS: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

impl JobLog {
    /// `anew`: without what a file of this name holds.
    pub(crate) fn open(path: &Path, anew: bool) -> anyhow::Result<Self> {
        let open = || -> io::Result<File> {
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            let is_file = file.metadata()?.is_file();
            if anew && is_file {
                file.set_len(0)?;
            }
            match file.metadata()?.len() {
                0 => file.write_all(COLUMNS.as_bytes())?,
                // A writer that was killed, or a full disk, may have left half a line.
                _ if !ends_in_a_line_end(path)? => file.write_all(b"\n")?,
                _ => {}
            }
            Ok(file)
        };
        let file = open().with_context(|| format!("can't write the job log {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }

    pub(crate) fn write(&mut self, line: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(line).with_context(|| format!("can't write the job log {}", self.path.display()))
    }
}

impl Entry<'_> {
    pub(crate) fn line(&self) -> Vec<u8> {
        let Entry { number, started, ran_for, sent, received, code, signal, command } = self;
        let (started, ran_for) = (started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(), ran_for.as_secs_f64());
        let mut line = format!("{number}\t:\t{started:.3}\t{ran_for:10.3}\t{sent}\t{received}\t{code}\t{signal}\t").into_bytes();
        line.extend_from_slice(command);
        line.push(b'\n');
        line
    }
}

fn ends_in_a_line_end(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut last = [0];
    if file.metadata()?.is_file() {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    Ok(matches!(last, [b'\n' | 0]))
}

/// Reads the numbers of the jobs in a log that need not run again. `failed_again`: those whose last run failed do.
pub(crate) fn read_done(path: &Path, failed_again: bool) -> anyhow::Result<HashSet<u64>> {
    let context = || format!("can't read the job log {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashSet::new()),
        opened => opened.with_context(context)?,
    };
    let mut done = HashSet::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(context)?;
        let columns: Vec<&[u8]> = line.splitn(9, |byte| *byte == b'\t').collect();
        let number = |column: usize| -> Option<i64> { std::str::from_utf8(columns.get(column)?).ok()?.parse().ok() };
        // The first line has names, and the last one may be cut off.
        let (Some(job), Some(code), Some(signal)) = (number(0), number(6), number(7)) else { continue };
        if failed_again && (code, signal) != (0, 0) {
            done.remove(&(job as u64));
        } else {
            done.insert(job as u64);
        }
    }
    Ok(done)
}
