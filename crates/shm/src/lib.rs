#![doc = include_str!("../README.md")]

pub mod descriptor;
mod error;
mod fork;
mod header;
mod link;
mod liveness;
mod lock;
mod lookout;
mod map;
mod named;
mod own_file;
mod participant;
pub mod pass;
mod private;
mod segment;
mod watcher;
mod wire;

pub use error::{AttachError, CreateError, Flaw, JoinError};
pub use fork::{PerProcess, stamp};
pub use header::{Kind, MAX_PARTICIPANTS, table_rows};
pub use link::Link;
pub use liveness::Identity;
pub use lock::ByteLock;
pub use named::{NameError, SegmentName};
pub use own_file::{read_own_file, write_own_file};
pub use participant::{Membership, Notice, Participant, Participants, Watched};
pub use segment::{FileId, Segment, Spec, file_id};
pub use wire::{Readiness, Wire};
