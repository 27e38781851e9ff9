//! `init`: where a new process leaves `main`, and the end of `main` in the one that goes on.

use crate::child::Orders;
use crate::family;
use multiproc_prim::light_fence;
use multiproc_shm::stamp;
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
struct Guarded {
    /// `init` was called in this process.
    called: bool,
    /// In a new process before `init`: what to do there.
    orders: Option<Orders>,
}

static GUARDED: Mutex<Guarded> = Mutex::new(Guarded { called: false, orders: None });

fn guarded() -> std::sync::MutexGuard<'static, Guarded> {
    GUARDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keep it for the length of `main`: dropped, it ends the daemons, waits for the other children, and writes out what queues
/// still have buffered.
#[derive(Debug)]
#[must_use = "bind it to a name (let _main = …): dropped at once, it ends the daemons before there are any"]
pub struct Main {
    stamp: u64,
}

/// The first line of `main` (Python: `if __name__ == "__main__"`, and what happens at exit).
///
/// In a new process it runs the function that was asked for and does not return. In all others it returns at once.
///
/// A program that does not call it works too: its new processes run their function before `main`. Tests and benches rely
/// on that. But then nobody waits for children when `main` ends, and daemons end by the death of their parent alone.
///
/// ```
/// let _main = multiproc_process::init();
/// ```
pub fn init() -> Main {
    // The first one is half a microsecond while there is one thread, and ten milliseconds for the first pipe later.
    light_fence();
    let orders = {
        let mut guarded = guarded();
        guarded.called = true;
        guarded.orders.take()
    };
    match orders {
        Some(orders) => orders.carry_out(),
        None => Main { stamp: stamp() },
    }
}

impl Drop for Main {
    fn drop(&mut self) {
        if self.stamp == stamp() {
            family::end();
        }
    }
}

/// Whether this process's `main` called [`init`], so that its children's will.
pub(crate) fn was_called() -> bool {
    guarded().called
}

/// Whether this is a new process whose `main` has not called [`init`] yet.
pub(crate) fn is_waiting_for_init() -> bool {
    guarded().orders.is_some()
}

/// Leaves orders for `init`.
pub(crate) fn expect_init(orders: Orders) {
    guarded().orders = Some(orders);
}
