#![doc = include_str!("../README.md")]

mod atomic;
mod bytes;
mod hint;
mod pair;
mod region;
mod time;

#[cfg_attr(loom, path = "futex_loom.rs")]
pub mod futex;
#[cfg_attr(loom, path = "model_loom.rs")]
pub mod model;

pub use atomic::{AtomicU32, AtomicU64, Ordering, fence, fence_after_exchange};
#[cfg(loom)]
pub use bytes::Cells;
pub use bytes::{Bytes, OwnBytes};
pub use hint::{Backoff, Hint, spin_loop, yield_now};
pub use pair::AtomicPair;
pub use region::{Array, Heap, Memory, OutOfBounds, Padded, Place, Region, Shared};
pub use time::{Deadline, monotonic_millis};
