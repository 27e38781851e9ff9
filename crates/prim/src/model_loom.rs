//! Runs a test body in every interleaving that loom can tell apart.

pub use loom::thread;
/// Shared ownership in models: the plain one, since handles are not what a model explores.
pub use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Explores `body` with at most `LOOM_MAX_PREEMPTIONS` (default 2) preemptions per execution, and prints how many
/// executions that were.
pub fn model(body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.max_branches = builder.max_branches.max(20_000);
    let executions = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&executions);
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        body();
    });
    println!("explored {} executions", executions.load(Ordering::Relaxed));
}
