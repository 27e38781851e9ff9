#![doc = include_str!("../README.md")]

mod atomic;
mod bytes;
mod circle;
pub mod descriptor;
mod fence;
mod fork;
mod hint;
mod pair;
mod region;
mod renewed;
mod roll;
mod time;

#[cfg_attr(loom, path = "futex_loom.rs")]
pub mod futex;
#[cfg_attr(loom, path = "model_loom.rs")]
pub mod model;

pub use atomic::{AtomicU32, AtomicU64, Ordering, fence, fence_after_exchange};
#[cfg(loom)]
pub use bytes::Cells;
pub use bytes::{Bytes, OwnBytes};
pub use circle::Circle;
pub use fence::{heavy_fence, light_fence};
pub use fork::{PerProcess, stamp};
pub use hint::{Backoff, Hint, Known, spin_loop, yield_now};
pub use pair::AtomicPair;
pub use region::{Array, Heap, Memory, OutOfBounds, Padded, Place, Region, Shared};
pub use renewed::Renewed;
pub use roll::{Entry, OnceWord, Roll};
pub use time::{Deadline, monotonic_millis};
