//! `multiproc dead`: messages that were given up.

use super::export::Letters;
use super::json::{self, Ended, Line, abridged};
use super::list::table;
use crate::exit::{Exit, say};
use crate::name::{Named, look, unreadable};
use crate::record::Output;
use crate::signals::Signals;
use anyhow::{Context, anyhow, bail};
use clap::Args;
use multiproc::{DeadLetter, Glimpse, JoinableQueue, MessageId, PutError, wait};
use std::collections::BTreeSet;

/// List the messages that were given up, put them back to work, or drop them.
///
/// A message is given up when it was delivered --max-deliveries times and never done, and when no program could read it. An exit is that
/// of the command which "multiproc work" ran for the message; above 128 it stands for a signal.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc dead jobs
  multiproc dead jobs --json | jq -r 'select(.exit == 1).id' | xargs -r multiproc dead jobs --requeue
  multiproc dead jobs --requeue            # all, behind what waits, as if never delivered
  multiproc dead jobs --drop 17 23
  multiproc dead jobs --drop --all

Exit code 1: there was none, or none with one of the ids.")]
pub(crate) struct Dead {
    /// The queue, made with --joinable.
    pub(crate) name: String,
    /// Put dead messages back to work: those with these ids, or all.
    #[arg(long, value_name = "ID", num_args = 0.., conflicts_with = "drop")]
    requeue: Option<Vec<String>>,
    /// Throw dead messages away: those with these ids, or with --all all.
    #[arg(long, value_name = "ID", num_args = 0..)]
    drop: Option<Vec<String>>,
    /// With --drop: all dead messages.
    #[arg(long, requires = "drop")]
    all: bool,
    /// Print each one as a line of JSON.
    #[arg(long, conflicts_with_all = ["requeue", "drop"])]
    json: bool,
}

/// What is asked for.
pub(crate) enum Asked<'a> {
    List { json: bool },
    Requeue(&'a [String]),
    Drop(&'a [String]),
}

/// The columns of the list.
pub(crate) const LIST: [&str; 4] = ["ID", "DELIVERIES", "LAST END", "MESSAGE"];

impl Dead {
    /// What the options say. No id: all.
    pub(crate) fn asked(&self) -> anyhow::Result<Asked<'_>> {
        match (&self.requeue, &self.drop) {
            (Some(ids), _) => Ok(Asked::Requeue(ids)),
            (None, Some(ids)) => match (ids.is_empty(), self.all) {
                (true, false) => bail!("--drop throws messages away for good: name them by their ids, or say --drop --all"),
                (false, true) => bail!("--drop takes ids or --all, not both"),
                _ => Ok(Asked::Drop(ids)),
            },
            (None, None) => Ok(Asked::List { json: self.json }),
        }
    }

    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        match self.asked()? {
            Asked::List { json } => self.list(json),
            Asked::Requeue(ids) => self.change(ids, put_back),
            Asked::Drop(ids) => self.change(ids, |_, letter, _| {
                drop(letter);
                Ok(())
            }),
        }
    }

    fn list(&self, json: bool) -> anyhow::Result<Exit> {
        let seen = look(&self.name)?;
        let signals = Signals::watch()?;
        let mut output = Output::new(&signals)?;
        let (mut rows, mut exit) = (Vec::new(), Exit::Nothing);
        for message in seen.dead() {
            let message = message.with_context(|| unreadable(&self.name))?;
            exit = Exit::Done;
            if json {
                output.write(json::lines([Line::of(&message)])?.as_bytes())?;
            } else {
                rows.push(row(&message));
            }
        }
        if !rows.is_empty() {
            output.write(table(LIST, rows).as_bytes())?;
        }
        Ok(exit)
    }

    /// Does something with the dead messages of these ids, or with all.
    fn change(&self, ids: &[String], change: Change) -> anyhow::Result<Exit> {
        let mut left = ids.iter().map(|id| parse(id)).collect::<anyhow::Result<BTreeSet<MessageId>>>()?;
        let queue = Named::joinable(&self.name, "have dead messages")?;
        let signals = Signals::watch()?;
        let mut letters = Letters::default();
        let mut changed = 0u64;
        // What dies meanwhile may be put back, and die again, without end.
        for _ in 0..queue.dead_len() {
            signals.check()?;
            let Some(letter) = letters.next(&self.name, &queue)? else { break };
            if !ids.is_empty() && !left.remove(&letter.id()) {
                continue;
            }
            if let Some(letter) = letters.0.pop() {
                change(&queue, letter, &signals)?;
                changed += 1;
            }
        }
        for id in &left {
            say!("queue {} has no dead message {id}", self.name);
        }
        Ok(if changed == 0 || !left.is_empty() { Exit::Nothing } else { Exit::Done })
    }
}

type Change = fn(&JoinableQueue<Vec<u8>>, DeadLetter<Vec<u8>>, &Signals) -> anyhow::Result<()>;

pub(crate) fn parse(id: &str) -> anyhow::Result<MessageId> {
    id.parse().map_err(|_| anyhow!("{id:?} is no id of a message: \"multiproc dead NAME\" lists them"))
}

/// Waits while the queue is full.
fn put_back(queue: &JoinableQueue<Vec<u8>>, mut letter: DeadLetter<Vec<u8>>, signals: &Signals) -> anyhow::Result<()> {
    loop {
        match letter.try_put_back() {
            Ok(()) => return Ok(()),
            Err(PutError::Full(full)) => letter = full,
            Err(error) => {
                let why = format!("{error:#}");
                error.into_inner().leave();
                return Err(anyhow!("can't put a dead message back: {why}"));
            }
        }
        let waited = wait(&[&queue.room(), &signals.source()], None).map_err(anyhow::Error::from);
        if let Err(error) = waited.and_then(|_| Ok(signals.check()?)) {
            // A letter that is dropped would be gone.
            letter.leave();
            return Err(error);
        }
    }
}

fn row(message: &Glimpse) -> [String; 4] {
    let ended = message.ended.map_or_else(String::new, |how| Ended::from(how).in_words());
    [message.id.to_string(), message.deliveries.to_string(), ended, abridged(&message.bytes)]
}
