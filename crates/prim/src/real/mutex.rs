//! The lock of the threads of one process.

pub(crate) use std::sync::Mutex;
pub use std::sync::MutexGuard;
