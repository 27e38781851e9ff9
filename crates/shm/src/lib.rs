#![doc = include_str!("../README.md")]

mod error;
mod exit;
mod fork;
mod header;
mod link;
mod liveness;
mod lock;
mod lookout;
mod map;
mod named;
mod participant;
pub mod pass;
mod private;
mod segment;
mod watcher;

pub use error::{AttachError, CreateError, Flaw, JoinError};
pub use exit::{Finish, finish_all, finish_at_exit};
pub use fork::{PerProcess, stamp};
pub use header::{Kind, MAX_PARTICIPANTS, table_rows};
pub use link::{Bell, Link};
pub use liveness::Identity;
pub use lock::ByteLock;
pub use named::{NameError, SegmentName};
pub use participant::{Membership, Notice, Participant, Participants, Watched};
pub use segment::{Segment, Spec};
