//! Messages of queues past one machine, taken out and looked at: `get` and `dead`.

use super::{beside, open};
use crate::exit::{Exit, say};
use crate::queue::dead::{Asked, LIST, parse};
use crate::queue::json::{Line, abridged, line};
use crate::queue::list::table;
use crate::queue::{Dead, Get};
use crate::record::Output;
use crate::signals::Signals;
use anyhow::{Context, anyhow};
use multiproc::MessageId;
use multiproc_nats::{DeadLetter, GetError};
use std::collections::BTreeSet;

/// Takes messages out and prints them. Each one is done when it is written.
pub(super) fn get(address: &str, get: &Get) -> anyhow::Result<Exit> {
    let queue = open(address)?;
    let signals = Signals::watch()?;
    let mut output = Output::new(&signals)?;
    let mut got = 0;
    while got < get.most() {
        output.wait()?;
        let (asked, timeout, follow) = (queue.clone(), get.timeout, get.follow);
        let delivery = beside(&signals, move || match timeout {
            Some(timeout) => asked.get_delivery_timeout(timeout),
            None if follow => asked.get_delivery(),
            None => asked.try_get_delivery(),
        })?;
        let delivery = match delivery {
            Ok(delivery) => delivery,
            Err(GetError::Empty | GetError::Timeout | GetError::ShutDown) => break,
            Err(error) => return Err(error).with_context(|| format!("can't get from {address}")),
        };
        let mut text = Vec::new();
        get.frame(&delivery, &mut text);
        if let Err(error) = output.write(&text) {
            delivery.give_back();
            return Err(error);
        }
        got += 1;
        beside(&signals, move || delivery.done())?.map_err(|error| anyhow!("{error:#}"))?;
    }
    Ok(if got > 0 { Exit::Done } else { Exit::Nothing })
}

/// Lists dead messages, puts them back or drops them.
pub(super) fn dead(address: &str, dead: &Dead) -> anyhow::Result<Exit> {
    match dead.asked()? {
        Asked::List { json } => list(address, json),
        Asked::Requeue(ids) => {
            change(address, ids, |letter| letter.put_back().map_err(|error| anyhow!("can't put a dead message back: {error:#}")))
        }
        Asked::Drop(ids) => change(address, ids, |letter| {
            letter.into_inner().map(drop).map_err(|error| anyhow!("can't drop a dead message: {error:#}"))
        }),
    }
}

fn list(address: &str, json: bool) -> anyhow::Result<Exit> {
    let queue = open(address)?;
    let signals = Signals::watch()?;
    let mut output = Output::new(&signals)?;
    let letters =
        beside(&signals, move || queue.dead_letters(queue.dead_len()?))?.with_context(|| format!("can't list {address}"))?;
    let mut rows = Vec::new();
    for letter in &letters {
        let bytes = letter.value.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        if json {
            output.write(line(&Line::dead(letter.id, letter.count, letter.unreadable, bytes))?.as_bytes())?;
        } else {
            let ended = if letter.unreadable { "could not be read" } else { "" };
            rows.push([letter.id.to_string(), letter.count.to_string(), ended.into(), abridged(bytes)]);
        }
    }
    if !rows.is_empty() {
        output.write(table(LIST, rows).as_bytes())?;
    }
    Ok(if letters.is_empty() { Exit::Nothing } else { Exit::Done })
}

type Letter = DeadLetter<Vec<u8>>;

/// Does something with the dead messages of these ids, or with all.
fn change(address: &str, ids: &[String], change: fn(Letter) -> anyhow::Result<()>) -> anyhow::Result<Exit> {
    let mut left = ids.iter().map(|id| parse(id)).collect::<anyhow::Result<BTreeSet<MessageId>>>()?;
    let queue = open(address)?;
    let signals = Signals::watch()?;
    let (mut others, mut changed) = (Vec::new(), 0u64);
    // What dies meanwhile may be put back, and die again, without end.
    for _ in 0..queue.dead_len()? {
        let letters = queue.clone();
        let letter = match beside(&signals, move || letters.try_get_dead())? {
            Ok(letter) => letter,
            Err(GetError::Empty) => break,
            Err(error) => return Err(error).with_context(|| format!("can't get a dead message of {address}")),
        };
        if !ids.is_empty() && !left.remove(&parse(&letter.id().to_string())?) {
            // In hand until the others were seen: it would be the next one again.
            others.push(letter);
            continue;
        }
        beside(&signals, move || change(letter))??;
        changed += 1;
    }
    others.into_iter().for_each(Letter::leave);
    for id in &left {
        say!("{address} has no dead message {id}");
    }
    Ok(if changed == 0 || !left.is_empty() { Exit::Nothing } else { Exit::Done })
}
