//! The commands for queues past one machine.

use super::supply::There;
use super::{Remote, beside, open, open_with};
use crate::exit::{Exit, Stop, say};
use crate::queue::Put;
use crate::queue::create::Shape;
use crate::queue::list::print;
use crate::queue::put::{NoRoom, Sink};
use crate::signals::Signals;
use crate::work::Work;
use anyhow::{anyhow, bail};
use multiproc_nats::{JoinError, PutError};
use serde::Serialize;
use std::time::Duration;

/// Makes a queue. One that is there is an error, unless it has what is asked for.
pub(super) fn create(address: &str, shape: &Shape) -> anyhow::Result<Exit> {
    if shape.memory.is_some() || shape.max_message.is_some() || shape.text {
        bail!("--memory, --max-message and --text are for queues of this machine: the server has limits of its own");
    }
    let mut builder = super::builder();
    if let Some(most) = shape.maxsize {
        builder = builder.bounded(most.into());
    }
    if let Some(most) = shape.max_deliveries {
        builder = builder.max_deliveries(most);
    }
    open_with(address, builder).map(|_| Exit::Done)
}

/// Waits until every message is done.
pub(super) fn join(address: &str, timeout: Option<Duration>) -> anyhow::Result<Exit> {
    let queue = open(address)?;
    let signals = Signals::watch()?;
    let joined = beside(&signals, move || match timeout {
        Some(timeout) => queue.join_timeout(timeout),
        None => queue.join(),
    })?;
    match joined {
        Ok(()) => Ok(Exit::Done),
        Err(JoinError::Timeout { unfinished }) => {
            say!("not everything in {address} is done: {unfinished} left");
            Ok(Exit::TimedOut)
        }
        Err(error) => Err(anyhow!("can't wait for {address}: {error:#}")),
    }
}

/// Says that no more messages come.
pub(super) fn shutdown(address: &str) -> anyhow::Result<Exit> {
    open(address)?.shutdown()?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Figures<'a> {
    name: &'a str,
    unfinished: usize,
    never_begun: usize,
    dead: usize,
    maxsize: Option<usize>,
    is_shut_down: bool,
}

/// Tells what is known of a queue.
pub(super) fn stat(address: &str, json: bool) -> anyhow::Result<Exit> {
    let queue = open(address)?;
    let (unfinished, never_begun, dead) = (queue.unfinished()?, queue.len()?, queue.dead_len()?);
    let figures =
        Figures { name: address, unfinished, never_begun, dead, maxsize: queue.capacity()?, is_shut_down: queue.is_shut_down()? };
    if json {
        return print(serde_json::to_string(&figures)? + "\n");
    }
    let bound = figures.maxsize.map_or_else(String::new, |most| format!(" of at most {most}"));
    let shut_down = if figures.is_shut_down { "yes" } else { "no" };
    print(format!(
        "unfinished   {unfinished}{bound}\nnever begun  {never_begun}\ndead         {dead}\nshut down    {shut_down}\n"
    ))
}

/// Runs a command for each message.
pub(super) fn work(address: &str, work: Work) -> anyhow::Result<Exit> {
    if work.options.dry_run {
        bail!("--dry-run is for queues of this machine: it would take messages out of others' hands");
    }
    work.check()?;
    let queue = open(address)?;
    let limit = queue.max_deliveries()?;
    let supply = There::new(queue, work.until_empty)?;
    work.work_on(supply, limit)
}

/// Puts messages.
pub(super) fn put(address: &str, put: &Put) -> anyhow::Result<Exit> {
    put.check()?;
    let queue = open(address)?;
    let signals = Signals::watch()?;
    let mut putter = Putter { address, queue, signals: &signals, timeout: put.timeout, batch: Vec::new(), put: 0, open: 0 };
    let result = put.put_all(&mut putter, &signals);
    putter.finish(result)
}

/// So many messages are on their way at once: one after the other, each would wait for the server.
const BATCH: usize = 1024;

/// Puts messages in batches, and knows how many there were.
struct Putter<'a> {
    address: &'a str,
    queue: Remote,
    signals: &'a Signals,
    timeout: Option<Duration>,
    batch: Vec<Vec<u8>>,
    put: usize,
    /// Messages that may have been put.
    open: usize,
}

impl Sink for Putter<'_> {
    fn put(&mut self, message: Vec<u8>) -> anyhow::Result<()> {
        self.signals.check()?;
        self.batch.push(message);
        if self.batch.len() < BATCH { Ok(()) } else { self.flush() }
    }
}

impl Putter<'_> {
    /// Puts what is kept. With a time-out one by one, since each has its own.
    fn flush(&mut self) -> anyhow::Result<()> {
        let (batch, queue, timeout) = (std::mem::take(&mut self.batch), self.queue.clone(), self.timeout);
        self.open = batch.len();
        let (put, refused) = beside(self.signals, move || match timeout {
            None => match queue.put_many(batch) {
                Ok(put) => (put, None),
                Err(mut error) => (error.put, error.failed.drain(..).next()),
            },
            Some(timeout) => {
                let mut put = 0;
                let refused = batch.into_iter().find_map(|message| {
                    let done = queue.put_timeout(message, timeout);
                    put += usize::from(done.is_ok());
                    done.err()
                });
                (put, refused)
            }
        })?;
        self.put += put;
        self.open = 0;
        match refused {
            None => Ok(()),
            Some(PutError::Timeout(_)) => Err(NoRoom.into()),
            Some(error) => Err(anyhow!("{error:#}")),
        }
    }

    /// Puts what is left, and says how many were put, unless all were.
    fn finish(mut self, result: anyhow::Result<()>) -> anyhow::Result<Exit> {
        // What was read before an error is put, as on this machine.
        let stopped = result.as_ref().is_err_and(|error| error.is::<Stop>() || error.is::<NoRoom>());
        let flushed = if stopped || self.batch.is_empty() { Ok(()) } else { self.flush() };
        let Self { address, put, open, .. } = self;
        let perhaps = if open > 0 { format!(", and up to {open} more may have been") } else { String::new() };
        match result.and(flushed) {
            Ok(()) => Ok(Exit::Done),
            Err(error) if error.is::<NoRoom>() => {
                say!("{error}: {put} put into {address}");
                Ok(Exit::TimedOut)
            }
            Err(error) if error.is::<Stop>() => {
                say!("{error:#}: {put} put into {address}{perhaps}");
                Err(error)
            }
            Err(error) => Err(error.context(format!("{put} put into {address}, then one was not"))),
        }
    }
}
