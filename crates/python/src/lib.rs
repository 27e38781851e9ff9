//! The extension module of the Python package `multiproc`.
//!
//! It is thin: queues of bytes from the crate `multiproc`, objects to bytes and back, and exceptions. What a Python user sees is in
//! `python/multiproc`.

mod codec;
mod delivery;
mod errors;
mod imported;
mod memory;
mod pending;
mod put;
mod queue;
mod remote;
mod remote_errors;
mod until;

/// Queues between processes on shared memory.
#[pyo3::pymodule]
mod _multiproc {
    #[pymodule_export]
    use super::delivery::RawDelivery;
    #[pymodule_export]
    use super::memory::{Memory, View};
    #[pymodule_export]
    use super::pending::Pending;
    #[pymodule_export]
    use super::queue::{RawQueue, remove};
    #[pymodule_export]
    use super::remote::{RawRemote, RemoteDelivery};
}
