//! The end of a queue whose senders are gone: in every interleaving it comes, it never comes too early, and everything that was sent
//! before it is received.
//!
//! Without loom each model runs once, for real.

use multiproc_prim::model::{Arc, model, model_deaths, mortal, thread};
use multiproc_prim::{AtomicU64, Deadline, Heap, Ordering, Place, Region};
use multiproc_ring::mpmc::{Geometry, Owner};
use multiproc_sync::{Census, Channel, ChannelPopError, channel_len};

/// A census, and the counts of two processes.
#[derive(Clone)]
struct Counts {
    census: Place<Census>,
    of: [Place<AtomicU64>; 2],
}

impl Counts {
    fn new() -> Self {
        let region = Region::new(Heap::new(4096));
        let census: Place<Census> = region.place(0).unwrap();
        census.make_fresh();
        let of = [64, 128].map(|at| {
            let count: Place<AtomicU64> = region.place(at).unwrap();
            count.make_fresh();
            count
        });
        Self { census, of }
    }

    fn enter(&self, process: usize) {
        self.census.enter(&self.of[process]);
    }

    /// Leaves, and returns whether that was the end.
    fn leave(&self, process: usize) -> bool {
        self.census.leave(&self.of[process]) == 1 && self.is_over()
    }

    fn is_over(&self) -> bool {
        self.census.is_over(|| self.of.iter().any(|count| count.load(Ordering::Acquire) > 0))
    }
}

#[test]
fn a_count_that_is_handed_on_is_never_overlooked() {
    // Whichever word is read first.
    for (from, to) in [(0, 1), (1, 0)] {
        model(move || {
            let counts = Counts::new();
            counts.enter(from);
            let theirs = counts.clone();
            let hands_on = thread::spawn(move || {
                theirs.enter(to);
                assert!(!theirs.leave(from));
            });
            assert!(!counts.is_over());
            hands_on.join().unwrap();
        });
    }
}

#[test]
fn a_count_that_a_voucher_carries_is_never_overlooked() {
    model(|| {
        let (counts, voucher) = (Counts::new(), Region::new(Heap::new(4096)).place::<AtomicU64>(0).unwrap());
        voucher.make_fresh();
        counts.enter(0);
        let (theirs, theirs_too) = (counts.clone(), voucher.clone());
        let sends = thread::spawn(move || {
            // The kernel's lock, taken and freed.
            theirs_too.store(1, Ordering::Release);
            theirs.census.announce();
            theirs.census.leave(&theirs.of[0]);
            theirs.enter(1);
            theirs_too.store(0, Ordering::Release);
        });
        let is_counted =
            || counts.of.iter().any(|count| count.load(Ordering::Acquire) > 0) || voucher.load(Ordering::Acquire) > 0;
        assert!(!counts.census.is_over(is_counted));
        sends.join().unwrap();
    });
}

#[test]
fn of_two_processes_that_leave_at_once_at_least_one_finds_the_end() {
    model(|| {
        let counts = Counts::new();
        counts.enter(0);
        counts.enter(1);
        let theirs = counts.clone();
        let other = thread::spawn(move || theirs.leave(1));
        let ours = counts.leave(0);
        assert!(other.join().unwrap() || ours);
    });
}

#[test]
fn a_process_that_enters_and_leaves_while_another_one_leaves_hides_no_end() {
    model(|| {
        let counts = Counts::new();
        counts.enter(0);
        let theirs = counts.clone();
        let other = thread::spawn(move || {
            theirs.enter(1);
            theirs.leave(1)
        });
        let ours = counts.leave(0);
        assert!(other.join().unwrap() || ours);
    });
}

fn pop(channel: &Channel) -> Result<Vec<u8>, ChannelPopError> {
    let mut message = Vec::new();
    channel.pop(&mut message, Deadline::NEVER).map(|_| message)
}

#[test]
fn what_was_sent_before_the_last_sender_left_is_received_before_the_end() {
    model(|| {
        let geometry = Geometry { memory: 64, max_message: 32, ..Geometry::new(1) };
        let region = Region::new(Heap::new(channel_len(&geometry).unwrap()));
        let ours = Channel::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
        let theirs = Arc::new(Channel::attach(&region, 0, &geometry, Owner::new(1, 0)).unwrap());
        let counts = Counts::new();
        counts.enter(0);
        let sender = counts.clone();
        let sends = thread::spawn(move || {
            ours.push(b"last", Deadline::NEVER).unwrap();
            if sender.leave(0) {
                ours.shut_down();
            }
        });
        // As a look for the dead does.
        if counts.is_over() {
            theirs.shut_down();
        }
        assert_eq!([pop(&theirs), pop(&theirs)], [Ok(b"last".to_vec()), Err(ChannelPopError::ShutDown)]);
        sends.join().unwrap();
    });
}

#[test]
fn a_process_that_dies_anywhere_on_its_way_out_leaves_the_end_to_a_look() {
    model_deaths(|steps| {
        let counts = Counts::new();
        counts.enter(0);
        counts.enter(1);
        let theirs = counts.clone();
        let leaves = thread::spawn(move || mortal(steps, || theirs.leave(0)));
        let ours = counts.leave(1);
        let died = leaves.join().unwrap().is_none();
        // The row of the dead counts for nothing.
        let is_counted = || counts.of[1].load(Ordering::Acquire) > 0 || !died && counts.of[0].load(Ordering::Acquire) > 0;
        assert!(counts.census.is_over(is_counted) || ours);
    });
}
