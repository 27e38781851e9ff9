//! Models: test bodies that run once, for real, and under loom in every interleaving.

pub use std::sync::Arc;
pub use std::thread;

/// Runs `body` once, or under loom in every interleaving.
///
/// Loom tries at most two preemptions in an execution, or as many as the environment variable `LOOM_MAX_PREEMPTIONS` says. It prints how
/// many executions it explored.
pub fn model(body: impl Fn() + Sync + Send + 'static) {
    body();
}

/// Runs the body of an example, but not under loom: for examples of real threads and real time. There it is compiled only.
///
/// # Panics
///
/// `body` returns an error.
pub fn for_real<E: std::fmt::Debug>(body: impl FnOnce() -> Result<(), E>) {
    body().expect("an example works");
}

/// Runs `body` as [`model`] does, but under loom without preemptions: a thread goes on until it ends, waits or spins.
///
/// For long stories in which one thread is away all the while: see [`steadily`].
pub fn model_in_turn(body: impl Fn() + Sync + Send + 'static) {
    body();
}

/// Runs `body` as [`model`] does, and under loom once more for each number of steps after which its [`mortal`] thread may die.
///
/// ```
/// use multiproc_prim::model::{model_deaths, mortal, thread};
/// use multiproc_prim::{AtomicU64, Heap, Ordering, Region};
///
/// model_deaths(|steps| {
///     let count = Region::new(Heap::new(4096)).place::<AtomicU64>(0).unwrap();
///     count.make_fresh();
///     let theirs = count.clone();
///     let worker = thread::spawn(move || mortal(steps, || theirs.fetch_add(1, Ordering::Relaxed)));
///     let lives = worker.join().unwrap().is_some();
///     assert_eq!(count.load(Ordering::Relaxed), u64::from(lives));
/// });
/// ```
pub fn model_deaths(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    model(move || body(0));
}

/// Runs `body` as [`model_deaths`] does, but under loom without preemptions: see [`model_in_turn`].
pub fn model_deaths_in_turn(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    model_deaths(body);
}

/// Runs `life`. Under loom its thread stops for good after that many steps on shared memory, as a killed process does. Then the result
/// is `None`.
pub fn mortal<T>(_steps: u32, life: impl FnOnce() -> T) -> Option<T> {
    Some(life())
}

/// Runs `work`. Under loom its thread never gives way while it spins: another thread goes on only where the model preempts this one.
/// So another thread can be away for as long as `work` takes.
pub fn steadily<T>(work: impl FnOnce() -> T) -> T {
    work()
}
