#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod demo;

use clap::{Parser, Subcommand};

/// Message passing between processes, as in Python's multiprocessing.
#[derive(Parser)]
#[command(name = "multiproc", version, after_help = "Example: multiproc demo runs six small programs, each with real processes.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the programs of a tutorial on multiprocessing, each with real processes.
    Demo(demo::Demo),
}

fn main() -> anyhow::Result<()> {
    let _main = multiproc::init();
    match Cli::parse().command {
        Command::Demo(demo) => demo.run(),
    }
}
