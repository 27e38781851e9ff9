//! `multiproc demo`: the tutorial's programs, one file each.
//!
//! They add three things to the plain programs in `crates/multiproc/examples`: the tutorial's own words, its pauses, and an end
//! with an error when a process fails.

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
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// The program to run. Without a name, all run in turn.
    name: Option<Scenario>,
    /// Length of one of the tutorial's seconds, in seconds: 0 to 60. Its programs sleep for 1 to 3 of its seconds at a time.
    #[arg(long, value_name = "S", default_value = "0.05", value_parser = pace::parse)]
    pace: Pace,
}

const EXAMPLES: &str = "\
Examples:
  multiproc demo                 all programs, in seconds
  multiproc demo buns --pace 1   one program, at the tutorial's own pace";

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// A message through a pipe to a child process.
    Pipe,
    /// A queue of three: full, then empty.
    Bounded,
    /// A producer that has ended before its consumer starts.
    Handoff,
    /// Five processes compute, and a queue brings the results back.
    Squares,
    /// One producer, ten consumers, and an end mark for each consumer.
    Buns,
    /// Daemon consumers say what is done, and the producer waits until everything is.
    Joinable,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.name {
            Some(name) => name.run(self.pace),
            None => self.run_all(),
        }
    }

    /// Runs each scenario in a process of its own, as if started by hand. So each one counts its processes from 1.
    fn run_all(self) -> anyhow::Result<()> {
        for scenario in Scenario::value_variants() {
            let value = scenario.to_possible_value().context("every scenario has a name")?;
            say!("== {}", value.get_name());
            let program = std::env::current_exe()?;
            let arguments = ["demo", value.get_name(), "--pace", &self.pace.to_string()];
            let status = std::process::Command::new(program).args(arguments).status()?;
            anyhow::ensure!(status.success(), "demo {} ended with {status}: its error is printed above", value.get_name());
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
            // The children would wait for messages that never come, and the main process for the children.
            for process in multiproc::active_children() {
                let _ = process.terminate();
            }
        }
        done
    }
}

/// `println!` that ignores errors. A reader may leave early, as `| head -2` does. The workers then end as usual, all work done.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
use say;

/// Waits for processes. An error names the first one that did not end well.
fn join_all<'a>(processes: impl IntoIterator<Item = &'a multiproc::Process>) -> anyhow::Result<()> {
    for process in processes {
        let exit = process.join()?;
        anyhow::ensure!(exit.success(), "{} ended with {exit}", process.name());
    }
    Ok(())
}
