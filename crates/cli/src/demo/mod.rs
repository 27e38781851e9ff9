//! `multiproc demo`: the tutorial's programs, one file each. Read them as first examples.

mod bounded;
mod buns;
mod handoff;
mod joinable;
mod pace;
mod pipe;
mod squares;

use anyhow::Context;
use clap::{Args, ValueEnum};
use pace::Pace;

#[derive(Args)]
pub(crate) struct Demo {
    /// Which one; all in turn if it is left out.
    name: Option<Scenario>,
    /// Seconds that stand for one of the tutorial's: its programs sleep for 1 to 3 of them at a time.
    #[arg(long, value_name = "S", default_value = "0.05", value_parser = pace::parse)]
    pace: Pace,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// A message through a pipe to a child process.
    Pipe,
    /// A queue of three: full, then empty.
    Bounded,
    /// A producer that has ended before its consumer starts.
    Handoff,
    /// Five processes compute, a queue brings the results back.
    Squares,
    /// One producer, ten consumers, one end mark for each.
    Buns,
    /// Daemon consumers that say what is done, and a producer that waits for it.
    Joinable,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.name {
            Some(name) => name.run(self.pace),
            None => self.run_all(),
        }
    }

    /// Each in a process tree of its own, as if it had been started by hand: so each counts its processes from 1.
    fn run_all(self) -> anyhow::Result<()> {
        for scenario in Scenario::value_variants() {
            let value = scenario.to_possible_value().context("every scenario has a name")?;
            say!("== {}", value.get_name());
            let program = std::env::current_exe()?;
            let arguments = ["demo", value.get_name(), "--pace", &self.pace.to_string()];
            let status = std::process::Command::new(program).args(arguments).status()?;
            anyhow::ensure!(status.success(), "demo {} ended with {status}", value.get_name());
        }
        Ok(())
    }
}

impl Scenario {
    fn run(self, pace: Pace) -> anyhow::Result<()> {
        let done = match self {
            Self::Pipe => pipe::main(),
            Self::Bounded => bounded::main(),
            Self::Handoff => handoff::main(pace),
            Self::Squares => squares::main(pace),
            Self::Buns => buns::main(pace),
            Self::Joinable => joinable::main(pace),
        };
        if done.is_err() {
            // They would wait for what never comes, and the main process for them.
            for process in multiproc::active_children() {
                let _ = process.terminate();
            }
        }
        done
    }
}

/// `println!`, but for readers that may leave early, as `| head -2` does: workers go on all the same, and everything ends as usual.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
use say;

/// Waits for processes, and for each to have ended well.
fn join_all<'a>(processes: impl IntoIterator<Item = &'a multiproc::Process>) -> anyhow::Result<()> {
    for process in processes {
        let exit = process.join()?;
        anyhow::ensure!(exit.success(), "{} ended with {exit}", process.name());
    }
    Ok(())
}
