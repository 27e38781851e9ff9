//! `multiproc ls` and `multiproc stat`: what there is, and what goes on.

use super::json;
use crate::exit::Exit;
use crate::name::look;
use crate::place;
use crate::record::Output;
use crate::signals::Signals;
use crate::text::{shown, size};
use anyhow::{Context, bail};
use clap::Args;
use multiproc::{Overview, QueueKind, queue_names};
use serde::Serialize;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// List this user's queues.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc ls
  multiproc ls --json | jq -r 'select(.dead > 0).name'")]
pub(crate) struct Ls {
    /// Print each one as a line of JSON.
    #[arg(long)]
    json: bool,
    /// Print the names alone, a line each.
    #[arg(long, conflicts_with = "json")]
    names: bool,
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What {
    Queue { kind: String, waiting: usize, in_hand: Option<usize>, dead: Option<usize>, memory: u64 },
    Error { error: String },
}

impl What {
    fn of(name: &str) -> Self {
        match look(name) {
            Err(error) => Self::Error { error: format!("{error:#}") },
            Ok(seen) => Self::Queue {
                kind: seen.kind().to_string(),
                waiting: seen.len(),
                in_hand: is_joinable(&seen).then(|| seen.unfinished().saturating_sub(seen.len())),
                dead: is_joinable(&seen).then(|| seen.dead_len()),
                memory: seen.memory(),
            },
        }
    }
}

fn is_joinable(seen: &Overview) -> bool {
    matches!(seen.kind(), QueueKind::JoinableQueue)
}

impl Ls {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if let Some(flaw) = place::flaw(false) {
            bail!(flaw.sentence());
        }
        let names = queue_names().context("can't list the queues")?;
        if self.names {
            return print(names.iter().map(|name| format!("{name}\n")).collect());
        }
        let listed: Vec<_> = names.iter().map(|name| Listed { name, what: What::of(name) }).collect();
        print(if self.json { json::lines(&listed)? } else { rows(&listed) })
    }
}

pub(crate) fn print(text: String) -> anyhow::Result<Exit> {
    let signals = Signals::watch()?;
    Output::new(&signals)?.write(text.as_bytes())?;
    Ok(Exit::Done)
}

fn rows(listed: &[Listed<'_>]) -> String {
    let count = |count: &Option<usize>| count.map_or_else(|| "-".into(), |count| count.to_string());
    let rows = listed.iter().filter_map(|Listed { name, what }| match what {
        What::Error { .. } => None,
        What::Queue { kind, waiting, in_hand, dead, memory } => {
            Some([(*name).to_owned(), kind.clone(), waiting.to_string(), count(in_hand), count(dead), size(*memory)])
        }
    });
    let mut text = table(["NAME", "KIND", "WAITING", "IN HAND", "DEAD", "MEMORY"], rows.collect());
    for Listed { name, what } in listed {
        if let What::Error { error } = what {
            let _ = writeln!(text, "{name}: {}", shown(error));
        }
    }
    text
}

/// Rows in columns. Without a row: nothing.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let _ = write!(line, "{cell:<width$}  ", width = width(column));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Tell everything about a queue.
///
/// That is what waits, what is in hand of which process and for how long, rates, and memory. It works for queues of any program and any type of message.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc stat jobs
  multiproc stat jobs --json | jq '.in_hand[] | select(.held_seconds > 60).pid'")]
pub(crate) struct Stat {
    /// The queue.
    pub(crate) name: String,
    /// Print it as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct Figures<'a> {
    name: &'a str,
    kind: String,
    #[serde(skip)]
    is_joinable: bool,
    message_type: String,
    waiting: usize,
    maxsize: Option<usize>,
    in_hand: Vec<InHand>,
    dead: usize,
    max_deliveries: Option<u16>,
    lost: u64,
    is_shut_down: bool,
    puts: u64,
    gets: u64,
    puts_per_second: f64,
    gets_per_second: f64,
    memory: u64,
    memory_limit: u64,
    participants: Vec<Participant>,
}

#[derive(Serialize)]
struct InHand {
    id: String,
    pid: u32,
    is_alive: bool,
    deliveries: u16,
    held_seconds: f64,
}

#[derive(Serialize)]
struct Participant {
    pid: u32,
    is_alive: bool,
}

/// How long the rates are measured for.
const MOMENT: Duration = Duration::from_millis(250);

impl Stat {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let seen = look(&self.name)?;
        let figures = Figures::of(&self.name, &seen);
        print(if self.json { json::lines([&figures])? } else { figures.in_words() })
    }
}

impl<'a> Figures<'a> {
    fn of(name: &'a str, seen: &Overview) -> Self {
        let (begin, puts, gets) = (Instant::now(), seen.puts(), seen.gets());
        std::thread::sleep(MOMENT);
        let (took, puts_then, gets_then) = (begin.elapsed().as_secs_f64(), puts, gets);
        let (puts, gets) = (seen.puts(), seen.gets());
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / took * 10.0).round() / 10.0;
        let in_hand = seen.holders().into_iter().map(|holder| InHand {
            id: holder.id.to_string(),
            pid: holder.pid,
            is_alive: holder.is_alive,
            deliveries: holder.deliveries,
            held_seconds: holder.held_for.as_secs_f64(),
        });
        let others = seen.participants().into_iter().filter(|participant| participant.pid != std::process::id());
        Self {
            name,
            kind: seen.kind().to_string(),
            is_joinable: is_joinable(seen),
            message_type: seen.message_type(),
            waiting: seen.len(),
            maxsize: seen.capacity(),
            in_hand: in_hand.collect(),
            dead: seen.dead_len(),
            max_deliveries: seen.max_deliveries(),
            lost: seen.lost(),
            is_shut_down: seen.is_shut_down(),
            puts,
            gets,
            puts_per_second: rate(puts, puts_then),
            gets_per_second: rate(gets, gets_then),
            memory: seen.memory(),
            memory_limit: seen.memory_limit(),
            participants: others.map(|other| Participant { pid: other.pid, is_alive: other.is_alive }).collect(),
        }
    }

    fn dead_in_words(&self) -> String {
        match self.max_deliveries {
            None => self.dead.to_string(),
            Some(1) => format!("{}, after one delivery", self.dead),
            Some(most) => format!("{}, after {most} deliveries", self.dead),
        }
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        let waiting = self.waiting.to_string();
        let mut lines = vec![("waiting", self.maxsize.map_or(waiting.clone(), |most| format!("{waiting} of at most {most}")))];
        if self.is_joinable {
            lines.extend([("in hand", self.in_hand.len().to_string()), ("dead", self.dead_in_words())]);
        } else {
            lines.push(("lost", self.lost.to_string()));
        }
        let pids: Vec<_> = self.participants.iter().map(|other| process(other.pid, other.is_alive)).collect();
        lines.extend([
            ("put", format!("{}, {} a second", self.puts, self.puts_per_second)),
            ("got", format!("{}, {} a second", self.gets, self.gets_per_second)),
            ("memory", format!("{} of at most {}", size(self.memory), size(self.memory_limit))),
            ("participants", if pids.is_empty() { "none".into() } else { pids.join(", ") }),
        ]);
        lines
    }

    fn in_words(&self) -> String {
        let end = if self.is_shut_down { ", shut down" } else { "" };
        let mut text = format!("{}: a {} of {}{end}\n\n", self.name, self.kind, shown(&self.message_type));
        for (what, value) in self.lines() {
            let _ = writeln!(text, "{what:<13} {value}");
        }
        let row = |held: &InHand| {
            let seconds = format!("{:.1} s", held.held_seconds);
            [held.id.clone(), process(held.pid, held.is_alive), seconds, held.deliveries.to_string()]
        };
        if !self.in_hand.is_empty() {
            text.push('\n');
            text.push_str(&table(["ID", "IN HAND OF", "FOR", "DELIVERY"], self.in_hand.iter().map(row).collect()));
        }
        text
    }
}

fn process(pid: u32, is_alive: bool) -> String {
    format!("{pid}{}", if is_alive { "" } else { " (dead)" })
}
