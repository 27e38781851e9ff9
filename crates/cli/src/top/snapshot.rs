//! What `top` shows at one moment. Everything in it is safe to print.

use crate::text::Text;
use std::time::Duration;

/// Every queue that has a name, sorted by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) queues: Vec<Row>,
    /// Why the names can't be listed.
    pub(crate) trouble: Option<Text>,
}

/// One name: what there is, or why it can't be opened.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: Text,
    pub(crate) queue: Result<Queue, Text>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) kind: Text,
    /// Values that wait.
    pub(crate) depth: u64,
    pub(crate) capacity: Option<u64>,
    pub(crate) in_hand: u64,
    /// Values a second, the newest last: one for each tick.
    pub(crate) rate_in: Vec<f64>,
    pub(crate) rate_out: Vec<f64>,
    pub(crate) dead: u64,
    pub(crate) lost: u64,
    /// Processes that have the queue open, this one left out.
    pub(crate) participants: u64,
    pub(crate) memory: u64,
    pub(crate) is_shut_down: bool,
    /// Whether it is of the kind that notes who has what in hand.
    pub(crate) knows_holders: bool,
    /// Of the selected queue alone.
    pub(crate) holders: Vec<Holder>,
    /// Of the selected queue alone.
    pub(crate) dead_letters: Vec<DeadLetter>,
}

/// A message in hand.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) id: Text,
    pub(crate) pid: u32,
    pub(crate) is_alive: bool,
    /// The command line. `None`: the process is not to be seen from here.
    pub(crate) command: Option<Text>,
    pub(crate) held_for: Duration,
    pub(crate) deliveries: u16,
    /// `None`: it left the queue between two looks.
    pub(crate) message: Option<Text>,
}

/// A message that was put aside.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) id: Text,
    pub(crate) deliveries: u16,
    pub(crate) reason: Text,
    pub(crate) message: Text,
}

impl Snapshot {
    pub(crate) fn row(&self, name: &Text) -> Option<&Row> {
        self.queues.iter().find(|row| row.name == *name)
    }
}
