//! Putting, getting, sending and receiving small messages allocates nothing, once buffers have their size.

#![cfg(not(loom))]

use multiproc::{JoinableQueue, Queue, pipe_oneway};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of a thousand operations after a thousand others.
fn allocations(mut operation: impl FnMut()) -> u64 {
    (0..1000).for_each(|_| operation());
    let before = ALLOCATIONS.get();
    (0..1000).for_each(|_| operation());
    ALLOCATIONS.get() - before
}

#[test]
fn a_queue_allocates_nothing_for_small_values() {
    let numbers = Queue::<u64>::bounded(8).unwrap();
    let records = Queue::<[u64; 8]>::unbounded().unwrap();
    assert_eq!(allocations(|| _ = (numbers.put(7).unwrap(), numbers.get().unwrap())), 0);
    assert_eq!(allocations(|| _ = (records.put([u64::MAX; 8]).unwrap(), records.get().unwrap())), 0);
    assert_eq!(allocations(|| _ = (numbers.try_put(7).unwrap(), numbers.try_get().unwrap(), numbers.try_get().unwrap_err())), 0);
}

#[test]
fn a_joinable_queue_allocates_nothing_for_small_values() {
    let jobs = JoinableQueue::<u64>::bounded(8).unwrap();
    assert_eq!(allocations(|| _ = (jobs.put(7).unwrap(), jobs.get().unwrap(), jobs.task_done().unwrap())), 0);
}

#[test]
fn a_pipe_allocates_nothing_for_bytes() {
    let (receiver, sender) = pipe_oneway::<u64>().unwrap();
    let mut buffer = [0; 64];
    let operation = || _ = (sender.send_bytes(&[7; 64]).unwrap(), receiver.recv_bytes_into(&mut buffer).unwrap());
    assert_eq!(allocations(operation), 0);
}

#[test]
fn messages_in_place_allocate_nothing() {
    let queue = Queue::<u64>::bounded(8).unwrap();
    let operation = || {
        let loan = queue.loan(100).unwrap();
        assert!(loan.set(99, 7));
        loan.send().unwrap();
        assert_eq!(queue.borrow().unwrap().get(99), Some(7));
    };
    assert_eq!(allocations(operation), 0);
}
