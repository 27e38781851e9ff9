//! `init`: where a new process leaves `main`, and the end of `main` in the one that goes on.

use crate::child::Orders;
use crate::family;
use multiproc_prim::stamp;
use multiproc_prim::{AtomicU32, Ordering, light_fence};
use std::sync::{Mutex, OnceLock, TryLockError};

/// Whether `init` was called in this process, or in the one that it was forked from.
static CALLED: AtomicU32 = AtomicU32::new(0);

/// In a new process, what `init` has to do. It is set before `main`, while there is one thread, and taken once.
static ORDERS: OnceLock<Mutex<Option<Orders>>> = OnceLock::new();

/// Keep it for the length of `main`: dropped, it ends the daemons and waits for the other children.
///
/// What it waits for is said on standard error after a second: an error that `main` returns is printed only afterwards.
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
    CALLED.store(1, Ordering::Release);
    match with_orders(Option::take).flatten() {
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
    CALLED.load(Ordering::Acquire) != 0
}

/// Whether this is a new process whose `main` has not called [`init`] yet.
pub(crate) fn is_waiting_for_init() -> bool {
    with_orders(|orders| orders.is_some()).unwrap_or(false)
}

/// Leaves orders for `init`.
pub(crate) fn expect_init(orders: Orders) {
    let _ = ORDERS.set(Mutex::new(Some(orders)));
}

/// Never waits: in a forked copy, a thread that is not there could hold the lock. Another thread that has it takes the orders.
fn with_orders<R>(look: impl FnOnce(&mut Option<Orders>) -> R) -> Option<R> {
    match ORDERS.get()?.try_lock() {
        Ok(mut orders) => Some(look(&mut orders)),
        Err(TryLockError::Poisoned(poisoned)) => Some(look(&mut poisoned.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}
