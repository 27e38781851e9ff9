#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bench;
mod complete;
mod demo;
mod doctor;
mod exit;
mod name;
mod place;
mod proc;
mod queue;
mod record;
#[cfg(feature = "nats")]
mod remote;
mod run;
mod shell;
mod signals;
mod text;
mod top;
mod work;

use clap::error::{ContextKind, ErrorKind};
use clap::{Parser, Subcommand};
use exit::{Exit, Stop, say, written};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

/// Work queues in shared memory, for the shell.
///
/// Nothing has to run for them, and any process may be killed at any time.
#[derive(Parser)]
#[command(name = "multiproc", version, after_help = EXAMPLES, after_long_help = LONG)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The text between the two markers, for the short and the long help.
macro_rules! examples {
    () => {
        "\
Examples:
  multiproc create jobs --joinable --max-deliveries 3
  find . -name '*.wav' -print0 | multiproc put jobs --null
  multiproc work jobs -j4 -- lame {} {.}.mp3     # in as many terminals as you like
  multiproc top
  multiproc export jobs > jobs.jsonl     # before a reboot
  multiproc import jobs < jobs.jsonl     # after it"
    };
}

const EXAMPLES: &str = examples!();

const LONG: &str = concat!(
    examples!(),
    "

Exit codes:
  0    everything that was asked for is done
  1    there was nothing to get or to change; of work and run: messages failed
  2    the arguments make no sense, or an error, which standard error tells
  101  of work and run: more than 100 failed
  124  a wait ended at its --timeout
  129  ended by SIGHUP; 130: by SIGINT (Ctrl-C); 143: by SIGTERM
  141  the reader of standard output left

Queues are files in /dev/shm/multiproc-UID, or in multiproc-UID in the directory that MULTIPROC_DIR
names. They are in memory: they outlive every process, and end with a reboot."
);

#[derive(Subcommand)]
enum Command {
    Create(queue::Create),
    Rm(queue::Rm),
    Ls(queue::Ls),
    Stat(queue::Stat),
    Put(queue::Put),
    Get(queue::Get),
    Peek(queue::Peek),
    /// Run a command for each message of a queue.
    Work(work::Work),
    /// Run a command for each argument or line, without a queue of its own.
    Run(run::Run),
    Dead(queue::Dead),
    Clear(queue::Clear),
    Join(queue::Join),
    Shutdown(queue::Shutdown),
    Export(queue::Export),
    Import(queue::Import),
    /// Watch every queue: what waits, what is in hand by whom, how fast it goes.
    Top(top::Top),
    /// Tell what this machine allows, what that means, and how to change it.
    Doctor(doctor::Doctor),
    /// Measure queues, pipes and processes on this machine, in some ten seconds.
    Bench(bench::Bench),
    Completions(shell::Completions),
    Man(shell::Man),
    /// Run the programs of a tutorial on multiprocessing, each with real processes.
    Demo(demo::Demo),
}

impl Command {
    /// The address among the names of queues, if there is one: that queue is not on this machine.
    fn address(&self) -> Option<&str> {
        let names = match self {
            Self::Rm(rm) => rm.names.as_slice(),
            Self::Create(queue::Create { name, .. })
            | Self::Stat(queue::Stat { name, .. })
            | Self::Put(queue::Put { name, .. })
            | Self::Get(queue::Get { name, .. })
            | Self::Peek(queue::Peek { name, .. })
            | Self::Dead(queue::Dead { name, .. })
            | Self::Clear(queue::Clear { name })
            | Self::Join(queue::Join { name, .. })
            | Self::Shutdown(queue::Shutdown { name })
            | Self::Export(queue::Export { name, .. })
            | Self::Import(queue::Import { name, .. })
            | Self::Work(work::Work { name, .. }) => std::slice::from_ref(name),
            Self::Doctor(doctor::Doctor { address: Some(address), .. }) => std::slice::from_ref(address),
            _ => &[],
        };
        names.iter().map(String::as_str).find(|name| name.contains("://"))
    }

    #[cfg(feature = "nats")]
    fn run_remote(self, address: &str) -> anyhow::Result<Exit> {
        remote::run(self, address)
    }

    #[cfg(not(feature = "nats"))]
    fn run_remote(self, _: &str) -> anyhow::Result<Exit> {
        anyhow::bail!("an address is past this machine, and this multiproc was built without that: build it with --features nats")
    }

    fn run(self) -> anyhow::Result<Exit> {
        if let Some(address) = self.address().map(str::to_owned) {
            return self.run_remote(&address);
        }
        match self {
            Self::Create(command) => command.run(),
            Self::Rm(command) => command.run(),
            Self::Ls(command) => command.run(),
            Self::Stat(command) => command.run(),
            Self::Put(command) => command.run(),
            Self::Get(command) => command.run(),
            Self::Peek(command) => command.run(),
            Self::Dead(command) => command.run(),
            Self::Clear(command) => command.run(),
            Self::Join(command) => command.run(),
            Self::Shutdown(command) => command.run(),
            Self::Export(command) => command.run(),
            Self::Import(command) => command.run(),
            Self::Completions(command) => command.run(),
            Self::Man(command) => command.run(),
            Self::Work(command) => command.run(),
            Self::Run(command) => command.run(),
            Self::Top(command) => command.run(),
            Self::Doctor(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Demo(demo) => demo.run().map(|()| Exit::Done),
        }
    }
}

/// Tells what is wrong with the arguments, or prints help, and ends. What the user wrote is in it: a terminal must not obey that.
fn refuse(mut error: clap::Error) -> ! {
    if !error.use_stderr() {
        // Help, or the version.
        let exit = written(error.print()).unwrap_or_else(|error| {
            say!("{error:#}");
            Exit::Usage
        });
        std::process::exit(exit.code().into());
    }
    if error.kind() == ErrorKind::UnknownArgument {
        // "Use -- before it" would make the option the command.
        error.remove(ContextKind::Suggested);
    }
    let told = error.render().to_string();
    if !told.lines().all(|line| line.chars().all(text::is_plain)) {
        // Where nobody hears it, the code tells.
        told.lines().for_each(|line| drop(writeln!(std::io::stderr(), "{}", text::shown(line))));
        std::process::exit(Exit::Usage.code().into());
    }
    error.exit()
}

/// What to do about a limit that the system says no more of than its name.
fn advice(error: &anyhow::Error) -> &'static str {
    let refusal = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).and_then(std::io::Error::raw_os_error);
    match refusal.map(rustix::io::Errno::from_raw_os_error) {
        // The text of the libraries says it already.
        _ if error.to_string().contains("ulimit") || format!("{error:#}").contains("ulimit") => "",
        Some(rustix::io::Errno::MFILE) => ": raise the limit of open files (ulimit -n)",
        Some(rustix::io::Errno::AGAIN) if error.to_string().contains("start") => {
            ": raise the limit of processes (ulimit -u), or the container's"
        }
        _ => "",
    }
}

fn main() -> ExitCode {
    if let Some(code) = work::exec::behind_a_job(std::env::args_os()) {
        return code;
    }
    let _main = multiproc::init();
    // A file that may not be larger (ulimit -f) is an error that can be told, and no end. Commands that are run are not affected.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let exit = Cli::try_parse().unwrap_or_else(|error| refuse(error)).command.run().unwrap_or_else(|error| {
        match error.downcast_ref::<Stop>() {
            Some(stop) => (*stop).into(),
            None => {
                say!("{error:#}{}", advice(&error));
                Exit::Usage
            }
        }
    });
    exit.into()
}
