//! `multiproc get` and `multiproc peek`.

use super::json::{self, Line};
use super::number;
use crate::exit::{Exit, Stop};
use crate::name::{Message, Named, look, readable, unreadable};
use crate::record::{Output, terminator};
use crate::signals::Signals;
use anyhow::Context;
use clap::Args;
use multiproc::{GetError, Source, wait};
use std::time::{Duration, Instant};

/// Take messages out of a queue and print them.
///
/// It takes the oldest one, without a wait, unless told otherwise.
///
/// A message of a queue made with --joinable is done when it is written. If get is killed before that, the message is delivered again.
/// A message of another queue that could not be written goes back behind the others, but dies with a get that is killed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  while job=$(multiproc get jobs); do echo \"$job\"; done    # until there is none
  multiproc get jobs --timeout 10                          # wait at most 10 s for it
  multiproc get events --follow | grep error               # until the queue is shut down
  multiproc get jobs --all --null | xargs -0 -n1 gzip

Exit code 1: there was no message.")]
pub(crate) struct Get {
    /// The queue.
    pub(crate) name: String,
    /// How many messages to take at most [default: 1, or with --follow all].
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "all")]
    count: Option<u64>,
    /// Take all messages that are there.
    #[arg(short, long)]
    all: bool,
    /// Wait at most this time for each message.
    #[arg(long, value_name = "TIME", value_parser = number::time, conflicts_with = "follow")]
    pub(crate) timeout: Option<Duration>,
    /// Wait for each message, until the queue is shut down, or -n messages came.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// End each message with NUL, not with a newline.
    #[arg(short = '0', long)]
    null: bool,
    /// Print the messages alone, with nothing between them.
    #[arg(long, conflicts_with = "null")]
    no_newline: bool,
}

/// So many bytes can be written to a pipe without a wait: no more messages than that are in hand at once.
const BATCH: usize = 4096;

impl Get {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let queue = Named::open(&self.name)?;
        let signals = Signals::watch()?;
        let mut output = Output::new(&signals)?;
        let most = self.most();
        let mut got = 0;
        let mut waits_since = Instant::now();
        while got < most {
            output.wait()?;
            let (batch, end) = take(&queue, most - got);
            let count = batch.len() as u64;
            self.print(batch, &mut output)?;
            if count > 0 {
                got += count;
                waits_since = Instant::now();
            }
            let goes_on = match end {
                Ok(()) => true,
                Err(GetError::Empty) => self.wait(&queue, waits_since, &output, &signals)?,
                Err(GetError::ShutDown) => false,
                Err(error) => return Err(error).with_context(|| format!("can't get from queue {}", self.name)),
            };
            if !goes_on {
                break;
            }
        }
        Ok(if got > 0 { Exit::Done } else { Exit::Nothing })
    }

    /// How many messages to take at most.
    pub(crate) fn most(&self) -> u64 {
        self.count.unwrap_or(if self.all || self.follow { u64::MAX } else { 1 })
    }

    /// Adds a message, and what ends it.
    pub(crate) fn frame(&self, message: &[u8], text: &mut Vec<u8>) {
        text.extend_from_slice(message);
        if !self.no_newline {
            text.push(terminator(self.null));
        }
    }

    /// Writes messages. Then they are done.
    fn print(&self, batch: Vec<Message<'_>>, output: &mut Output<'_>) -> anyhow::Result<()> {
        let mut text = Vec::with_capacity(BATCH);
        for message in &batch {
            self.frame(message.bytes(), &mut text);
        }
        output.write(&text)?;
        batch.into_iter().for_each(Message::done);
        Ok(())
    }

    /// Waits for a message. Returns whether there may be one. Other consumers may take what it waits for, again and again: that does
    /// not lengthen the wait.
    fn wait(&self, queue: &Named, since: Instant, output: &Output<'_>, signals: &Signals) -> anyhow::Result<bool> {
        let timeout = self.timeout.map(|timeout| timeout.saturating_sub(since.elapsed()));
        let timeout = timeout.or((!self.follow).then_some(Duration::ZERO));
        let (bell, gone) = (signals.source(), output.reader_gone());
        let mut sources: Vec<&dyn Source> = vec![queue.source(), &bell];
        sources.extend(gone.as_ref().map(|gone| gone as &dyn Source));
        let ready = wait(&sources, timeout)?;
        signals.check()?;
        if ready.contains(&2) {
            return Err(Stop::Closed.into());
        }
        Ok(!ready.is_empty())
    }
}

/// Takes messages for one write, and says why there are no more.
fn take(queue: &Named, most: u64) -> (Vec<Message<'_>>, Result<(), GetError>) {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while (batch.len() as u64) < most && bytes < BATCH {
        match queue.try_get() {
            Ok(message) => {
                bytes += message.bytes().len() + 1;
                batch.push(message);
            }
            Err(error) => return (batch, Err(error)),
        }
    }
    (batch, Ok(()))
}

/// Print messages that wait, and leave them there.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc peek jobs
  multiproc peek jobs -n 10 --json | jq .deliveries

Exit code 1: there was no message.")]
pub(crate) struct Peek {
    /// The queue.
    pub(crate) name: String,
    /// How many messages to print at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1)]
    count: usize,
    /// End each message with NUL, not with a newline.
    #[arg(short = '0', long, conflicts_with = "json")]
    null: bool,
    /// Print each one as a line of JSON.
    #[arg(long)]
    json: bool,
}

impl Peek {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let seen = look(&self.name)?;
        readable(&self.name, &seen)?;
        let signals = Signals::watch()?;
        let mut output = Output::new(&signals)?;
        let mut exit = Exit::Nothing;
        for message in seen.waiting().take(self.count) {
            let message = message.with_context(|| unreadable(&self.name))?;
            if self.json {
                output.write(json::line(&Line::of(&message))?.as_bytes())?;
            } else {
                output.write(&message.bytes)?;
                output.write(&[terminator(self.null)])?;
            }
            exit = Exit::Done;
        }
        Ok(exit)
    }
}
