//! The futex as loom sees it: compare and queue under one lock, woken in any order, no time-outs.
//!
//! Without time-outs a lost wake-up shows as a deadlock, which is what the models look for.

use super::atomic::{AtomicU32, Ordering};
use super::explore::life;
use loom::sync::{Condvar, Mutex};
use std::time::Duration;

/// A sleeper's place in the queue of one word. The places of one sleeper share its number.
struct Place {
    sleeper: usize,
    word: usize,
    woken: bool,
}

#[derive(Default)]
struct Queue {
    sleepers: usize,
    places: Vec<Place>,
}

loom::lazy_static! {
    static ref QUEUE: Mutex<Queue> = Mutex::new(Queue::default());
    static ref BELL: Condvar = Condvar::new();
}

/// The most words that [`wait_any`] takes.
pub const MOST_WORDS: usize = 128;

/// Sleeps while `word` holds `expected`. The limit is ignored.
pub fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    wait_any(&[(word, expected)], limit);
}

/// Sleeps while each word holds what is expected of it. The limit is ignored.
///
/// The kernel compares and queues word by word. Here it is one step: a wake-up in between would end the call, and so does a change.
pub fn wait_any(words: &[(&AtomicU32, u32)], _limit: Option<Duration>) {
    if !life::step() {
        return;
    }
    let Ok(mut queue) = QUEUE.lock() else { return };
    // The kernel compares with a full barrier under its bucket lock.
    if words.iter().any(|(word, expected)| life::by_kernel(|| word.load(Ordering::SeqCst)) != *expected) {
        return;
    }
    queue.sleepers += 1;
    let sleeper = queue.sleepers;
    queue.places.extend(words.iter().map(|(word, _)| Place { sleeper, word: address(word), woken: false }));
    while !queue.places.iter().any(|place| place.sleeper == sleeper && place.woken) {
        queue = match BELL.wait(queue) {
            Ok(queue) => queue,
            Err(_) => return,
        };
    }
    queue.places.retain(|place| place.sleeper != sleeper);
}

/// Wakes up to `count` sleepers of `word`. Returns how many were woken.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    if !life::step() {
        return 0;
    }
    let Ok(mut queue) = QUEUE.lock() else { return 0 };
    let mut woken = 0;
    for place in queue.places.iter_mut().filter(|place| place.word == address(word) && !place.woken) {
        if woken == count as usize {
            break;
        }
        place.woken = true;
        woken += 1;
    }
    if woken > 0 {
        BELL.notify_all();
    }
    woken
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word) as usize
}
