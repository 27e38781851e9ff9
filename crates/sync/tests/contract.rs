//! Deadlines, and what waiting costs.
#![cfg(not(loom))]

use multiproc_prim::{Deadline, Heap, Region};
use multiproc_ring::mpmc::{Geometry, Owner};
use multiproc_sync::{Channel, EventCount, GetError, Pace, PutError, SLICE, channel_len};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(120);

fn channel(slots: u32) -> Channel {
    let geometry = Geometry::new(slots);
    let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
    Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap()
}

#[test]
fn a_deadline_is_kept_and_not_cut_short() {
    let channel = channel(1);
    let begin = Instant::now();
    assert_eq!(channel.pop(&mut Vec::new(), Deadline::after(SHORT), || SLICE), Err(GetError::Empty));
    channel.push(b"1", Deadline::NEVER, || SLICE).unwrap();
    assert_eq!(channel.push(b"2", Deadline::after(SHORT), || SLICE), Err(PutError::Full));
    let took = begin.elapsed();
    assert!(took >= 2 * SHORT && took < 20 * SHORT, "{took:?}");
}

#[test]
fn wakes_for_nothing_do_not_end_a_wait() {
    let region = Region::new(Heap::new(4096));
    let event = region.place::<EventCount>(0).unwrap();
    let waiting = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while waiting.load(std::sync::atomic::Ordering::Relaxed) {
                event.wake_all();
                std::thread::yield_now();
            }
        });
        let begin = Instant::now();
        let got = event.wait_until(Deadline::after(SHORT), &Pace::default(), || SLICE, || None::<()>);
        waiting.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(got, None);
        assert!(begin.elapsed() >= SHORT && begin.elapsed() < 20 * SHORT);
    });
}

#[test]
fn a_sleeper_looks_around() {
    let region = Region::new(Heap::new(4096));
    let event = region.place::<EventCount>(0).unwrap();
    let mut looks = 0;
    event.wait_until(
        Deadline::after(4 * SHORT),
        &Pace::default(),
        || {
            looks += 1;
            SLICE
        },
        || None::<()>,
    );
    assert!((3..40).contains(&looks), "{looks}");
}

#[test]
fn a_zero_deadline_never_waits() {
    let channel = channel(1);
    let now = Deadline::after(Duration::ZERO);
    for _ in 0..1000 {
        assert_eq!(channel.pop(&mut Vec::new(), now, || SLICE), Err(GetError::Empty));
    }
    channel.push(b"1", now, || SLICE).unwrap();
    assert_eq!(channel.push(b"2", now, || SLICE), Err(PutError::Full));
}
