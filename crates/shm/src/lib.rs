#![doc = include_str!("../README.md")]

pub mod descriptor;
mod error;
mod fork;
mod header;
mod link;
mod liveness;
mod lock;
mod map;
mod named;
mod participant;
pub mod pass;
mod segment;

pub use error::{AttachError, CreateError, Flaw, JoinError};
pub use fork::{PerProcess, stamp};
pub use header::{Kind, MAX_PARTICIPANTS};
pub use link::{Bell, Link};
pub use liveness::Identity;
pub use named::{NameError, SegmentName};
pub use participant::{Janitor, Look, Membership, Participant, Participants};
pub use segment::{FileId, Segment, Spec, file_id};
