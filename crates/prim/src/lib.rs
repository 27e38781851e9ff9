#![doc = include_str!("../README.md")]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("multiproc needs a 64-bit target: its shared memory is made of 64-bit atomics and may be larger than 4 GiB");
#[cfg(not(target_os = "linux"))]
compile_error!("multiproc needs Linux: processes wait for each other with its futexes");

mod ahead;
mod background;
mod backoff;
mod bytes;
mod circle;
pub mod descriptor;
mod fork;
mod mutex;
mod poll;
mod private;
mod refusal;
mod region;
mod renewed;
mod roll;
mod time;

/// All that a model does differently, in two folders with equal file names. This is the one place that chooses.
#[cfg_attr(not(loom), path = "real/mod.rs")]
#[cfg_attr(loom, path = "model/mod.rs")]
mod base;

pub use ahead::{LINE, fetch_to_write};
pub use background::{background, with_signals_blocked};
pub use backoff::Backoff;
pub use base::atomic::{AtomicU32, AtomicU64, Ordering, fence, fence_after_exchange};
pub use base::explore as model;
pub use base::fence::{heavy_fence, light_fence};
pub use base::futex;
pub use base::pair::AtomicPair;
pub use base::spin::{spin_loop, yield_now};
pub use bytes::{Bytes, OwnBytes, vec_of};
pub use circle::Circle;
pub use fork::{PerProcess, stamp};
pub use mutex::{Mutex, MutexGuard};
pub use poll::{Direction, PollSet, Signal, is_ready_for};
pub use private::{Counter, Flag, Hint, Known};
pub use refusal::{fmt_debug, fmt_refusal};
pub use region::{Array, Heap, Memory, OutOfBounds, Padded, Place, Region, Shared};
pub use renewed::Renewed;
pub use roll::{Entry, OnceWord, Roll};
pub use time::{Deadline, monotonic_millis};
