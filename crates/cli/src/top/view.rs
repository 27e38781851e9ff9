//! What the user looks at: which queue, which pane, which line.

use super::snapshot::{Holder, Queue, Snapshot};
use crate::text::Text;

#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The selected queue. It stays selected while others come and go.
    pub(crate) queue: Option<Text>,
    pub(crate) pane: Pane,
    /// Whether the keys go to the lower pane.
    pub(crate) is_below: bool,
    /// The selected message of the lower pane.
    pub(crate) message: Option<Text>,
    pub(crate) footer: Footer,
    pub(crate) is_help: bool,
    /// Seconds between two looks.
    pub(crate) interval: f64,
}

/// What the lower pane shows of the selected queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pane {
    #[default]
    Holders,
    Dead,
}

/// The last line. Its words are made of text that is safe to show.
#[derive(Clone, Debug, Default)]
pub(crate) enum Footer {
    #[default]
    Keys,
    /// Waits for yes or no.
    Question(String),
    /// Stays until the next key.
    Notice(String),
}

impl View {
    /// Keeps the selection on something that is there: after a queue or a message has gone, what took its place.
    pub(crate) fn follow(&mut self, before: &Snapshot, now: &Snapshot) {
        let names = |snapshot: &Snapshot| snapshot.queues.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        let queue = self.queue.take();
        let messages_before = before.selected(queue.as_ref()).map_or_else(Vec::new, |queue| self.messages(queue));
        self.queue = stay(queue, &names(before), &names(now));
        let messages = now.selected(self.queue.as_ref()).map_or_else(Vec::new, |queue| self.messages(queue));
        self.message = stay(self.message.take(), &messages_before, &messages);
    }

    /// Moves the selection of the pane that has the keys.
    pub(crate) fn step(&mut self, snapshot: &Snapshot, by: isize) {
        if self.is_below {
            let messages = snapshot.selected(self.queue.as_ref()).map_or_else(Vec::new, |queue| self.messages(queue));
            self.message = moved(self.message.as_ref(), &messages, by);
        } else {
            let names: Vec<_> = snapshot.queues.iter().map(|row| row.name.clone()).collect();
            self.queue = moved(self.queue.as_ref(), &names, by);
            self.message = None;
            self.follow(snapshot, snapshot);
        }
    }

    /// The message in hand that the user points at.
    pub(crate) fn holder<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Holder> {
        let holders = &snapshot.selected(self.queue.as_ref())?.holders;
        holders.iter().find(|holder| Some(&holder.id) == self.message.as_ref())
    }

    fn messages(&self, queue: &Queue) -> Vec<Text> {
        match self.pane {
            Pane::Holders => queue.holders.iter().map(|holder| holder.id.clone()).collect(),
            Pane::Dead => queue.dead_letters.iter().map(|letter| letter.id.clone()).collect(),
        }
    }
}

impl Snapshot {
    fn selected(&self, name: Option<&Text>) -> Option<&Queue> {
        self.row(name?)?.queue.as_ref().ok()
    }
}

/// The same one, or what stands in its place now.
fn stay(selected: Option<Text>, before: &[Text], now: &[Text]) -> Option<Text> {
    let Some(selected) = selected else { return now.first().cloned() };
    if now.contains(&selected) {
        return Some(selected);
    }
    let place = before.iter().position(|other| *other == selected).unwrap_or(0);
    now.get(place.min(now.len().saturating_sub(1))).cloned()
}

fn moved(selected: Option<&Text>, all: &[Text], by: isize) -> Option<Text> {
    let place = all.iter().position(|other| Some(other) == selected);
    let next = place.map_or(0, |place| place.saturating_add_signed(by));
    all.get(next.min(all.len().saturating_sub(1))).cloned()
}
