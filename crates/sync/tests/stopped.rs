//! A sleeper that is woken and stopped before it acts keeps nobody else asleep.

#![cfg(not(loom))]

use multiproc_prim::{AtomicU32, Deadline, Heap, Ordering, Place, Region};
use multiproc_sync::{EventCount, Pace};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn shared<T: multiproc_prim::Shared>() -> Place<T> {
    let place: Place<T> = Region::new(Heap::new(4096)).place(0).unwrap();
    place.make_fresh();
    place
}

#[test]
fn what_was_to_be_taken_by_a_stopped_sleeper_is_taken_by_another_soon() {
    let (event, item) = (shared::<EventCount>(), shared::<AtomicU32>());
    let (taken, news) = mpsc::channel();
    let (rests, resting) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..5 {
        let (event, item, taken, rests) = (event.clone(), item.clone(), taken.clone(), rests.clone());
        threads.push(std::thread::spawn(move || {
            // No time-out: only a wake-up helps.
            let rest = || {
                let _ = rests.send(());
                Duration::from_secs(3600)
            };
            let mut stopped = false;
            event.wait_until((Deadline::NEVER, rest), &Pace::default(), || {
                if item.load(Ordering::Acquire) == 1 && !stopped && number == 0 {
                    // The first one is stopped between being woken and acting.
                    stopped = true;
                    std::thread::sleep(Duration::from_secs(1));
                }
                item.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok().then_some(())
            });
            taken.send(number).unwrap();
        }));
        // Each one rests before the next one comes, so that the kernel wakes them in this order.
        resting.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    // Nothing tells that the last one has come to sleep in the kernel; if it has not, it helps the others, and the test says less.
    std::thread::sleep(Duration::from_millis(50));
    item.store(1, Ordering::Release);
    event.wake(1);
    let put = Instant::now();
    assert_ne!(news.recv_timeout(Duration::from_secs(30)).unwrap(), 0);
    println!("after {:?}", put.elapsed());
    // The promise is 100 ms; the rest is for a machine that is busy with other tests.
    assert!(put.elapsed() < Duration::from_millis(400), "{:?}", put.elapsed());
    for _ in 1..5 {
        item.store(1, Ordering::Release);
        event.wake_all();
        news.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
