//! `multiproc put`.

use super::json::Given;
use super::number;
use crate::exit::{Exit, Stop, has_line, say};
use crate::name::Named;
use crate::place;
use crate::record::{Records, terminator};
use crate::signals::Signals;
use crate::text::size;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use multiproc::{Overview, PutError, wait};
use rustix::process::{Resource, getrlimit};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Put messages into a queue: arguments, lines of standard input, or whole files.
///
/// Lines are read when no message is given and standard input is no terminal, and where a message is "-". A message may be empty, and
/// need not be UTF-8. While the queue is full, put waits. Whatever ends it early, it says how many messages were put.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc put jobs one two three
  seq 1000 | multiproc put jobs
  find . -name '*.wav' -print0 | multiproc put jobs --null
  multiproc put jobs --file a.json --file b.json      # one message each
  multiproc put jobs -- --looks-like-an-option")]
pub(crate) struct Put {
    /// The queue.
    pub(crate) name: String,
    /// The messages; "-" stands for the lines of standard input. Write -- before those that begin with a dash.
    #[arg(value_name = "MESSAGE")]
    messages: Vec<OsString>,
    /// Records of standard input end with NUL, not with a newline.
    #[arg(short = '0', long)]
    null: bool,
    /// Put the content of a file as one message; may be given many times. "-" is all of standard input.
    #[arg(short, long = "file", value_name = "FILE", conflicts_with_all = ["messages", "null"])]
    files: Vec<PathBuf>,
    /// Messages are JSON objects with "text" or "base64", as export writes them.
    #[arg(long, conflicts_with = "files")]
    json: bool,
    /// Give up, with exit code 124, when there was no room for this time.
    #[arg(long, value_name = "TIME", value_parser = number::time)]
    pub(crate) timeout: Option<Duration>,
}

impl Put {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        self.check()?;
        let queue = Named::open(&self.name)?;
        let signals = Signals::watch()?;
        let mut putter = Putter::new(&self.name, &queue, &signals, self.timeout);
        let result = self.put_all(&mut putter, &signals);
        putter.finish(result)
    }

    fn reads_nothing(&self) -> bool {
        self.messages.is_empty() && self.files.is_empty()
    }

    /// Fails where there is nothing to put.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.reads_nothing() && std::io::stdin().is_terminal() {
            bail!("there is nothing to put: give messages, pipe lines in, or write - to type them");
        }
        Ok(())
    }

    pub(crate) fn put_all(&self, sink: &mut impl Sink, signals: &Signals) -> anyhow::Result<()> {
        if self.reads_nothing() {
            return self.put_stdin(sink, signals);
        }
        for message in &self.messages {
            match message.as_encoded_bytes() {
                b"-" => self.put_stdin(sink, signals)?,
                _ => self.put_record(sink, message.clone().into_vec())?,
            }
        }
        for path in &self.files {
            sink.put(content(path, signals)?)?;
        }
        Ok(())
    }

    fn put_stdin(&self, sink: &mut impl Sink, signals: &Signals) -> anyhow::Result<()> {
        let mut records = Records::of_stdin(terminator(self.null), signals)?;
        let mut has_told = self.null || self.json;
        while let Some(record) = records.next()? {
            if !has_told && record.contains(&0) {
                say!("a line has a NUL byte in it: --null makes a message of each record that ends with one");
                has_told = true;
            }
            self.put_record(sink, record)?;
        }
        Ok(())
    }

    fn put_record(&self, sink: &mut impl Sink, record: Vec<u8>) -> anyhow::Result<()> {
        if !self.json {
            return sink.put(record);
        }
        // The first line of an export is about the queue.
        Given::read(&record)?.message()?.map_or(Ok(()), |message| sink.put(message))
    }
}

fn content(path: &PathBuf, signals: &Signals) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        return Records::of_stdin(b'\n', signals)?.rest();
    }
    let read = || Records::of(File::open(path)?, b'\n', signals).rest();
    read().with_context(|| format!("can't read {}", path.display()))
}

/// Where messages go.
pub(crate) trait Sink {
    /// Puts a message; waits while there is no room.
    fn put(&mut self, message: Vec<u8>) -> anyhow::Result<()>;
}

/// Puts messages one after the other, and knows how many there were.
pub(crate) struct Putter<'a> {
    name: &'a str,
    queue: &'a Named,
    signals: &'a Signals,
    timeout: Option<Duration>,
    put: u64,
    progress: Progress,
    /// Whether the user knows why there is no memory.
    has_told: bool,
}

/// The queue had no room until the time-out.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there was no room until the time-out")
    }
}

impl std::error::Error for NoRoom {}

/// How long a wait for memory lasts before it looks for signals.
const SLICE: Duration = Duration::from_millis(200);

impl Sink for Putter<'_> {
    fn put(&mut self, message: Vec<u8>) -> anyhow::Result<()> {
        self.signals.check()?;
        match self.queue.try_put(message) {
            Ok(()) => {}
            Err(error) => self.put_later(error)?,
        }
        self.put += 1;
        self.progress.show(self.put);
        Ok(())
    }
}

impl<'a> Putter<'a> {
    pub(crate) fn new(name: &'a str, queue: &'a Named, signals: &'a Signals, timeout: Option<Duration>) -> Self {
        Self { name, queue, signals, timeout, put: 0, progress: Progress::new(), has_told: false }
    }

    fn put_later(&mut self, mut error: PutError<Vec<u8>>) -> anyhow::Result<()> {
        let end = self.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let tried = match error {
                PutError::Full(_) | PutError::Timeout(_) | PutError::NoMemory(_) if left == Some(Duration::ZERO) => {
                    return Err(NoRoom.into());
                }
                PutError::Full(message) | PutError::Timeout(message) => {
                    self.progress.wait(self.put);
                    wait(&[&self.queue.room(), &self.signals.source()], left)?;
                    self.signals.check()?;
                    self.queue.try_put(message)
                }
                PutError::NoMemory(message) => self.wait_for_memory(message, left)?,
                other => return Err(self.refused(other)),
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
            self.signals.check()?;
        }
    }

    /// Waits for memory for a little while: only the library knows how, and it knows nothing of signals.
    fn wait_for_memory(&mut self, message: Vec<u8>, left: Option<Duration>) -> anyhow::Result<Result<(), PutError<Vec<u8>>>> {
        self.progress.wait(self.put);
        let len = message.len() as u64;
        let (begin, slice) = (Instant::now(), left.map_or(SLICE, |left| left.min(SLICE)));
        match self.queue.put_timeout(message, slice) {
            // At once: nothing that could come free is enough.
            Err(error @ PutError::NoMemory(_)) if begin.elapsed() < slice / 2 => Err(self.refused(error)),
            Ok(()) => Ok(Ok(())),
            Err(error) => {
                if !std::mem::replace(&mut self.has_told, true) {
                    say!("queue {} has no room until messages are taken out: {}", self.name, scarcity(self.name, len));
                }
                Ok(Err(error))
            }
        }
    }

    /// The sentence for a message that can't be put at all.
    fn refused(&self, error: PutError<Vec<u8>>) -> anyhow::Error {
        let name = self.name;
        match error {
            PutError::ShutDown(_) => {
                anyhow!("queue {name} was shut down: remove it with \"multiproc rm {name}\" and make it anew")
            }
            PutError::TooLong { len, max, .. } => anyhow!(
                "a message of {len} bytes is longer than any that queue {name} takes, which is {max}: make the queue with a larger --max-message"
            ),
            PutError::NoMemory(message) => anyhow!(
                "there is no memory left for the message, and queue {name} has nothing that would free enough: {}",
                scarcity(name, message.len() as u64)
            ),
            PutError::Encode { .. } => anyhow!("queue {name} takes text alone, and the message is not UTF-8"),
            other => anyhow!("{other:#}"),
        }
    }

    /// Says how many were put, unless all were.
    pub(crate) fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<Exit> {
        self.progress.clear();
        let Self { name, put, .. } = self;
        let messages = if put == 1 { "message was" } else { "messages were" };
        match result {
            Ok(()) => Ok(Exit::Done),
            Err(error) if error.is::<Stop>() => {
                say!("{error:#}: {put} {messages} put into queue {name}");
                Err(error)
            }
            Err(error) if error.is::<NoRoom>() => {
                say!("{error}: {put} {messages} put into queue {name}");
                Ok(Exit::TimedOut)
            }
            Err(error) if put == 0 => Err(error.context(format!("no message was put into queue {name}"))),
            Err(error) => Err(error.context(format!("{put} {messages} put into queue {name}, then one was not"))),
        }
    }
}

/// What a queue without --memory may take: more than any system has.
const UNLIMITED: u64 = 1 << 42;
/// Room that is no shortage.
const SPARE: u64 = 1 << 20;

/// Which of the limits on a queue's memory is met by one more message, and what to do about it.
fn scarcity(name: &str, len: u64) -> String {
    if place::free().is_some_and(|free| free < len.saturating_add(SPARE)) {
        return place::room();
    }
    let limit = |resource| getrlimit(resource).current;
    let limits = [
        (
            Overview::open(name).ok().map(|seen| seen.memory_limit()).filter(|most| *most < UNLIMITED),
            "its own --memory: make it with more",
        ),
        (limit(Resource::Fsize), "the size of a file in this process, which a queue is to it: raise it with ulimit -f"),
        (limit(Resource::As), "the memory of this process: raise it with ulimit -v"),
    ];
    match limits.iter().filter_map(|(limit, what)| Some((limit.as_ref()?, what))).min() {
        Some((limit, what)) => format!("{} is the limit of {what}", size(*limit)),
        None => "free some of the machine's memory, or the container's (multiproc doctor tells its limits)".into(),
    }
}

/// The progress line. It is only on a terminal, and only where nobody types the messages.
struct Progress(Option<ProgressBar>);

/// Messages between two looks at the clock.
const STEP: u64 = 1 << 10;

impl Progress {
    fn new() -> Self {
        let is_seen = std::io::stderr().is_terminal() && !std::io::stdin().is_terminal();
        Self(is_seen.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let bar = match ProgressStyle::with_template("{pos} put, {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            };
            has_line(&bar);
            bar
        }))
    }

    fn show(&self, put: u64) {
        if let Some(bar) = self.0.as_ref().filter(|_| put.is_multiple_of(STEP)) {
            bar.set_position(put);
            bar.set_message(format!("{:.0} a second", bar.per_sec()));
        }
    }

    fn wait(&self, put: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(put);
            bar.set_message("and the queue is full: waiting for room");
            // A wait has no end that is known: the line can't be drawn later.
            bar.force_draw();
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
