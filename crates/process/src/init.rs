//! `init`: a new process leaves `main` here; in all others the guard that it returns ends `main` in good order.

use crate::family;
use crate::orders::Orders;
use multiproc_prim::{AtomicU32, Ordering, light_fence, stamp};
use multiproc_travel::Link;
use std::sync::{Mutex, OnceLock, TryLockError};

/// Whether `init` was called in this process, or before a fork in the process that it is a copy of.
static CALLED: AtomicU32 = AtomicU32::new(0);

/// In a new process, the orders for `init`. They are set before `main`, while there is one thread, and taken once.
static ORDERS: OnceLock<Mutex<Option<(Orders, Link)>>> = OnceLock::new();

/// Keep it for the length of `main`. When it is dropped, it ends the daemons and waits for the other children.
///
/// After a second it says on standard error which children it waits for: an error that `main` returns is printed only afterwards.
#[derive(Debug)]
#[must_use = "bind it to a name (let _main = …): dropped at once, it ends the daemons before there are any"]
pub struct Main {
    stamp: u64,
}

/// The first line of `main` (Python: `if __name__ == "__main__"`, and what happens at exit).
///
/// In a new process it runs the function that the parent asked for and does not return. In all others it returns at once.
///
/// A program that does not call it works too: its new processes run their function before `main`. Tests and benches rely
/// on that: don't call it in a test, where the new process would run the other tests first. But then nobody waits for children when `main` ends, and daemons end only because their parent has ended.
///
/// ```
/// # use multiproc_process as multiproc;
/// let _main = multiproc::init();
/// ```
pub fn init() -> Main {
    // The first fence takes half a microsecond while there is one thread. The first pipe would pay ten milliseconds for it later.
    light_fence();
    CALLED.store(1, Ordering::Release);
    match with_orders(Option::take).flatten() {
        Some((orders, link)) => orders.carry_out(link),
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
pub(crate) fn is_expected() -> bool {
    with_orders(|orders| orders.is_some()).unwrap_or(false)
}

/// Leaves orders for `init`.
pub(crate) fn expect(orders: Orders, link: Link) {
    let _ = ORDERS.set(Mutex::new(Some((orders, link))));
}

/// Never waits: in a forked copy, the thread that held the lock does not exist. `None` if another thread is taking the orders.
fn with_orders<R>(look: impl FnOnce(&mut Option<(Orders, Link)>) -> R) -> Option<R> {
    match ORDERS.get()?.try_lock() {
        Ok(mut orders) => Some(look(&mut orders)),
        Err(TryLockError::Poisoned(poisoned)) => Some(look(&mut poisoned.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}
