//! `multiproc work`: runs a command for each message of a queue.
//!
//! A message is in the worker's hands from its first start until it is done, given back or put aside. So whatever kills the worker,
//! the message is delivered again, and the commands that it has started are ended first.

mod bar;
mod capture;
mod command;
mod drain;
pub(crate) mod exec;
mod guard;
mod halt;
pub(crate) mod item;
mod job;
pub(crate) mod joblog;
mod load;
pub(crate) mod options;
mod output;
mod quote;
mod retry;
mod settle;
mod slots;
mod spool;
mod start;
pub(crate) mod supply;

pub(crate) use command::Template;
pub(crate) use slots::{MessageSource, Plan, Worker};
pub(crate) use supply::Here;

use crate::exit::Exit;
use crate::name::{Named, look, unreadable};
use anyhow::{Context, bail};
use clap::Args;
use command::{Filling, Nul};
use joblog::JobLog;
use multiproc::Overview;
use options::Options;
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;
use supply::Supply;

/// Run a command for each message of a queue, as often as needed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG)]
pub(crate) struct Work {
    /// The queue. It must be a joinable one.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Put a message aside after so many failed deliveries: see "multiproc dead" [default: the queue's own limit]
    #[arg(long, visible_alias = "retries", value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    max_deliveries: Option<u16>,
    /// End once no message waits and nothing is in hand, by any worker. Without it, the worker waits for more until the queue is shut down.
    #[arg(long)]
    pub(crate) until_empty: bool,
    /// For "multiproc run" alone: a queue itself knows what is done.
    #[arg(long, hide = true)]
    resume: bool,
    /// For "multiproc run" alone: a queue itself knows what failed.
    #[arg(long, hide = true)]
    resume_failed: bool,
    /// The command and its arguments, with {} for the message. Without {}, the message is its standard input.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The examples of the short help, with which the long one begins.
macro_rules! examples {
    () => {
        "\
Examples:
  multiproc work jobs -j4 -- lame {} {.}.mp3
  multiproc work jobs --timeout 5m --max-deliveries 3 -- ./convert
  multiproc work jobs --until-empty -- sh -c 'gzip -- \"$1\" && echo \"$1\"' sh {}"
    };
}

const EXAMPLES: &str = examples!();

const LONG: &str = concat!(
    examples!(),
    "

Placeholders, as in GNU parallel, in any argument and more than once:
  {}  the message       {.}   without its extension   {/}  without folders
  {//} its folder       {/.}  without both            {#}  job number   {%}  slot

The command is run directly, not through a shell, so nothing needs quotes. Its environment has MULTIPROC_ID, MULTIPROC_DELIVERY
(1 for the first run of a message), MULTIPROC_SLOT, MULTIPROC_QUEUE and PARALLEL_SEQ.

A message is done when its command ends with exit code 0. Otherwise it runs again behind the messages that waited, after
--retry-delay, then twice that, and so on. After --max-deliveries it is a dead letter. A worker that is killed leaves its messages to
the others at once, and its commands are killed with it.

Signals:
  SIGTERM, SIGINT, SIGHUP   the first: no new jobs; running ones finish. The second ends them and gives their messages back
  SIGUSR1                   ends running jobs, gives everything back, and goes on

Exit codes:
  0        everything is done
  1        messages failed in their last run here; 101: more than 100 did
  2        the arguments make no sense, or an error, which standard error tells
  129, 130, 143  ended by SIGHUP, SIGINT, SIGTERM; 141: the reader of standard output left
  With --halt now,fail=1 or soon,fail=1: the exit code of the job that failed."
);

impl Work {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        self.check()?;
        let queue = Named::joinable(&self.name, "be worked on")?;
        let overview = look(&self.name)?;
        if self.options.dry_run {
            return print_all(&self.name, &self.template(), &overview);
        }
        let limit = overview.max_deliveries();
        self.work_on(Here::shared(&queue, overview), limit)
    }

    /// Fails for options that are for `run`.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.resume || self.resume_failed {
            bail!(
                "--resume and --resume-failed are for \"multiproc run\": a queue itself remembers what is left; \
                 \"multiproc dead {} --requeue\" runs again what failed for good",
                self.name
            );
        }
        Ok(())
    }

    fn template(&self) -> Template {
        Template::new(&self.command, self.options.replacement.as_deref())
    }

    /// Works until it is over. `limit`: the queue's own number of deliveries.
    pub(crate) fn work_on(self, supply: impl Supply, limit: Option<u16>) -> anyhow::Result<Exit> {
        let template = self.template();
        let joblog = self.options.joblog.as_deref().map(|path| JobLog::open(path, false)).transpose()?;
        let plan = Plan {
            has_input: !template.takes_arguments(),
            template,
            source: MessageSource::Named(self.name.into()),
            options: self.options,
            joblog,
            // The queue puts a message aside at its own limit, whatever the worker says.
            limit: self.max_deliveries.into_iter().chain(limit).min(),
            until_empty: self.until_empty,
            total: None,
        };
        Worker::new(supply, plan)?.work()
    }
}

/// Prints the commands for the messages that wait, and takes none.
fn print_all(name: &str, template: &Template, overview: &Overview) -> anyhow::Result<Exit> {
    let mut commands = Commands::new(template);
    for message in overview.waiting() {
        let message = message.with_context(|| unreadable(name))?;
        if commands.print(&[&message.bytes]).context("can't write to standard output")?.is_break() {
            return Ok(Exit::Closed);
        }
    }
    Ok(Exit::Done)
}

/// The commands of a dry run.
pub(crate) struct Commands<'t> {
    template: &'t Template,
    number: u64,
}

impl<'t> Commands<'t> {
    pub(crate) fn new(template: &'t Template) -> Self {
        Self { template, number: 0 }
    }

    /// Prints the command of the next job. It breaks off where the reader of standard output has left.
    pub(crate) fn print(&mut self, arguments: &[&[u8]]) -> io::Result<ControlFlow<()>> {
        self.number += 1;
        let command = self.template.fill(Filling { arguments, number: self.number, slot: 1 });
        let mut line = match command {
            Ok(command) => quote::command(&command),
            Err(Nul) => b"# a NUL byte, which no argument can hold".to_vec(),
        };
        line.push(b'\n');
        match io::stdout().write_all(&line) {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(error),
        }
    }
}
