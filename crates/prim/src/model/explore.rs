//! Runs a test body in every interleaving that loom can tell apart.

pub use loom::thread;
use std::cell::Cell;
/// Shared ownership in models: the plain one, since handles are not what a model explores.
pub use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Explores `body` with at most `LOOM_MAX_PREEMPTIONS` (default 2) preemptions per execution, and prints how many
/// executions that were.
pub fn model(body: impl Fn() + Sync + Send + 'static) {
    println!("explored {} executions", explore(None, body));
}

/// As [`model`], without preemptions: a thread goes on until it ends, waits or gives way. For long stories in which one thread is
/// [away](steadily) all the while; what it has read may be old all the same.
pub fn model_in_turn(body: impl Fn() + Sync + Send + 'static) {
    println!("explored {} executions", explore(Some(0), body));
}

fn explore(preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) -> u64 {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions.or(builder.preemption_bound).or(Some(2));
    builder.max_branches = builder.max_branches.max(20_000);
    let executions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&executions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    executions.load(Ordering::Relaxed)
}

thread_local! {
    /// Whether a [`mortal`] has died since [`model_deaths`] last asked. All of a model runs on one thread of the system.
    static DIED: Cell<bool> = const { Cell::new(false) };
}

/// Explores `body` once for every number of steps after which its [`mortal`] may die, from none to as many as it makes at most.
pub fn model_deaths(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    explore_deaths(None, body);
}

/// As [`model_deaths`], without preemptions, as [`model_in_turn`].
pub fn model_deaths_in_turn(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    explore_deaths(Some(0), body);
}

fn explore_deaths(preemptions: Option<usize>, body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    let (mut steps, mut executions) = (0, 0);
    loop {
        executions += explore(preemptions, move || body(steps));
        if !DIED.take() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 0, "nobody died");
    println!("explored {executions} executions, with a death after each of {steps} steps");
}

/// Runs `life`, whose thread stops for good after so many steps on shared memory: then the result is `None`.
///
/// Stopping is an unwinding during which nothing that the thread does has an effect on shared memory: what its destructors would
/// give back stays as a killed process leaves it.
pub fn mortal<T>(steps: u32, life: impl FnOnce() -> T) -> Option<T> {
    life::set(life::Life::Steps(steps));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(life));
    life::set(life::Life::Immortal);
    match ended {
        Ok(result) => Some(result),
        Err(reason) if reason.is::<life::Died>() => {
            DIED.set(true);
            None
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

loom::thread_local! {
    /// Whether this thread gives way when it spins.
    static IS_STEADY: Cell<bool> = Cell::new(false);
}

/// Runs `work`, whose thread never gives way while it spins: another one goes on in between only where the model preempts it. So another
/// thread can be away for as long as `work` takes.
pub fn steadily<T>(work: impl FnOnce() -> T) -> T {
    let before = IS_STEADY.with(|steady| steady.replace(true));
    let result = work();
    IS_STEADY.with(|steady| steady.set(before));
    result
}

pub(crate) fn give_way() {
    if !IS_STEADY.with(Cell::get) {
        thread::yield_now();
    }
}

/// How many more steps this thread has.
pub(crate) mod life {
    use std::cell::Cell;

    #[derive(Clone, Copy)]
    pub(super) enum Life {
        Immortal,
        Steps(u32),
        Over,
    }

    /// What a dying thread unwinds with.
    pub(super) struct Died;

    loom::thread_local! {
        static LIFE: Cell<Life> = Cell::new(Life::Immortal);
    }

    pub(super) fn set(life: Life) {
        LIFE.with(|now| now.set(life));
    }

    /// Does what the kernel does on behalf of this thread, in one go: no death comes between.
    pub(crate) fn by_kernel<T>(work: impl FnOnce() -> T) -> T {
        let life = LIFE.with(|now| now.replace(Life::Immortal));
        let result = work();
        set(life);
        result
    }

    /// One step of this thread. Returns whether it has an effect: not once the thread is dead.
    pub(crate) fn step() -> bool {
        LIFE.with(|life| match life.get() {
            Life::Immortal => true,
            Life::Steps(0) => {
                life.set(Life::Over);
                std::panic::resume_unwind(Box::new(Died))
            }
            Life::Steps(left) => {
                life.set(Life::Steps(left - 1));
                true
            }
            Life::Over => false,
        })
    }
}
