//! `multiproc doctor`: what this machine allows, what that means for queues and processes, and how to change it.

mod calls;
mod limits;
mod place;
#[cfg(feature = "nats")]
mod server;
mod surroundings;
mod trial;

use crate::exit::{Exit, written};
use crate::text::{Text, shown};
use clap::Args;
use ratatui::crossterm::style::{Color, Stylize};
use serde_json::json;
use std::fmt;
use std::io::{IsTerminal, Write};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Doctor {
    /// Look at this server, and the queue on it, in place of this machine.
    #[arg(value_name = "nats://HOST/QUEUE")]
    pub(crate) address: Option<String>,
    /// One JSON object a line: check, mark, found, means, change.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  multiproc doctor
  multiproc doctor nats://host/jobs
  multiproc doctor --json | jq -r 'select(.mark != \"ok\") | .check'

Exit code 1: something does not work here. A warning alone is 0.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    Ok,
    /// It works, but slower or with less room.
    Warn,
    /// Something does not work.
    Bad,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Bad => "bad",
        })
    }
}

/// What was found about one thing.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    mark: Mark,
    found: Text,
    /// What it means for multiproc.
    means: String,
    change: String,
}

impl Finding {
    fn new(
        check: &'static str,
        mark: Mark,
        found: impl AsRef<[u8]>,
        means: impl Into<String>,
        change: impl Into<String>,
    ) -> Self {
        // What is well needs no change.
        let change = if mark == Mark::Ok { String::new() } else { change.into() };
        // Names of directories are in it.
        Self { check, mark, found: Text::of(found), means: means.into(), change: shown(&change) }
    }
}

impl Doctor {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if let Some(word) = &self.address {
            anyhow::bail!("{word:?} is no address of a server, such as nats://host/jobs");
        }
        let checks: [fn() -> Vec<Finding>; 5] =
            [calls::findings, place::findings, limits::findings, surroundings::findings, trial::findings];
        self.tell(checks.into_iter().flat_map(|check| check()))
    }

    /// Tells what a look at a server came to.
    #[cfg(feature = "nats")]
    pub(crate) fn tell_of_server(
        &self,
        looked: Result<multiproc_nats::ServerReport, multiproc_nats::ConnectError>,
    ) -> anyhow::Result<Exit> {
        self.tell(server::findings(looked))
    }

    fn tell(&self, findings: impl IntoIterator<Item = Finding>) -> anyhow::Result<Exit> {
        let mut worst = Mark::Ok;
        let mut warnings = 0;
        for finding in findings {
            worst = worst.max(finding.mark);
            warnings += usize::from(finding.mark == Mark::Warn);
            if written(self.print(&finding))? == Exit::Closed {
                return Ok(Exit::Closed);
            }
        }
        if !self.json {
            let verdict = match (worst, warnings) {
                (Mark::Bad, _) => "Something does not work here: see \"bad\" above.".to_owned(),
                (_, 0) => "Everything works here.".to_owned(),
                (_, some) => format!("Everything works here, with {some} warnings."),
            };
            if written(writeln!(std::io::stdout(), "{verdict}"))? == Exit::Closed {
                return Ok(Exit::Closed);
            }
        }
        Ok(if worst == Mark::Bad { Exit::Nothing } else { Exit::Done })
    }

    fn print(&self, finding: &Finding) -> std::io::Result<()> {
        let Finding { check, mark, found, means, change } = finding;
        let mut out = std::io::stdout().lock();
        if self.json {
            let line =
                json!({"check": check, "mark": mark.to_string(), "found": found.as_str(), "means": means, "change": change});
            return writeln!(out, "{line}");
        }
        let mark = format!("{mark:<4}");
        if out.is_terminal() {
            let colour = match finding.mark {
                Mark::Ok => Color::Green,
                Mark::Warn => Color::Yellow,
                Mark::Bad => Color::Red,
            };
            write!(out, "{}  {}  ", mark.with(colour), format!("{check:<16}").bold())?;
        } else {
            write!(out, "{mark}  {check:<16}  ")?;
        }
        writeln!(out, "{found}\n      {means}")?;
        if !change.is_empty() {
            writeln!(out, "      change: {change}")?;
        }
        Ok(())
    }
}
