//! A lock that a panic leaves usable.

use crate::base::mutex;
pub use crate::base::mutex::MutexGuard;
use std::sync::PoisonError;

/// A lock between the threads of this process. A panic of its holder leaves it usable.
#[derive(Debug, Default)]
pub struct Mutex<T>(mutex::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub fn new(value: T) -> Self {
        Self(mutex::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
