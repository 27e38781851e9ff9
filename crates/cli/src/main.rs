#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod demo;
mod exit;
mod name;
mod run;
mod work;

use clap::{Parser, Subcommand};
use exit::{Exit, say};
use std::process::ExitCode;

/// Message passing between processes, as in Python's multiprocessing.
#[derive(Parser)]
#[command(name = "multiproc", version, after_help = "Example: multiproc demo runs six small programs, each with real processes.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command for each message of a queue.
    Work(work::Work),
    /// Run a command for each argument or line, without a queue of its own.
    Run(run::Run),
    /// Run the programs of a tutorial on multiprocessing, each with real processes.
    Demo(demo::Demo),
}

fn main() -> ExitCode {
    if let Some(code) = work::exec::behind_a_job(std::env::args_os()) {
        return code;
    }
    let _main = multiproc::init();
    let done = match Cli::parse().command {
        Command::Work(work) => work.run(),
        Command::Run(run) => run.run(),
        Command::Demo(demo) => demo.run().map(|()| Exit::Done),
    };
    let exit = done.unwrap_or_else(|error| {
        say!("{error:#}");
        Exit::Usage
    });
    exit.into()
}
