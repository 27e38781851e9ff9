//! The tools of models: loom sees the bytes of a region, and tries the orders that matter. Also the example's model.
//!
//! Without loom each model runs once, for real.

use multiproc_prim::model::{Arc, model, thread};
use multiproc_prim::{AtomicU32, AtomicU64, Heap, Ordering, Region, futex};
use std::collections::HashSet;
use std::sync::Mutex;

/// One thread looks, then exchanges. Another one must see it before and after the exchange, or no model proves anything.
#[test]
fn an_exchange_after_a_look_is_tried_before_another_threads_look() {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let all = Arc::clone(&seen);
    model(move || {
        let region = Region::new(Heap::new(4096));
        let word = region.place::<AtomicU64>(64).unwrap();
        word.make_fresh();
        let other = word.clone();
        let thread = thread::spawn(move || {
            let old = other.load(Ordering::Relaxed);
            other.compare_exchange(old, 1, Ordering::Relaxed, Ordering::Relaxed).unwrap();
        });
        seen.lock().unwrap().insert(word.load(Ordering::Relaxed));
        thread.join().unwrap();
    });
    let seen = all.lock().unwrap();
    assert_eq!(seen.len(), if cfg!(loom) { 2 } else { 1 });
}

#[path = "../examples/mailbox.rs"]
#[expect(dead_code, reason = "an example has a main function")]
mod mailbox;

#[test]
fn the_letters_of_the_example_come_once_and_in_order() {
    model(mailbox::letters_come_once_and_in_order);
}

#[test]
fn a_sleeper_is_woken_or_never_falls_asleep() {
    model(|| {
        let region = Region::new(Heap::new(4096));
        let word = region.place::<AtomicU32>(0).unwrap();
        word.make_fresh();
        let other = word.clone();
        let thread = thread::spawn(move || {
            other.store(1, Ordering::Release);
            futex::wake(&other, 1);
        });
        while word.load(Ordering::Acquire) == 0 {
            futex::wait(&word, 0, None);
        }
        thread.join().unwrap();
    });
}

#[cfg(loom)]
#[test]
#[should_panic(expected = "Causality violation")]
fn payload_read_without_an_order_is_caught() {
    model(|| {
        let region = Region::new(Heap::new(4096));
        let word = region.place::<AtomicU32>(0).unwrap();
        word.make_fresh();
        assert!(region.bytes(8, 8).unwrap().write(&[0; 8]));
        let (there, other) = (region.clone(), word.clone());
        let thread = thread::spawn(move || {
            assert!(there.bytes(8, 8).unwrap().write(&[1; 8]));
            other.store(1, Ordering::Relaxed);
        });
        if word.load(Ordering::Relaxed) == 1 {
            assert!(region.bytes(8, 8).unwrap().read(&mut [0; 8]));
        }
        thread.join().unwrap();
    });
}
