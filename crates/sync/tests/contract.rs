//! Deadlines, and what waiting costs.
#![cfg(not(loom))]

use multiproc_prim::{Deadline, Heap, Region};
use multiproc_ring::mpmc::{Geometry, Lane, Owner};
use multiproc_sync::{Channel, ChannelPopError, ChannelPushError, EventCount, Pace, SLICE, channel_len};
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
    assert_eq!(channel.pop(&mut Vec::new(), Deadline::after(SHORT)), Err(ChannelPopError::Timeout));
    channel.push(b"1", Deadline::NEVER).unwrap();
    assert_eq!(channel.push(b"2", Deadline::after(SHORT)), Err(ChannelPushError::Timeout));
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
        let got = event.wait_until(Deadline::after(SHORT), &Pace::default(), || None::<()>);
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
    let look = || {
        looks += 1;
        SLICE
    };
    event.wait_until((Deadline::after(4 * SHORT), look), &Pace::default(), || None::<()>);
    assert!((3..40).contains(&looks), "{looks}");
}

#[test]
fn a_zero_deadline_never_waits() {
    let channel = channel(1);
    let now = Deadline::after(Duration::ZERO);
    for _ in 0..1000 {
        assert_eq!(channel.pop(&mut Vec::new(), now), Err(ChannelPopError::Timeout));
        assert_eq!(channel.pop(&mut Vec::new(), Deadline::NOW), Err(ChannelPopError::Empty));
    }
    channel.push(b"1", now).unwrap();
    assert_eq!(channel.push(b"2", now), Err(ChannelPushError::Timeout));
    assert_eq!(channel.push(b"2", Deadline::NOW), Err(ChannelPushError::Full));
}

#[test]
fn a_wait_ends_when_a_look_around_says_so() {
    let region = Region::new(Heap::new(4096));
    let event = region.place::<EventCount>(0).unwrap();
    let mut tries = 0;
    let attempt = || {
        tries += 1;
        None::<()>
    };
    assert_eq!(event.wait_until((Deadline::NEVER, || false), &Pace::default(), attempt), None);
    assert!(tries > 1);
}

#[test]
fn a_block_that_is_dropped_wakes_a_producer_that_waits_for_memory() {
    // Room for one message, in one block.
    let geometry = Geometry { small_in_slots: false, memory: 64, max_message: 48, ..Geometry::new(4) };
    let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
    let ours = Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    let theirs = Channel::attach(&region, 0, &geometry, Owner::new(1, 0)).unwrap();
    for pushed in [false, true] {
        let block = match pushed {
            false => ours.alloc(8, Deadline::NOW).unwrap(),
            true => {
                ours.push(b"x", Deadline::NOW).unwrap();
                ours.pop_block(&[Lane::Main], Deadline::NOW).unwrap()
            }
        };
        std::thread::scope(|scope| {
            let (rests, resting) = std::sync::mpsc::channel();
            let theirs = &theirs;
            let producer = scope.spawn(move || {
                // No time-out: only a wake-up helps.
                let rest = || {
                    let _ = rests.send(());
                    Duration::from_secs(3600)
                };
                theirs.push(b"y", (Deadline::NEVER, rest)).unwrap();
            });
            // Its first sleep is over, and the next one has no end.
            resting.recv_timeout(Duration::from_secs(30)).unwrap();
            drop(block);
            producer.join().unwrap();
        });
        assert_eq!(ours.pop(&mut Vec::new(), Deadline::NOW), Ok(1));
    }
}
