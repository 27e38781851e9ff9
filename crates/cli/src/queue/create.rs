//! `multiproc create`.

use super::number;
use crate::exit::Exit;
use crate::name::{Named, refused};
use crate::place;
use anyhow::bail;
use clap::Args;
use multiproc::{AttachError, CreateError, JoinableQueue, OpenError, Overview, Queue, QueueKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Make a queue.
///
/// It stays until it is removed or the machine starts again. With --joinable a message is out only when it is done: what a killed process had in hand is delivered again. Without it, a message
/// that was got is out.
#[derive(Args)]
#[command(after_help = "\
Examples:
  multiproc create jobs --joinable --max-deliveries 3    # three tries for each
  multiproc create events --maxsize 1000                 # puts wait while it is full
  multiproc create jobs --joinable --if-missing          # at the start of each script")]
pub(crate) struct Create {
    /// The name: 1 to 200 letters, digits, '.', '_' or '-'.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Succeed if there is such a queue already: one that has what the other options ask for.
    #[arg(long)]
    if_missing: bool,
}

/// What makes two queues alike.
#[derive(Args, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Shape {
    /// The most messages that can wait: 1 to 4194304 [default: as many as memory holds].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub(crate) maxsize: Option<u32>,
    /// Let the queue know what is done, and deliver again what was not.
    #[arg(long)]
    pub(crate) joinable: bool,
    /// Give a message up after so many deliveries: 1 to 32767 [default: never].
    #[arg(long, value_name = "N", requires = "joinable", value_parser = clap::value_parser!(u16).range(1..=32767))]
    pub(crate) max_deliveries: Option<u16>,
    /// The most memory that messages may take, such as 64M or 2G [default: as much as there is].
    #[arg(long, value_name = "SIZE", value_parser = number::size)]
    pub(crate) memory: Option<u64>,
    /// A message of this length can be put, and one a little longer, such as 1G [default: 256M, or a sixteenth of --memory].
    #[arg(long, value_name = "SIZE", value_parser = number::size)]
    pub(crate) max_message: Option<u64>,
    /// Refuse messages that are not UTF-8: Rust programs open it as a queue of String, not of bytes.
    #[arg(long)]
    pub(crate) text: bool,
}

/// How long a queue may be shut down before it is gone, and how often that is looked at.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(10);
/// Times that other processes may make and remove the queue meanwhile.
const TRIES: u32 = 100;

impl Create {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let Self { name, shape, if_missing } = &self;
        // First: a directory that is refused, and empty, is gone after the attempt.
        if let Some(flaw) = place::flaw(true) {
            bail!("can't make queue {name}: {}", flaw.sentence());
        }
        let begin = Instant::now();
        for _ in 0..TRIES {
            match shape.make(name) {
                Ok(()) => return Ok(Exit::Done),
                Err(OpenError::Create(CreateError::Exists(_))) if *if_missing => {}
                Err(OpenError::Create(CreateError::Exists(_))) => bail!(
                    "there is a queue named {name} already: remove it with \"multiproc rm {name}\", or say --if-missing to use it"
                ),
                Err(error) => return Err(refused(name, error)),
            }
            match Overview::open(name) {
                // A removal begins with a shutdown: it may be under way.
                Ok(seen) if seen.is_shut_down() && begin.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                Ok(seen) if seen.is_shut_down() => {
                    bail!("queue {name} was shut down, so nobody can put into it: remove it with \"multiproc rm {name}\"")
                }
                Ok(seen) => return shape.check(name, &seen).map(|()| Exit::Done),
                Err(OpenError::Attach(AttachError::NotFound(_))) => {}
                Err(error) => return Err(refused(name, error)),
            }
        }
        bail!("queue {name} is made and removed all the time by another process")
    }
}

impl Shape {
    /// That of a queue.
    pub(super) fn of(seen: &Overview) -> Self {
        Self {
            maxsize: seen.capacity().and_then(|most| u32::try_from(most).ok()),
            joinable: matches!(seen.kind(), QueueKind::JoinableQueue),
            max_deliveries: seen.max_deliveries(),
            memory: Some(seen.memory_limit()),
            max_message: Some(seen.max_message()),
            text: seen.message_type() == "String",
        }
    }

    /// Fails where a queue differs from what was asked for. What was not asked for may be anything.
    fn check(&self, name: &str, seen: &Overview) -> anyhow::Result<()> {
        // It has to be one that the command can use.
        Named::open(name)?;
        let found = Self::of(seen);
        let number = |option: &str, asked: Option<u64>, found: Option<u64>| {
            let differs = asked.is_some() && asked != found;
            differs.then(|| {
                (
                    asked.map_or_else(String::new, |asked| format!("{option} {asked}")),
                    match found {
                        Some(found) => format!("{option} {found}"),
                        None => format!("no {option}"),
                    },
                )
            })
        };
        let kind = |option: &str, asked: bool, found: bool, is: String| (asked && !found).then(|| (option.to_owned(), is));
        let differences = [
            kind("--joinable", self.joinable, found.joinable, format!("a {}, made without --joinable", seen.kind())),
            kind("--text", self.text, found.text, format!("messages of type {}, made without --text", seen.message_type())),
            number("--maxsize", self.maxsize.map(u64::from), found.maxsize.map(u64::from)),
            number("--max-deliveries", self.max_deliveries.map(u64::from), found.max_deliveries.map(u64::from)),
            number("--memory", self.memory, found.memory),
            number("--max-message", self.max_message, found.max_message),
        ];
        match differences.into_iter().flatten().next() {
            None => Ok(()),
            Some((asked, has)) => bail!(
                "there is a queue named {name} already, with {has}, and not {asked}: ask for the same, or remove it with \"multiproc rm {name}\""
            ),
        }
    }

    /// Makes the queue.
    pub(super) fn make(&self, name: &str) -> Result<(), OpenError> {
        if self.text { self.make_of::<String>(name) } else { self.make_of::<Vec<u8>>(name) }
    }

    fn make_of<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<(), OpenError> {
        macro_rules! begin {
            ($Kind:ident) => {{
                let mut builder = $Kind::<T>::builder().named(name);
                if let Some(most) = self.maxsize {
                    builder = builder.bounded(most);
                }
                if let Some(bytes) = self.memory {
                    builder = builder.memory(bytes);
                }
                if let Some(bytes) = self.max_message {
                    builder = builder.max_message(bytes);
                }
                builder
            }};
        }
        match self.joinable {
            true => begin!(JoinableQueue).max_deliveries(self.max_deliveries.unwrap_or(0)).build().map(drop),
            false => begin!(Queue).build().map(drop),
        }
    }
}
