//! Runs a test body once, for real. Under loom the same names explore every interleaving.

pub use std::sync::Arc;
pub use std::thread;

/// Runs `body`: once here, in every interleaving under loom.
pub fn model(body: impl Fn() + Sync + Send + 'static) {
    body();
}

/// As [`model`], and under loom without preemptions.
pub fn model_in_turn(body: impl Fn() + Sync + Send + 'static) {
    body();
}

/// Runs `body` as [`model`] does: once here, and under loom once for every number of steps after which its [`mortal`] may die.
pub fn model_deaths(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    model(move || body(0));
}

/// As [`model_deaths`], and under loom without preemptions.
pub fn model_deaths_in_turn(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    model_deaths(body);
}

/// Runs `life`. Under loom its thread stops for good after so many steps on shared memory: then the result is `None`.
pub fn mortal<T>(_steps: u32, life: impl FnOnce() -> T) -> Option<T> {
    Some(life())
}

/// Runs `work`. Under loom its thread never gives way while it spins: another one goes on in between only where the model preempts it.
/// So another thread can be away for as long as `work` takes.
pub fn steadily<T>(work: impl FnOnce() -> T) -> T {
    work()
}
