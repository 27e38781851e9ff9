//! The bytes of a queue's segment: its own words, two words per participant, then the channel.

use multiproc_prim::{Array, AtomicU64, OutOfBounds, Padded, Place, Region, shared_struct};
use multiproc_ring::mpmc::Geometry;
use multiproc_shm::{Kind, MAX_PARTICIPANTS, Participant, Segment, Spec, table_rows};
use multiproc_sync::{ChannelError, EventCount, channel_len};

shared_struct! {
    /// What a queue adds to its channel.
    pub(crate) struct QueueWords {
        /// Where `join` waits.
        pub(crate) all_done: Padded<EventCount>,
        /// Rows of the participant table that were ever in use.
        pub(crate) rows: Padded<AtomicU64>,
        /// When someone last looked for the dead, in milliseconds of the monotonic clock.
        pub(crate) looked: Padded<AtomicU64>,
    }

    /// What each participant alone writes.
    pub(crate) struct Tally {
        /// A `Completion`: what it finished of a `JoinableQueue`; of other queues, what it found in the hands of the dead.
        pub(crate) done: AtomicU64,
        /// A [`Buffered`]: messages in its overflow buffer.
        pub(crate) buffered: AtomicU64,
        /// Two words that make it half a cache line.
        pub(crate) reserved: AtomicU64,
        pub(crate) reserved2: AtomicU64,
    }
}

/// How many messages a participant has in its overflow buffer, and in which epoch of its row: so that a sweeper that slept does
/// not clear what the next one in the row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffered(pub(crate) u64);

impl Buffered {
    const COUNT_BITS: u32 = 40;

    pub(crate) fn new(who: Participant, count: usize) -> Self {
        Self(who.epoch << Self::COUNT_BITS | (count as u64 & ((1 << Self::COUNT_BITS) - 1)))
    }

    pub(crate) fn count(self) -> u64 {
        self.0 & ((1 << Self::COUNT_BITS) - 1)
    }

    pub(crate) fn is_of(self, who: Participant) -> bool {
        self.0 >> Self::COUNT_BITS == who.epoch & (u64::MAX >> Self::COUNT_BITS)
    }
}

/// The tally of a participant.
pub(crate) fn tally_of(tallies: &Array<Tally>, who: Participant) -> Option<&Tally> {
    tallies.get(who.row as usize)
}

/// Which of the three a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    Queue,
    Joinable,
    Simple,
}

impl Flavor {
    pub(crate) fn kind(self) -> Kind {
        Kind(match self {
            Self::Queue => *b"QUEU",
            Self::Joinable => *b"JOIN",
            Self::Simple => *b"SIMP",
        })
    }
}

/// The numbers that make a queue: what the builder collects and the segment's header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) flavor: Flavor,
    pub(crate) slots: u32,
    pub(crate) bounded: bool,
    pub(crate) memory: u64,
    pub(crate) max_message: u64,
    /// 0: no limit.
    pub(crate) max_deliveries: u16,
    pub(crate) participants: u32,
}

impl Shape {
    pub(crate) fn ring(&self) -> Geometry {
        Geometry {
            returns: self.flavor == Flavor::Joinable,
            // What is to be delivered again must be found after a death.
            small_in_slots: self.flavor != Flavor::Joinable,
            memory: self.memory,
            max_message: self.max_message,
            ..Geometry::new(self.slots)
        }
    }

    /// Deliveries after which a message is put aside.
    pub(crate) fn max_deliveries(&self) -> Option<u16> {
        (self.max_deliveries > 0).then_some(self.max_deliveries)
    }

    fn tallies_at() -> usize {
        size_of::<QueueWords>()
    }

    /// One per row of the participant table.
    fn tallies(&self) -> usize {
        table_rows(self.participants) as usize
    }

    /// Where the channel starts, from the start of the content.
    pub(crate) fn channel_at(&self) -> usize {
        (Self::tallies_at() + self.tallies() * size_of::<Tally>()).next_multiple_of(4096)
    }

    pub(crate) fn spec(&self) -> Result<Spec, ChannelError> {
        let len = self.channel_at() + channel_len(&self.ring())?;
        Ok(Spec {
            kind: self.flavor.kind(),
            len,
            participants: self.participants,
            geometry: [
                u64::from(self.slots),
                u64::from(self.bounded),
                self.memory,
                self.max_message,
                u64::from(self.max_deliveries),
                0,
                0,
                0,
            ],
        })
    }

    /// The shape that a segment's header tells, checked on a private copy.
    pub(crate) fn of(segment: &Segment, flavor: Flavor) -> Result<Self, String> {
        let [slots, bounded, memory, max_message, max_deliveries, ..] = segment.geometry();
        let participants = segment.participant_count();
        let shape = Self {
            flavor,
            slots: u32::try_from(slots).map_err(|_| format!("{slots} slots"))?,
            bounded: bounded != 0,
            memory,
            max_message,
            max_deliveries: u16::try_from(max_deliveries).map_err(|_| format!("{max_deliveries} deliveries"))?,
            participants,
        };
        if participants == 0 || participants > MAX_PARTICIPANTS {
            return Err(format!("{participants} participants"));
        }
        let spec = shape.spec().map_err(|error| error.to_string())?;
        if spec.len > segment.content_len() {
            return Err(format!("{} bytes are too few for it, it needs {}", segment.content_len(), spec.len));
        }
        Ok(shape)
    }

    pub(crate) fn words(&self, region: &Region, at: usize) -> Result<(Place<QueueWords>, Array<Tally>), OutOfBounds> {
        Ok((region.place(at)?, region.array(at + Self::tallies_at(), self.tallies())?))
    }
}
