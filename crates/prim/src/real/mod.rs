//! Real programs: the atomics, fences and futexes of the processor and the kernel. `../model` has the same files.

pub(crate) mod atomic;
pub mod explore;
pub(crate) mod fence;
pub mod futex;
pub(crate) mod mutex;
pub(crate) mod pair;
pub(crate) mod spin;
pub(crate) mod watch;
