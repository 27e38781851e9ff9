//! Looks at the queues: opened once, kept open, and left alone.

use super::snapshot::{DeadLetter, Holder, Queue, Row, Snapshot};
use super::view::{Pane, View};
use super::who::{QueueFile, command, own_memory};
use crate::place;
use crate::queue::Ended;
use crate::text::{MOST_BYTES, Text};
use multiproc::{AttachError, Glimpse, MessageId, OpenError, Overview, QueueKind, queue_names};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Rates that are remembered: one for each column of a wide screen.
const HISTORY: usize = 240;
/// Messages in hand and dead letters of the selected queue that are listed, of each at most so many.
const MOST_MESSAGES: usize = 500;
/// A queue that could not be opened is tried again after this, and dead letters are read again.
const AGAIN: Duration = Duration::from_secs(5);

/// The queues that are open, with what they said before.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
enum Known {
    Open(Box<Open>),
    Refused { reason: Text, at: Instant },
}

#[derive(Debug)]
struct Open {
    overview: Overview,
    file: Option<QueueFile>,
    at: Instant,
    puts: u64,
    gets: u64,
    rate_in: VecDeque<f64>,
    rate_out: VecDeque<f64>,
    /// What is in hand, as it was read when it was first seen: messages may be long.
    in_hand: HashMap<MessageId, Text>,
    dead: Vec<DeadLetter>,
    dead_at: Option<Instant>,
}

impl Sampler {
    /// Looks at all queues, and at the messages of the selected one that the view shows.
    pub(crate) fn look(&mut self, view: &View) -> Snapshot {
        if let Some(flaw) = place::flaw(false) {
            return Snapshot { queues: Vec::new(), trouble: Some(Text::of(flaw.sentence())) };
        }
        let names = match queue_names() {
            Ok(names) => names,
            Err(error) => return Snapshot { queues: Vec::new(), trouble: Some(Text::of(sentence(&error))) },
        };
        let memory = own_memory();
        self.known.retain(|name, known| names.contains(name) && !known.is_stale(name, &memory));
        for name in names {
            self.known.entry(name).or_insert_with_key(|name| Known::open(name));
        }
        let queues = self.known.iter_mut().map(|(name, known)| {
            let name = Text::of(name);
            let queue = match known {
                Known::Open(open) => Ok(open.look((view.queue.as_ref() == Some(&name)).then_some(view.pane))),
                Known::Refused { reason, .. } => Err(reason.clone()),
            };
            Row { name, queue }
        });
        Snapshot { queues: queues.collect(), trouble: None }
    }

    /// The file of an open queue.
    pub(crate) fn file(&self, name: &Text) -> Option<&QueueFile> {
        match self.known.get(name.as_str())? {
            Known::Open(open) => open.file.as_ref(),
            Known::Refused { .. } => None,
        }
    }
}

/// An error with its causes.
fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Known {
    fn open(name: &str) -> Self {
        let overview = match Overview::open(name) {
            Ok(overview) => overview,
            Err(error) => {
                // The name stands before it.
                let reason = match &error {
                    OpenError::Attach(AttachError::Refused { flaw, .. }) => flaw.to_string(),
                    other => sentence(other),
                };
                return Self::Refused { reason: Text::of(reason), at: Instant::now() };
            }
        };
        let (puts, gets) = (overview.puts(), overview.gets());
        Self::Open(Box::new(Open {
            overview,
            file: QueueFile::of(name, &own_memory()),
            at: Instant::now(),
            puts,
            gets,
            rate_in: VecDeque::new(),
            rate_out: VecDeque::new(),
            in_hand: HashMap::new(),
            dead: Vec::new(),
            dead_at: None,
        }))
    }

    /// Whether to open it anew: the name was removed and is another queue's now, or the last try was long ago.
    fn is_stale(&self, name: &str, memory: &str) -> bool {
        match self {
            Self::Open(open) => QueueFile::of(name, memory) != open.file,
            Self::Refused { at, .. } => at.elapsed() >= AGAIN,
        }
    }
}

impl Open {
    fn look(&mut self, pane: Option<Pane>) -> Queue {
        self.count();
        let overview = &self.overview;
        let me = std::process::id();
        let others = overview.participants().iter().filter(|participant| participant.is_alive && participant.pid != me).count();
        let holders = overview.holders();
        let kind = match overview.kind() {
            QueueKind::JoinableQueue => "joinable",
            QueueKind::SimpleQueue => "simple",
            _ => "queue",
        };
        let queue = Queue {
            kind: Text::of(kind),
            depth: overview.len() as u64,
            capacity: overview.capacity().map(|capacity| capacity as u64),
            in_hand: holders.len() as u64,
            rate_in: self.rate_in.iter().copied().collect(),
            rate_out: self.rate_out.iter().copied().collect(),
            dead: overview.dead_len() as u64,
            lost: overview.lost(),
            participants: others as u64,
            memory: overview.memory(),
            is_shut_down: overview.is_shut_down(),
            knows_holders: overview.kind() == QueueKind::JoinableQueue,
            ..Queue::default()
        };
        match pane {
            None => queue,
            Some(Pane::Holders) => Queue { holders: self.holders(&holders), ..queue },
            Some(Pane::Dead) => Queue { dead_letters: self.dead_letters(&queue), ..queue },
        }
    }

    /// Notes the rates since the last look.
    fn count(&mut self) {
        let (puts, gets, now) = (self.overview.puts(), self.overview.gets(), Instant::now());
        let seconds = now.duration_since(self.at).as_secs_f64();
        if seconds < 0.05 {
            // A key asked for a look between two ticks: a rate of so short a time says nothing.
            return;
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        for (rates, rate) in [(&mut self.rate_in, rate(puts, self.puts)), (&mut self.rate_out, rate(gets, self.gets))] {
            rates.push_back(rate);
            if rates.len() > HISTORY {
                rates.pop_front();
            }
        }
        (self.puts, self.gets, self.at) = (puts, gets, now);
    }

    fn holders(&mut self, holders: &[multiproc::Holder]) -> Vec<Holder> {
        self.in_hand.retain(|id, _| holders.iter().any(|holder| holder.id == *id));
        if holders.iter().any(|holder| !self.in_hand.contains_key(&holder.id)) {
            for glimpse in self.overview.in_hand().take(holders.len()) {
                self.in_hand.insert(glimpse.id, message(&glimpse));
            }
        }
        let mut commands: HashMap<u32, Option<Text>> = HashMap::new();
        let mut listed: Vec<Holder> = holders
            .iter()
            .take(MOST_MESSAGES)
            .map(|holder| Holder {
                id: Text::of(holder.id.to_string()),
                pid: holder.pid,
                is_alive: holder.is_alive,
                command: commands.entry(holder.pid).or_insert_with(|| command(holder.pid, self.file.as_ref()?)).clone(),
                held_for: holder.held_for,
                deliveries: holder.deliveries,
                message: self.in_hand.get(&holder.id).cloned(),
            })
            .collect();
        listed.sort_by_key(|holder| std::cmp::Reverse(holder.held_for));
        listed
    }

    fn dead_letters(&mut self, queue: &Queue) -> Vec<DeadLetter> {
        let is_fresh =
            self.dead_at.is_some_and(|at| at.elapsed() < AGAIN) && self.dead.len() as u64 == queue.dead.min(MOST_MESSAGES as u64);
        if !is_fresh {
            self.dead = self.overview.dead().flatten().take(MOST_MESSAGES).map(|glimpse| dead_letter(&glimpse)).collect();
            self.dead_at = Some(Instant::now());
        }
        self.dead.clone()
    }
}

fn message(glimpse: &Glimpse) -> Text {
    // One byte more tells that there is more.
    Text::of(&glimpse.bytes[..glimpse.bytes.len().min(MOST_BYTES + 1)])
}

fn dead_letter(glimpse: &Glimpse) -> DeadLetter {
    let reason = glimpse.ended.map_or_else(String::new, |how| Ended::from(how).in_words());
    DeadLetter {
        id: Text::of(glimpse.id.to_string()),
        deliveries: glimpse.deliveries,
        reason: Text::of(reason),
        message: message(glimpse),
    }
}
