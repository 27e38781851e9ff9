//! The bytes of a queue's segment: its own words, a few words per participant, then the channel.

use multiproc_prim::{Array, AtomicU64, Ordering, OutOfBounds, Padded, Place, Region, shared_struct};
use multiproc_ring::mpmc::{Again, Completion, Finished, Geometry, Held};
use multiproc_shm::{Kind, Label, MAX_PARTICIPANTS, Participant, Segment, Spec, table_rows};
use multiproc_sync::{BusyEvent, Census, ChannelError, fixed_channel_len};

shared_struct! {
    /// What a queue adds to its channel.
    pub(crate) struct QueueWords {
        /// Where `join` waits.
        pub(crate) all_done: Padded<BusyEvent>,
        /// Rows of the participant table that were ever in use.
        pub(crate) rows: Padded<AtomicU64>,
        /// When a participant last looked for the dead, in milliseconds of the monotonic clock.
        pub(crate) looked: Padded<AtomicU64>,
        /// Which processes have senders, and which have receivers.
        pub(crate) sides: Padded<Sides>,
    }

    /// Where processes say that they begin to send, and to receive.
    pub(crate) struct Sides {
        senders: Census,
        receivers: Census,
    }

    /// What each participant alone writes.
    pub(crate) struct Tally {
        /// A `Completion`: the last message of a `JoinableQueue` that it finished; the last message of another queue that it
        /// found in the hands of the dead.
        last: AtomicU64,
        /// How many messages it finished: as many as the word before says, or one less.
        count: AtomicU64,
        /// Values of a queue that is not joinable that a panic of one of its threads dropped.
        pub(crate) dropped: AtomicU64,
        /// Values in hand of its threads that wait for more after a shutdown, below the lowest bits of its epoch.
        waiting: AtomicU64,
        /// Its senders that count, below the lowest bits of its epoch.
        senders: AtomicU64,
        /// Its receivers that count, likewise.
        receivers: AtomicU64,
        /// Makes it a cache line.
        reserved: AtomicU64,
        reserved2: AtomicU64,
    }
}

/// What a handle does: a sender sends, a receiver receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sends,
    Receives,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Sends, Self::Receives];

    /// The number of the lock that stands for handles of this side on their way.
    pub(crate) fn lock(self) -> u32 {
        // `multiproc_shm` has those below.
        2048 + self as u32
    }

    pub(crate) fn census(self, words: &QueueWords) -> &Census {
        match self {
            Self::Sends => &words.sides.senders,
            Self::Receives => &words.sides.receivers,
        }
    }

    /// The word in which a participant counts its handles of this side.
    pub(crate) fn count(self, tally: &Tally) -> &AtomicU64 {
        match self {
            Self::Sends => &tally.senders,
            Self::Receives => &tally.receivers,
        }
    }
}

impl Tally {
    /// Bits of the numbers that are stamped with an epoch; above them are its lowest ones.
    const NUMBER_BITS: u32 = 40;

    fn stamp_of(who: Participant) -> u64 {
        who.epoch << Self::NUMBER_BITS
    }

    /// The number in a word that a participant writes; 0 if an earlier participant of its row left it.
    pub(crate) fn number(word: &AtomicU64, who: Participant) -> u64 {
        let word = word.load(Ordering::Acquire);
        let is_its_own = word >> Self::NUMBER_BITS == Self::stamp_of(who) >> Self::NUMBER_BITS;
        if is_its_own { Self::number_in(word) } else { 0 }
    }

    pub(crate) const fn number_in(word: u64) -> u64 {
        word % (1 << Self::NUMBER_BITS)
    }

    /// For a process that takes the place: the numbers that an earlier participant left are not its own.
    pub(crate) fn begin(&self, who: Participant) {
        for word in [&self.waiting, &self.senders, &self.receivers] {
            word.store(Self::stamp_of(who), Ordering::Release);
        }
    }

    /// Values in the hands of a process that can't finish them before it gets an answer: its threads wait for values themselves.
    pub(crate) fn waits_with(&self, who: Participant) -> u64 {
        Self::number(&self.waiting, who)
    }

    /// A thread begins to wait with so many values in hand.
    pub(crate) fn wait_with(&self, values: u64) {
        self.waiting.fetch_add(values, Ordering::AcqRel);
    }

    /// Values of threads that wait are no longer in hand, or their threads no longer wait.
    pub(crate) fn wait_with_less(&self, values: u64) {
        // Adding this subtracts them.
        self.waiting.fetch_add(values.wrapping_neg(), Ordering::AcqRel);
    }

    /// Counts a message as finished and names it. It is finished then, even if this process dies.
    ///
    /// The word names one message. So the caller holds the lock of the values in hand until the message's block is free.
    pub(crate) fn complete(&self, held: &Held) {
        let Finished { count, last } = held.complete(self.finished());
        // Release: our work on the message comes before.
        self.last.store(last.0, Ordering::Release);
        // A death before this store leaves the count one behind, and the other word tells. Release: it comes after that word.
        self.count.store(count, Ordering::Release);
    }

    /// What was finished, at some moment during the call.
    pub(crate) fn finished(&self) -> Finished {
        let mut before = self.count.load(Ordering::Acquire);
        loop {
            let last = Completion(self.last.load(Ordering::Acquire));
            let after = self.count.load(Ordering::Acquire);
            // A hostile peer could keep us here only while it keeps counting.
            if after.wrapping_sub(before) < Completion::MOST_BETWEEN {
                return Finished { count: last.count_since(before), last };
            }
            before = after;
        }
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
    const ALL: [Self; 3] = [Self::Queue, Self::Joinable, Self::Simple];

    /// The flavor of a segment, if it is a queue's.
    pub(crate) fn of(kind: Kind) -> Option<Self> {
        Self::ALL.into_iter().find(|flavor| flavor.kind() == kind)
    }

    pub(crate) fn kind(self) -> Kind {
        Kind(match self {
            Self::Queue => *b"QUEU",
            Self::Joinable => *b"JOIN",
            Self::Simple => *b"SIMP",
        })
    }

    /// What users call a kind of segment: the words of this crate for its own.
    pub(crate) fn in_words(kind: &str) -> &str {
        match kind {
            "QUEU" => "Queue",
            "JOIN" => "JoinableQueue",
            "SIMP" => "SimpleQueue",
            other => other,
        }
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
    /// A number for the type of its messages; 0: not recorded, as the queue has no name.
    pub(crate) identity: u64,
    /// What the segment calls that type.
    pub(crate) label: Label,
}

impl Shape {
    pub(crate) fn ring(&self) -> Geometry {
        Geometry {
            grows: !self.bounded,
            returns: self.flavor == Flavor::Joinable,
            // A value that is to be delivered again must be found after its consumer's death.
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

    /// What becomes of a message whose delivery did not finish it.
    pub(crate) fn again(&self) -> Again {
        Again::Counted { max_deliveries: self.max_deliveries() }
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

    /// The segment that it needs.
    pub(crate) fn spec(&self) -> Result<Spec, ChannelError> {
        let len = self.channel_at() + fixed_channel_len(&self.ring())?;
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
                self.identity,
                0,
                0,
            ],
            label: self.label,
        })
    }

    /// The shape that a segment's header describes, checked on a private copy.
    pub(crate) fn of(segment: &Segment, flavor: Flavor) -> Result<Self, String> {
        let [slots, bounded, memory, max_message, max_deliveries, identity, ..] = segment.geometry();
        let participants = segment.participant_count();
        let shape = Self {
            flavor,
            slots: u32::try_from(slots).map_err(|_| format!("{slots} slots"))?,
            bounded: bounded != 0,
            memory,
            max_message,
            max_deliveries: u16::try_from(max_deliveries).map_err(|_| format!("{max_deliveries} deliveries"))?,
            participants,
            identity,
            label: segment.label(),
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
