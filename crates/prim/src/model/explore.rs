//! Models: test bodies that run in every interleaving that loom can tell apart.

pub use loom::thread;
use std::cell::Cell;
/// The standard library's: a model does not explore the counting of handles.
pub use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Explores `body` with at most `LOOM_MAX_PREEMPTIONS` (default 2) preemptions in an execution. Prints how many executions it explored.
pub fn model(body: impl Fn() + Sync + Send + 'static) {
    println!("explored {} executions", explore(None, body));
}

/// Runs nothing: the body of an example is for real threads and real time.
pub fn for_real<E: std::fmt::Debug>(body: impl FnOnce() -> Result<(), E>) {
    let _ = body;
}

/// Explores `body` as [`model`] does, but without preemptions: a thread goes on until it ends, waits or spins.
///
/// For long stories in which one thread is [away](steadily) all the while. What that thread has read may still be old.
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
    /// Whether a [`mortal`] thread has died since [`model_deaths`] last asked. All of a model runs on one thread of the system.
    static DIED: Cell<bool> = const { Cell::new(false) };
}

/// Explores `body` once for each number of steps after which its [`mortal`] thread may die, from none to the most that it makes.
pub fn model_deaths(body: impl Fn(u32) + Sync + Send + Copy + 'static) {
    explore_deaths(None, body);
}

/// Explores `body` as [`model_deaths`] does, but without preemptions: see [`model_in_turn`].
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

/// Runs `life`. Its thread stops for good after that many steps on shared memory, as a killed process does. Then the result is `None`.
///
/// To stop, the thread unwinds. Nothing that it does while it unwinds has an effect on shared memory, so its destructors give nothing back.
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
    /// Whether this thread goes on when it spins, and does not give way.
    static IS_STEADY: Cell<bool> = Cell::new(false);
}

/// Runs `work`. Its thread never gives way while it spins: another thread goes on only where the model preempts this one. So another
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

    /// Runs what the kernel does for this thread as one step: the thread can't die within it.
    pub(crate) fn by_kernel<T>(work: impl FnOnce() -> T) -> T {
        let life = LIFE.with(|now| now.replace(Life::Immortal));
        let result = work();
        set(life);
        result
    }

    /// Counts one step of this thread. Returns whether the step has an effect: `false` once the thread is dead.
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
