//! `multiproc create`.

use super::number;
use crate::exit::Exit;
use crate::name::refused;
use anyhow::bail;
use clap::Args;
use multiproc::{AttachError, Builder, CreateError, Flaw, JoinableQueue, OpenError, Queue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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
    name: String,
    #[command(flatten)]
    shape: Shape,
    /// Succeed if there is such a queue already.
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
    /// The longest message that can be put, such as 1G [default: 256M, or a sixteenth of --memory].
    #[arg(long, value_name = "SIZE", value_parser = number::size)]
    pub(crate) max_message: Option<u64>,
    /// Refuse messages that are not UTF-8: Rust programs open it as a queue of String, not of bytes.
    #[arg(long)]
    pub(crate) text: bool,
}

impl Create {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let made = self.shape.make(&self.name, self.if_missing);
        let name = &self.name;
        let has = match made {
            Ok(()) => return Ok(Exit::Done),
            Err(OpenError::Create(CreateError::Exists(_))) => {
                bail!(
                    "there is a queue named {name} already: remove it with \"multiproc rm {name}\", or say --if-missing to use it"
                )
            }
            Err(OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { found, .. }, .. })) => format!("it is a {found}"),
            Err(OpenError::Capacity { found: Some(most), .. }) => format!("it has --maxsize {most}"),
            Err(OpenError::Capacity { found: None, .. }) => "it has no --maxsize".into(),
            Err(error) => return Err(refused(name, error)),
        };
        bail!("there is a queue named {name} already, but {has}: ask for the same, or remove it with \"multiproc rm {name}\"")
    }
}

impl Shape {
    /// Makes the queue. `or_open`: one of this shape may be there.
    pub(crate) fn make(&self, name: &str, or_open: bool) -> Result<(), OpenError> {
        if self.text { self.make_of::<String>(name, or_open) } else { self.make_of::<Vec<u8>>(name, or_open) }
    }

    fn make_of<T: Serialize + DeserializeOwned>(&self, name: &str, or_open: bool) -> Result<(), OpenError> {
        fn build<Q>(builder: Builder<Q>, or_open: bool) -> Result<(), OpenError> {
            if or_open { builder.open_or_create().map(drop) } else { builder.build().map(drop) }
        }
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
            true => build(begin!(JoinableQueue).max_deliveries(self.max_deliveries.unwrap_or(0)), or_open),
            false => build(begin!(Queue), or_open),
        }
    }
}
