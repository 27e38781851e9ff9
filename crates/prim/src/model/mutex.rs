//! The lock of the threads of one process, as loom sees it.

pub(crate) use loom::sync::Mutex;
pub use loom::sync::MutexGuard;
