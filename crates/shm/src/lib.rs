#![doc = include_str!("../README.md")]

mod error;
mod header;
mod liveness;
mod lock;
mod lookout;
mod map;
mod named;
mod participant;
mod private;
mod segment;
mod watcher;

pub use error::{AttachError, CreateError, Flaw, ParticipantError};
pub use header::{Kind, Label, MAX_PARTICIPANTS, table_rows};
pub use liveness::Identity;
pub use lock::{ByteLock, Voucher};
pub use lookout::{Notice, Watched};
/// What the signatures here name, and what a structure in a segment is made of.
pub use multiproc_prim::{
    Array, AtomicU32, AtomicU64, Bytes, Ordering, OutOfBounds, Padded, Place, Region, Shared, shared_struct,
};
pub use named::{NameError, SegmentName};
pub use participant::{Membership, Participant, Participants};
pub use segment::{FileId, Segment, Spec, file_id};
