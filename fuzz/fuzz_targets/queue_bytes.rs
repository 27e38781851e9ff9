//! Writes words anywhere into a queue's segment between operations of two handles. Errors and wrong values are fine. A panic, a
//! hang or an access out of bounds is not.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc_queue::{JoinableQueue, Queue};
use multiproc_shm::{Kind, Segment};
use multiproc_travel::pass;
use std::time::Duration;

#[derive(Arbitrary, Debug)]
enum Op {
    Put(bool, u16),
    Get(bool),
    TaskDone(bool),
    Deliver(bool, bool),
    Letter(bool, bool),
    Join(bool),
    Look(bool),
    Shutdown,
    Write(u16, u64),
    /// Copies a word from elsewhere in the segment: a replay.
    Copy(u16, u16),
    Flip(u16, u8),
}

fuzz_target!(|input: (bool, Vec<Op>)| {
    let (joinable, ops) = input;
    if joinable {
        let builder = JoinableQueue::<Vec<u8>>::builder().bounded(4).memory(64 << 10).max_message(1000);
        let queue = builder.participants(3).max_deliveries(2).build().unwrap();
        let parcel = pass::encode(&queue).unwrap();
        let segment = Segment::attach(parcel.descriptors[0].try_clone().unwrap(), Kind(*b"JOIN")).unwrap();
        let other: JoinableQueue<Vec<u8>> = pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
        run(&segment, ops, |op, first| joinable_op(op, if first { &queue } else { &other }));
    } else {
        let builder = Queue::<Vec<u8>>::builder().bounded(4).memory(64 << 10).max_message(1000);
        let queue = builder.participants(3).build().unwrap();
        let parcel = pass::encode(&queue).unwrap();
        let segment = Segment::attach(parcel.descriptors[0].try_clone().unwrap(), Kind(*b"QUEU")).unwrap();
        let other: Queue<Vec<u8>> = pass::decode(&parcel.bytes, parcel.descriptors).unwrap();
        run(&segment, ops, |op, first| queue_op(op, if first { &queue } else { &other }));
    }
});

/// Does the writes, and hands the other operations to `operate`.
fn run(segment: &Segment, ops: Vec<Op>, operate: impl Fn(&Op, bool)) {
    // Words are written where the header, the table, the queue's words and the slots are, before most of the blocks.
    let word = |at: u16| segment.region().bytes(usize::from(at) * 8 % segment.region().len().min(128 << 10), 8).unwrap();
    for op in ops.into_iter().take(48) {
        match op {
            Op::Write(at, value) => drop(word(at).write(&value.to_ne_bytes())),
            Op::Copy(from, to) => {
                let mut bytes = [0; 8];
                assert!(word(from).read(&mut bytes));
                assert!(word(to).write(&bytes));
            }
            Op::Flip(at, bit) => {
                let mut bytes = [0; 8];
                assert!(word(at).read(&mut bytes));
                assert!(word(at).write(&(u64::from_ne_bytes(bytes) ^ 1 << (bit % 64)).to_ne_bytes()));
            }
            Op::Put(first, _)
            | Op::Get(first)
            | Op::TaskDone(first)
            | Op::Deliver(first, _)
            | Op::Letter(first, _)
            | Op::Join(first)
            | Op::Look(first) => operate(&op, first),
            Op::Shutdown => operate(&op, true),
        }
    }
}

fn joinable_op(op: &Op, queue: &JoinableQueue<Vec<u8>>) {
    match *op {
        Op::TaskDone(_) => drop(queue.task_done()),
        Op::Deliver(_, done) => {
            if let Ok(delivery) = queue.try_get_delivery() {
                let _ = delivery.count();
                if done { drop(delivery.done()) } else { delivery.give_back() }
            }
        }
        Op::Letter(_, back) => {
            if let Ok(letter) = queue.try_get_dead()
                && back
            {
                let _ = letter.try_put_back();
            }
        }
        Op::Join(_) => drop(queue.join_timeout(Duration::ZERO)),
        Op::Put(_, len) => drop(queue.try_put(vec![len as u8; usize::from(len % 1200)])),
        Op::Get(_) => drop(queue.try_get()),
        Op::Look(_) => {
            let _ = (queue.len(), queue.is_empty(), queue.is_full(), format!("{queue:?}"));
        }
        Op::Shutdown => queue.shutdown(),
        _ => {}
    }
}

fn queue_op(op: &Op, queue: &Queue<Vec<u8>>) {
    match *op {
        Op::Put(_, len) => drop(queue.try_put(vec![len as u8; usize::from(len % 1200)])),
        Op::Get(_) => drop(queue.try_get()),
        Op::Look(_) => {
            let _ = (queue.len(), queue.is_empty(), queue.is_full(), queue.lost(), format!("{queue:?}"));
        }
        Op::Shutdown => queue.shutdown(),
        _ => {}
    }
}
