//! The lock-free ring for many producers and many consumers, with messages of any size.
//!
//! A message is written into a block that only its producer owns and then pushed by one compare-and-swap on a slot, so
//! that no half-written message is ever in the ring and a process that stops or dies at any instruction blocks nobody.
//! Read in this order: the words (`state.rs`, `era.rs`), the bytes (`layout.rs`), memory (`stretches.rs`), blocks (`arena.rs`, `trim.rs`), the algorithm
//! (`ring.rs`, `walk.rs`), growing (`lane.rs`), what users hold (`handle.rs`, `block.rs`, `notes.rs`, `look.rs`), what happens after a death (`sweep.rs`).

mod arena;
mod block;
mod claim;
mod era;
mod error;
mod handle;
mod id;
mod lane;
mod layout;
mod look;
mod notes;
mod ring;
mod state;
mod stretches;
mod sweep;
mod trim;
mod walk;

pub use block::{Block, Held, Taken};
pub use error::{AllocError, GiveBackError, LayoutError, PopError, PushError, Refused, SweepError};
pub use handle::Mpmc;
pub use id::{MessageId, MessageIdError};
pub use layout::{Geometry, MAX_SLOTS};
pub use look::{InHand, Seen};
pub use notes::Unfinished;
pub use state::{Completion, Lane, MAX_ROWS, Owner};
pub use sweep::{Again, Finished, Orphan, Orphans, Swept};
pub use trim::Trimmed;
