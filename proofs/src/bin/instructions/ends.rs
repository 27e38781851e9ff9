//! Senders on their way out: a queue ends when the last one is gone, and not before, whichever instruction the victim came to.

use crate::{LOOK, ignore, text};
use multiproc::Queue;
use multiproc::pipe::Receiver as PipeReceiver;
use multiproc::queue::{Receiver, RecvError, Sender};
use multiproc_proofs::victim::{PLACES, Victim};
use std::cell::Cell;
use std::time::Duration;

fn sides() -> Result<(Sender<u64>, Receiver<u64>), String> {
    Queue::builder().bounded(8).participants(PLACES).memory(1 << 16).max_message(40).build().and_then(Queue::split).map_err(text)
}

/// The values that are left are these, and the end has not come.
fn goes_on(receiver: &Receiver<u64>, expected: &[u64]) -> Result<(), String> {
    let got: Vec<u64> = receiver.try_iter().filter(|value| !expected.contains(value)).collect();
    match receiver.recv_timeout(LOOK) {
        Err(RecvError::Timeout) if got.is_empty() => Ok(()),
        other => Err(format!("{got:?}, then {other:?} came before the end")),
    }
}

fn ends(receiver: &Receiver<u64>) -> Result<(), String> {
    match receiver.recv_timeout(10 * LOOK) {
        Err(RecvError::Disconnected) => Ok(()),
        other => Err(format!("{other:?} came in place of the end")),
    }
}

/// The victim drops its only sender. This process has the last one.
pub(crate) fn dropping(victim: &mut Victim) -> Result<(), String> {
    let (sender, receiver) = sides()?;
    let theirs = Cell::new(Some(sender.clone()));
    let using = || ignore(sender.send(1));
    victim.kill(using, || drop(theirs.take()));
    goes_on(&receiver, &[1])?;
    drop((sender, theirs));
    ends(&receiver)
}

/// The victim drops the last sender of all: it came through a pipe, so this process has none.
pub(crate) fn dropping_the_last(victim: &mut Victim) -> Result<(), String> {
    let (sender, receiver) = sides()?;
    let (way_in, way_out) = multiproc::pipe_oneway::<Sender<u64>>().map_err(text)?;
    way_out.send(&sender).map_err(text)?;
    drop(sender);
    goes_on(&receiver, &[])?;
    let theirs = Cell::new(None);
    victim.kill(|| theirs.set(way_in.recv().ok()), || drop(theirs.take()));
    drop((way_in, way_out));
    ends(&receiver)
}

/// The victim sends a sender to this process.
pub(crate) fn sending(victim: &mut Victim) -> Result<(), String> {
    let (sender, receiver) = sides()?;
    let (way_in, way_out) = multiproc::pipe_oneway::<Sender<u64>>().map_err(text)?;
    let using = || ignore((sender.send(1), way_out.try_send(&sender)));
    victim.kill(using, || ignore(way_out.try_send(&sender)));
    drop((sender, way_out));
    arrives(way_in, &receiver, &[1])
}

/// The victim receives a sender from this process, and drops it.
pub(crate) fn receiving(victim: &mut Victim) -> Result<(), String> {
    let (sender, receiver) = sides()?;
    let (way_in, way_out) = multiproc::pipe_oneway::<Sender<u64>>().map_err(text)?;
    way_out.send(&sender).map_err(text)?;
    way_out.send(&sender).map_err(text)?;
    drop(sender);
    victim.kill(|| ignore(way_in.poll(Duration::ZERO)), || ignore(way_in.recv()));
    drop(way_out);
    arrives(way_in, &receiver, &[])
}

/// As long as a sender waits in the pipe, or is here, the queue goes on. Then it ends.
fn arrives(way_in: PipeReceiver<Sender<u64>>, receiver: &Receiver<u64>, sent: &[u64]) -> Result<(), String> {
    while way_in.poll(Duration::ZERO).unwrap_or(false) {
        let went_on = goes_on(receiver, sent);
        // The end of the pipe is something to receive, too.
        let Ok(sender) = way_in.recv() else { break };
        went_on?;
        goes_on(receiver, sent)?;
        sender.send(7).map_err(text)?;
        drop(sender);
        if receiver.recv() != Ok(7) {
            return Err("a value did not come".into());
        }
    }
    receiver.try_iter().for_each(drop);
    drop(way_in);
    ends(receiver)
}
