//! The futex as loom sees it: compare and queue under one lock, woken in any order, no time-outs.
//!
//! Without time-outs a lost wake-up shows as a deadlock, which is what the models look for.

use super::atomic::{AtomicU32, Ordering};
use super::explore::life;
use loom::sync::{Condvar, Mutex};
use std::time::Duration;

struct Sleeper {
    word: usize,
    woken: bool,
}

loom::lazy_static! {
    static ref SLEEPERS: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());
    static ref BELL: Condvar = Condvar::new();
}

/// Sleeps while `word` holds `expected`. The limit is ignored.
pub fn wait(word: &AtomicU32, expected: u32, _limit: Option<Duration>) {
    let me = std::ptr::from_ref(word) as usize;
    if !life::step() {
        return;
    }
    let Ok(mut sleepers) = SLEEPERS.lock() else { return };
    // The kernel compares with a full barrier under its bucket lock.
    if life::by_kernel(|| word.load(Ordering::SeqCst)) != expected {
        return;
    }
    let mine = sleepers.len();
    sleepers.push(Sleeper { word: me, woken: false });
    while !sleepers[mine].woken {
        sleepers = match BELL.wait(sleepers) {
            Ok(sleepers) => sleepers,
            Err(_) => return,
        };
    }
}

/// Wakes up to `count` sleepers of `word`. Returns how many were woken.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    let me = std::ptr::from_ref(word) as usize;
    if !life::step() {
        return 0;
    }
    let Ok(mut sleepers) = SLEEPERS.lock() else { return 0 };
    let mut woken = 0;
    for sleeper in sleepers.iter_mut().filter(|s| s.word == me && !s.woken) {
        if woken == count as usize {
            break;
        }
        sleeper.woken = true;
        woken += 1;
    }
    if woken > 0 {
        BELL.notify_all();
    }
    woken
}
