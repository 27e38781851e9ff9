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

pub use error::{AttachError, CreateError, Flaw, JoinError};
pub use header::{Kind, MAX_PARTICIPANTS, table_rows};
pub use liveness::Identity;
pub use lock::ByteLock;
pub use named::{NameError, SegmentName};
pub use participant::{Membership, Notice, Participant, Participants, Watched};
pub use segment::{FileId, Segment, Spec, file_id};
