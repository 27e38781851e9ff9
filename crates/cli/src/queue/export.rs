//! `multiproc export` and `multiproc import`: a queue as lines of JSON.

use super::create::Shape;
use super::json::{self, Given, Header, Line};
use super::put::{Putter, Sink};
use crate::exit::{Exit, say};
use crate::name::{Named, look, refused, unreadable};
use crate::record::{Output, Records};
use crate::signals::Signals;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use multiproc::{DeadLetter, GetError, JoinableQueue};
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// Print a queue as lines of JSON.
///
/// The first line tells how the queue was made, each other one is a message. Nothing is taken out unless --take says so. Messages in hand and dead messages are among them. Of a queue in use it is a view that was true message by message: end its workers
/// first for an exact one.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc export jobs > jobs.jsonl            # a copy, before a reboot
  multiproc export jobs --take > jobs.jsonl     # and the queue is empty
  multiproc export jobs | jq -r 'select(.place == \"dead\").text'")]
pub(crate) struct Export {
    /// The queue.
    pub(crate) name: String,
    /// Take out what waits and what is dead. Each message is out when it is written, and on the disk where it goes to a file.
    #[arg(long)]
    take: bool,
}

/// Bytes of one write.
const BATCH: usize = 1 << 20;

impl Export {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let seen = look(&self.name)?;
        let signals = Signals::watch()?;
        let mut export = Lines { output: Output::new(&signals)?, text: Vec::new() };
        // Before anything is taken: the queue must be one of bytes.
        let queue = Named::open(&self.name)?;
        export.add(&Header { queue: &Shape::of(&seen) })?;
        if !self.take {
            let mut damage = None;
            for glimpse in seen.in_hand().map(Ok).chain(seen.waiting()).chain(seen.dead()) {
                match glimpse {
                    Ok(glimpse) => export.add(&Line::of(&glimpse))?,
                    Err(error) => damage = damage.or(Some(error)),
                }
            }
            export.write()?;
            return damage.map_or(Ok(Exit::Done), |error| Err(error).with_context(|| unreadable(&self.name)));
        }
        export.take(&self.name, &queue)?;
        if let Named::Joinable(queue) = &queue {
            export.take_dead(&self.name, queue)?;
        }
        let left = seen.holders().len();
        if left > 0 {
            let (messages, stay) =
                if left == 1 { ("message", "is in hand: it stays") } else { ("messages", "are in hand: they stay") };
            say!("{left} {messages} of queue {} {stay}", self.name);
        }
        Ok(Exit::Done)
    }
}

/// Lines on their way out.
struct Lines<'s> {
    output: Output<'s>,
    text: Vec<u8>,
}

impl Lines<'_> {
    fn add(&mut self, line: &impl serde::Serialize) -> anyhow::Result<()> {
        self.text.extend_from_slice(json::line(line)?.as_bytes());
        if self.text.len() >= BATCH { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> anyhow::Result<()> {
        let written = self.output.write(&self.text);
        self.text.clear();
        written
    }

    /// What waits: each message is done when it is written.
    fn take(&mut self, name: &str, queue: &Named) -> anyhow::Result<()> {
        loop {
            self.output.wait()?;
            let (mut batch, mut bytes) = (Vec::new(), 0);
            let end = loop {
                match queue.try_get() {
                    Ok(message) => {
                        bytes += message.bytes().len();
                        self.add(&Line::taken("waiting", message.bytes()))?;
                        batch.push(message);
                    }
                    Err(error) => break Err(error),
                }
                if bytes >= BATCH {
                    break Ok(());
                }
            };
            self.write()?;
            self.output.sync()?;
            batch.into_iter().for_each(crate::name::Message::done);
            match end {
                Ok(()) => {}
                Err(GetError::Empty | GetError::ShutDown) => return Ok(()),
                Err(error) => return Err(error).with_context(|| format!("can't take from queue {name}")),
            }
        }
    }

    fn take_dead(&mut self, name: &str, queue: &JoinableQueue<Vec<u8>>) -> anyhow::Result<()> {
        let mut letters = Letters::default();
        while let Some(letter) = letters.next(name, queue)? {
            self.add(&Line::taken("dead", letter))?;
        }
        self.write()?;
        self.output.sync()?;
        letters.0.clear();
        Ok(())
    }
}

/// Dead messages in hand. They go back among the dead when this is dropped.
#[derive(Default)]
pub(crate) struct Letters(pub(crate) Vec<DeadLetter<Vec<u8>>>);

impl Letters {
    /// Takes one more.
    pub(crate) fn next(&mut self, name: &str, queue: &JoinableQueue<Vec<u8>>) -> anyhow::Result<Option<&DeadLetter<Vec<u8>>>> {
        match queue.try_get_dead() {
            Ok(letter) => {
                self.0.push(letter);
                Ok(self.0.last())
            }
            Err(GetError::Empty) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("can't take the dead messages of queue {name}")),
        }
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.0.drain(..).for_each(DeadLetter::leave);
    }
}

/// Put the messages of an export into a queue.
///
/// The queue is made first if there is none. All of them are new messages: what was in hand or dead is to be done, and deliveries are counted from the start.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc import jobs jobs.jsonl              # after a reboot
  multiproc export jobs | ssh host multiproc import jobs")]
pub(crate) struct Import {
    /// The queue.
    pub(crate) name: String,
    /// The file; without it, standard input.
    file: Option<PathBuf>,
    /// Give up, with exit code 124, when there was no room for this time.
    #[arg(long, value_name = "TIME", value_parser = super::number::time)]
    timeout: Option<Duration>,
}

impl Import {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let signals = Signals::watch()?;
        let mut records = match &self.file {
            Some(path) => {
                let file = File::open(path).with_context(|| format!("can't read {}", path.display()))?;
                Records::of(file, b'\n', &signals)
            }
            None => Records::of_stdin(b'\n', &signals)?,
        };
        let first = records.next()?.map(|line| Given::read(&line)).transpose().context("line 1")?;
        let queue = self.queue(first.as_ref())?;
        if first.is_none() {
            bail!("the input is empty: an export has at least one line");
        }
        let mut putter = Putter::new(&self.name, &queue, &signals, self.timeout);
        let result = put_all(first, &mut records, &mut putter);
        putter.finish(result)
    }

    /// The queue, made as the first line says if there is none.
    fn queue(&self, first: Option<&Given>) -> anyhow::Result<Named> {
        if let Some(shape) = first.and_then(|line| line.queue.as_ref()) {
            match shape.make(&self.name) {
                Ok(()) | Err(multiproc::OpenError::Create(multiproc::CreateError::Exists(_))) => {}
                Err(error) => return Err(refused(&self.name, error)),
            }
        }
        Named::open(&self.name)
    }
}

fn put_all(first: Option<Given>, records: &mut Records<'_>, putter: &mut Putter<'_>) -> anyhow::Result<()> {
    let mut next = first;
    let mut number = 1;
    while let Some(line) = next {
        let message = line.message().with_context(|| anyhow!("line {number}"))?;
        message.map(|message| putter.put(message)).transpose()?;
        number += 1;
        next = records.next()?.map(|line| Given::read(&line)).transpose().with_context(|| format!("line {number}"))?;
    }
    Ok(())
}
