//! Writes words anywhere into a queue's segment while two handles write and read messages in place, also while a message is in
//! hand. Errors and wrong values are fine. A panic, a hang or an access out of bounds is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiproc_queue::Queue;
use multiproc_shm::{Kind, Segment};
use multiproc_travel::pass;
use std::time::Duration;

fuzz_target!(|ops: Vec<(u8, u16, u64)>| {
    let queue: Queue<u32> = Queue::builder().bounded(4).memory(64 << 10).max_message(1000).participants(2).build().unwrap();
    let mut parcel = pass::encode(&queue).unwrap();
    let segment = Segment::attach(parcel.descriptors.remove(0), Kind(*b"QUEU")).unwrap();
    let word = |at: u16| segment.region().bytes(usize::from(at) * 8 % segment.region().len().min(128 << 10), 8).unwrap();
    let mut in_hand = Vec::new();
    for (op, at, value) in ops.into_iter().take(48) {
        match op % 5 {
            // The slot may be gone by now. Then `send` would wait for ever, and the deadline gives the loan back.
            0 if !queue.is_full() => {
                if let Ok(loan) = queue.try_loan(usize::from(at % 300)) {
                    let fits = loan.copy_from(0, &[value as u32; 7]);
                    assert_eq!(fits, loan.len() >= 7);
                    assert!(!loan.set(loan.len(), 1));
                    drop(loan.send_timeout(Duration::ZERO));
                }
            }
            1 => in_hand.extend(queue.try_borrow()),
            2 => drop(in_hand.pop()),
            3 => {
                for message in &in_hand {
                    assert_eq!(message.to_vec().len(), message.len());
                    assert_eq!(message.iter().count(), message.len());
                    assert_eq!(message.get(message.len()), None);
                }
            }
            _ => drop(word(at).write(&value.to_ne_bytes())),
        }
    }
});
