//! Looks at the queues: opened once, kept open, and left alone.

use super::snapshot::{DeadLetter, Holder, Queue, Row, Snapshot};
use super::text::{MOST_BYTES, Text};
use super::who::{QueueFile, command};
use multiproc::{Glimpse, Overview, Place, Unfinished, queue_names};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Rates that are remembered: one for each column of a wide screen.
const HISTORY: usize = 240;
/// Messages of the selected queue that are looked at.
const MOST_MESSAGES: usize = 500;
/// A queue that could not be opened is tried again after this.
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
}

impl Sampler {
    /// Looks at all queues, and at the messages of the selected one.
    pub(crate) fn look(&mut self, selected: Option<&Text>) -> Snapshot {
        let names = match queue_names() {
            Ok(names) => names,
            Err(error) => return Snapshot { queues: Vec::new(), trouble: Some(Text::of(error.to_string())) },
        };
        self.known.retain(|name, known| names.contains(name) && !known.is_stale(name));
        for name in names {
            self.known.entry(name).or_insert_with_key(|name| Known::open(name));
        }
        let queues = self.known.iter_mut().map(|(name, known)| {
            let name = Text::of(name);
            let queue = match known {
                Known::Open(open) => Ok(open.look(selected == Some(&name))),
                Known::Refused { reason, .. } => Err(reason.clone()),
            };
            Row { name, queue }
        });
        Snapshot { queues: queues.collect(), trouble: None }
    }

    /// The file of an open queue.
    pub(crate) fn file(&self, name: &Text) -> Option<&QueueFile> {
        let known = self.known.iter().find(|(known, _)| Text::of(known) == *name);
        match known?.1 {
            Known::Open(open) => open.file.as_ref(),
            Known::Refused { .. } => None,
        }
    }
}

impl Known {
    fn open(name: &str) -> Self {
        match Overview::open(name) {
            Ok(overview) => {
                let (puts, gets) = (overview.puts(), overview.gets());
                let file = QueueFile::of(name);
                let (rate_in, rate_out) = (VecDeque::new(), VecDeque::new());
                Self::Open(Box::new(Open { overview, file, at: Instant::now(), puts, gets, rate_in, rate_out }))
            }
            Err(error) => Self::Refused { reason: Text::of(error.to_string()), at: Instant::now() },
        }
    }

    /// Whether to open it anew: the name was removed and is another queue's now, or the last try was long ago.
    fn is_stale(&self, name: &str) -> bool {
        match self {
            Self::Open(open) => QueueFile::of(name) != open.file,
            Self::Refused { at, .. } => at.elapsed() >= AGAIN,
        }
    }
}

impl Open {
    fn look(&mut self, with_messages: bool) -> Queue {
        self.count();
        let overview = &self.overview;
        let me = std::process::id();
        let others = overview.participants().iter().filter(|participant| participant.is_alive && participant.pid != me).count();
        let holders = overview.holders();
        let mut queue = Queue {
            kind: Text::of(overview.kind().to_string()),
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
            ..Queue::default()
        };
        if with_messages {
            self.look_into(&holders, &mut queue);
        }
        queue
    }

    /// Notes the rates since the last look.
    fn count(&mut self) {
        let (puts, gets, now) = (self.overview.puts(), self.overview.gets(), Instant::now());
        let seconds = now.duration_since(self.at).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        for (rates, rate) in [(&mut self.rate_in, rate(puts, self.puts)), (&mut self.rate_out, rate(gets, self.gets))] {
            rates.push_back(rate);
            if rates.len() > HISTORY {
                rates.pop_front();
            }
        }
        (self.puts, self.gets, self.at) = (puts, gets, now);
    }

    fn look_into(&self, holders: &[multiproc::Holder], queue: &mut Queue) {
        let glimpses = self.overview.messages(MOST_MESSAGES);
        let mut commands: HashMap<u32, Option<Text>> = HashMap::new();
        for holder in holders.iter().take(MOST_MESSAGES) {
            let known = commands.entry(holder.pid);
            let command = known.or_insert_with(|| self.file.as_ref().and_then(|file| command(holder.pid, file))).clone();
            let glimpse = glimpses.iter().find(|glimpse| glimpse.id == holder.id);
            queue.holders.push(Holder {
                id: Text::of(holder.id.to_string()),
                pid: holder.pid,
                is_alive: holder.is_alive,
                command,
                held_for: holder.held_for,
                deliveries: holder.deliveries,
                message: glimpse.map(message),
            });
        }
        queue.holders.sort_by_key(|holder| std::cmp::Reverse(holder.held_for));
        queue.dead_letters = glimpses.iter().filter(|glimpse| matches!(glimpse.place, Place::Dead)).map(dead_letter).collect();
    }
}

fn message(glimpse: &Glimpse) -> Text {
    // One byte more tells that there is more.
    Text::of(&glimpse.bytes[..glimpse.bytes.len().min(MOST_BYTES + 1)])
}

fn dead_letter(glimpse: &Glimpse) -> DeadLetter {
    let reason = match &glimpse.ended {
        Some(Unfinished::GivenBack { note: 0 }) => "given back".to_owned(),
        Some(Unfinished::GivenBack { note }) => format!("given back: {note}"),
        Some(Unfinished::Unreadable) => "could not be read".to_owned(),
        Some(Unfinished::Died { pid }) => format!("process {pid} died"),
        _ => String::new(),
    };
    DeadLetter { id: Text::of(glimpse.id.to_string()), deliveries: glimpse.deliveries, reason: Text::of(reason), message: message(glimpse) }
}
