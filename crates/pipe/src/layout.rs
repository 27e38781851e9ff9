//! The bytes of a pipe's segment: the words of both ends, then a stream in each direction (or in one).

use crate::error::PipeError;
use multiproc_prim::{AtomicU32, AtomicU64, Ordering, Padded, shared_struct};
use multiproc_shm::{Identity, Kind, Segment, Spec};
use multiproc_sync::stream_len;

/// Bytes of room in each direction. A message that is longer streams through.
pub const CAPACITY: usize = 64 << 10;

/// Longest message in bytes: 1 GiB. A longer one is refused when it is sent.
pub const MAX_MESSAGE: usize = 1 << 30;

shared_struct! {
    /// The words that both ends read and write.
    pub(crate) struct PipeWords {
        pub(crate) first: Padded<SideWords>,
        pub(crate) second: Padded<SideWords>,
        /// When the sender of each direction rings for its receiver: `EVERY`, `NEXT`, both or neither. The receiver sets it, and the
        /// sender takes `NEXT` away when it rings.
        pub(crate) watched_to_second: Padded<AtomicU32>,
        pub(crate) watched_to_first: Padded<AtomicU32>,
    }
}

shared_struct! {
    /// The words of one end.
    pub(crate) struct SideWords {
        /// The process that uses the end: an [`Owner`].
        pub(crate) owner: AtomicU64,
        /// How often the end has moved, was closed, was taken over or got a stand-by. A handle that remembers another number is a copy
        /// that was left behind.
        pub(crate) generation: AtomicU64,
        /// The generation in which the stand-by was made that may take over. 0: none.
        pub(crate) stand_by: AtomicU64,
        /// The number under which descriptors were sent last.
        pub(crate) parcels: AtomicU64,
    }
}

/// The receiver's descriptor may be waited for: the sender rings for every message.
pub(crate) const EVERY: u32 = 1;
/// The receiver sleeps: the sender rings for the next message.
pub(crate) const NEXT: u32 = 2;

/// In the tag of a record: more of the same message follows.
pub(crate) const MORE: u32 = 1;
/// In the tag of a record: it goes on with a message. Without it, the start of one message and the end of another would become one: where
/// a sender died or gave up in the middle, and the next one goes on.
pub(crate) const CONTINUES: u32 = 2;
/// In the tag of a record: its eight bytes are the length of the message, which is in a file, the last of its descriptors.
pub(crate) const APART: u32 = 4;
/// Shift of the count of descriptors in the tag of a message's last record. They came through the socket, under the number that the
/// record's last eight bytes are.
pub(crate) const DESCRIPTORS_SHIFT: u32 = 3;
/// Bytes of the number under which descriptors come.
pub(crate) const NUMBER: usize = 8;
/// Descriptors that one message can carry, plus one.
pub(crate) const MAX_DESCRIPTORS: usize = 1 << 16;

pub(crate) const KIND: Kind = Kind(*b"PIPE");

/// One of the two ends of a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    First,
    Second,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// The user of an end in one word: the low bits of the generation, a process, and the pid namespace that numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) generation: u64,
    /// 0: no process uses the end yet.
    pub(crate) pid: u32,
    /// 0: not known. Beside the process 0, [`LEFT`](Self::LEFT) says that the user has closed the end.
    pub(crate) namespace: u32,
}

const PID_BITS: u32 = 22;
const GENERATION_BITS: u32 = 10;

impl Owner {
    /// In place of a namespace: the user has closed the end, and a stand-by may take over.
    pub(crate) const LEFT: u32 = 1;

    /// No process uses the end in this generation yet.
    pub(crate) fn nobody(generation: u64) -> Self {
        Self { generation: generation % (1 << GENERATION_BITS), pid: 0, namespace: 0 }
    }

    /// This process uses the end.
    pub(crate) fn us(generation: u64) -> Self {
        let me = Identity::current();
        Self { pid: me.pid, namespace: u32::try_from(me.namespace).unwrap_or(0), ..Self::nobody(generation) }
    }

    /// Whether the user of the end has surely ended.
    pub(crate) fn has_died(self) -> bool {
        Identity { pid: self.pid, namespace: self.namespace.into() }.has_ended()
    }

    pub(crate) fn word(self) -> u64 {
        // The kernel's process ids have 22 bits at most.
        self.generation << (PID_BITS + 32) | u64::from(self.pid) << 32 | u64::from(self.namespace)
    }

    pub(crate) fn from_word(word: u64) -> Self {
        let pid = (word >> 32) as u32 & ((1 << PID_BITS) - 1);
        Self { generation: word >> (PID_BITS + 32), pid, namespace: word as u32 }
    }
}

static_assertions::const_assert_eq!(GENERATION_BITS + PID_BITS + 32, 64);

impl SideWords {
    pub(crate) fn user(&self, ordering: Ordering) -> Owner {
        Owner::from_word(self.owner.load(ordering))
    }
}

impl PipeWords {
    pub(crate) fn side(&self, side: Side) -> &SideWords {
        match side {
            Side::First => &self.first,
            Side::Second => &self.second,
        }
    }

    /// The flag of the direction that ends at `side`.
    pub(crate) fn watched(&self, side: Side) -> &AtomicU32 {
        match side {
            Side::First => &self.watched_to_first,
            Side::Second => &self.watched_to_second,
        }
    }
}

const STREAMS_AT: usize = 4096;

/// Offset of the stream that ends at `side`, from the start of the content.
pub(crate) fn stream_at(side: Side) -> Result<usize, PipeError> {
    let one = stream_len(CAPACITY)?.next_multiple_of(4096);
    Ok(STREAMS_AT + if side == Side::Second { 0 } else { one })
}

pub(crate) fn spec(duplex: bool) -> Result<Spec, PipeError> {
    let one = stream_len(CAPACITY)?.next_multiple_of(4096);
    let len = STREAMS_AT + if duplex { 2 * one } else { one };
    let geometry = [CAPACITY as u64, u64::from(duplex), 0, 0, 0, 0, 0, 0];
    Ok(Spec { geometry, ..Spec::new(KIND, len) })
}

/// Whether an attached segment is a pipe that we can use, and whether it goes both ways.
pub(crate) fn check(segment: &Segment) -> Result<bool, String> {
    let [capacity, duplex, ..] = segment.geometry();
    let spec = spec(duplex == 1).map_err(|error| error.to_string())?;
    if capacity != CAPACITY as u64 || duplex > 1 {
        return Err(format!("{capacity} bytes of room, {duplex} for both ways"));
    }
    if segment.content_len() != spec.len {
        return Err(format!("{} bytes instead of {}", segment.content_len(), spec.len));
    }
    Ok(duplex == 1)
}
