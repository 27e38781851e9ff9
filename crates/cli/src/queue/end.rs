//! The ends of queues and of what is in them: `rm`, `clear`, `join`, `shutdown`.

use super::number;
use crate::exit::{Exit, say};
use crate::name::{Named, look, wrong_name};
use crate::place;
use crate::signals::Signals;
use anyhow::{Context, bail};
use clap::Args;
use multiproc::{AttachError, GetError, Overview, RemoveError, remove_queue, wait};
use std::io::ErrorKind;
use std::time::Duration;

/// Remove queues, with everything in them.
///
/// They are shut down first: a worker does what is left in its queue, and ends, and nobody puts any more.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc rm jobs
  multiproc rm -f jobs events     # in a script that begins afresh")]
pub(crate) struct Rm {
    /// The queues.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Succeed for queues that are not there.
    #[arg(short, long)]
    force: bool,
}

impl Rm {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        if let Some(flaw) = place::flaw(false) {
            bail!(flaw.sentence());
        }
        let mut exit = Exit::Done;
        for name in &self.names {
            // A worker that has it open would wait for ever for messages that nobody can put. What is no queue goes without that.
            if let Ok(seen) = Overview::open(name) {
                seen.shutdown();
            }
            match remove_queue(name) {
                Ok(()) => {}
                Err(RemoveError::NotFound(_)) if self.force => {}
                Err(RemoveError::NotFound(name)) => {
                    say!("there is no queue named {name}: \"multiproc ls\" lists the queues");
                    exit = Exit::Usage;
                }
                Err(RemoveError::Refused(AttachError::Name(_))) => {
                    say!("{}", wrong_name(name));
                    exit = Exit::Usage;
                }
                Err(RemoveError::Refused(AttachError::System { source, .. })) if source.kind() == ErrorKind::IsADirectory => {
                    say!("{} is a directory, and no queue: remove it with rm -r", place::own().join(name).display());
                    exit = Exit::Usage;
                }
                // The others go all the same.
                Err(error) => {
                    say!("can't remove queue {name}: {error:#}");
                    exit = Exit::Usage;
                }
            }
        }
        Ok(exit)
    }
}

/// Throw away all messages that wait.
///
/// Messages in the hands of other processes stay there, and dead messages stay dead.
#[derive(Args)]
#[command(after_help = "\
Example:
  multiproc clear jobs")]
pub(crate) struct Clear {
    /// The queue.
    pub(crate) name: String,
}

impl Clear {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let queue = Named::open(&self.name)?;
        let signals = Signals::watch()?;
        // What is there now: producers may be so fast that it never ends.
        for _ in 0..queue.len() {
            signals.check()?;
            match queue.try_get() {
                Ok(message) => message.done(),
                Err(GetError::Empty | GetError::ShutDown) => break,
                // It is out of the waiting messages, too.
                Err(GetError::Decode(_) | GetError::Form { .. }) => {}
                Err(error) => return Err(error).with_context(|| format!("can't clear queue {}", self.name)),
            }
        }
        Ok(Exit::Done)
    }
}

/// Wait until every message is done, or given up.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc join jobs && echo all done
  multiproc join jobs --timeout 60 || multiproc stat jobs")]
pub(crate) struct Join {
    /// The queue, made with --joinable.
    pub(crate) name: String,
    /// Give up after this time, with exit code 124.
    #[arg(long, value_name = "TIME", value_parser = number::time)]
    pub(crate) timeout: Option<Duration>,
}

impl Join {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let queue = Named::joinable(&self.name, "be waited for")?;
        let signals = Signals::watch()?;
        let done = queue.all_done();
        let ready = wait(&[&done, &signals.source()], self.timeout)?;
        if ready.first() == Some(&0) {
            return Ok(Exit::Done);
        }
        signals.check()?;
        say!("not everything in queue {} is done: {} left", self.name, queue.unfinished());
        Ok(Exit::TimedOut)
    }
}

/// Say that no more messages come.
///
/// Puts are refused from now on. What is there can still be got. Workers end when everything is done.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc shutdown jobs      # workers finish what is there, then end
  multiproc rm jobs            # then the name is free for a new queue")]
pub(crate) struct Shutdown {
    /// The queue.
    pub(crate) name: String,
}

impl Shutdown {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        look(&self.name)?.shutdown();
        Ok(Exit::Done)
    }
}
