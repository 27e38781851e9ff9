//! The shipped rings in every interleaving: two handles on one heap region stand for two processes.
//!
//! Without loom each model runs once, for real.

use multiproc_prim::model::{Arc, model, model_in_turn, steadily, thread};
use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Finished, Geometry, Lane, Mpmc, Orphans, Owner, PopError, PushError, Unfinished};
use multiproc_ring::spsc::{Consumer, Producer, Reader, Writer, channel, records_len, region_len};

/// Rings whose tickets are about to wrap, with every message in a block, and with as few blocks as they can work with.
fn geometry(slots: u32, blocks: u64) -> Geometry {
    let first_turn = (1 << 40) - 1;
    Geometry { small_in_slots: false, memory: 64 * blocks, max_message: 16, first_turn, ..Geometry::new(slots) }
}

/// Explores `body` for 1 and 2 slots, with messages in blocks and in the slots.
fn for_each_shape(blocks: u64, body: impl Fn(Geometry) + Copy + Send + Sync + 'static) {
    for slots in [1, 2] {
        for small_in_slots in [false, true] {
            model(move || body(Geometry { small_in_slots, ..geometry(slots, blocks) }));
        }
    }
}

fn handles<const N: usize>(geometry: &Geometry) -> [Arc<Mpmc>; N] {
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let first = Mpmc::create(&region, 0, geometry, Owner::new(0, 0)).unwrap();
    let mut first = Some(first);
    std::array::from_fn(|row| {
        let attach = || Mpmc::attach(&region, 0, geometry, Owner::new(row as u32, 0)).unwrap();
        Arc::new(first.take().unwrap_or_else(attach))
    })
}

/// The oldest message, if there is one. There is no other way to fail.
fn pop(ring: &Mpmc) -> Option<u64> {
    let block = match ring.pop_block(Lane::Main) {
        Ok(block) => block,
        Err(PopError::Empty | PopError::Closed) => return None,
        Err(error) => panic!("{error}"),
    };
    let mut word = [0; 8];
    assert!(block.payload().read(&mut word));
    Some(u64::from_le_bytes(word))
}

/// Whether there was room. There is no other way to fail.
fn push(ring: &Mpmc, value: u64) -> bool {
    match ring.push(&value.to_le_bytes()) {
        Ok(()) => true,
        Err(PushError::Full | PushError::Closed | PushError::Exhausted) => false,
        Err(error) => panic!("{error}"),
    }
}

/// What a handle does once, at any end of the ring.
const OPERATIONS: [fn(&Mpmc) -> bool; 2] = [|ring| push(ring, 9), |ring| pop(ring).is_some()];

#[test]
fn two_producers_lose_nothing_and_fill_exactly() {
    for_each_shape(3, |geometry| {
        let [a, b] = handles(&geometry);
        let other = thread::spawn(move || push(&b, 2));
        let mine = push(&a, 1);
        let theirs = other.join().unwrap();
        let mut got: Vec<u64> = std::iter::from_fn(|| pop(&a)).collect();
        got.sort_unstable();
        let put: Vec<u64> = [(mine, 1), (theirs, 2)].iter().filter(|p| p.0).map(|p| p.1).collect();
        assert_eq!(got, put);
        assert_eq!(put.len(), geometry.slots as usize);
    });
}

#[test]
fn two_consumers_share_without_doubles() {
    for_each_shape(3, |geometry| {
        let [a, b] = handles(&geometry);
        let put: Vec<u64> = (1..=2).filter(|&i| push(&a, i)).collect();
        let other = thread::spawn(move || pop(&b));
        let mut got: Vec<u64> = [pop(&a), other.join().unwrap(), pop(&a)].into_iter().flatten().collect();
        got.sort_unstable();
        assert_eq!(got, put);
    });
}

#[test]
fn a_producer_and_a_consumer_keep_the_order() {
    for_each_shape(2, |geometry| {
        let [a, b] = handles(&geometry);
        let other = thread::spawn(move || [1, 2].map(|i| push(&b, i)));
        let mut got: Vec<u64> = [pop(&a), pop(&a)].into_iter().flatten().collect();
        let put = other.join().unwrap();
        got.extend(std::iter::from_fn(|| pop(&a)));
        let expected: Vec<u64> = [1, 2].into_iter().filter(|&i| put[i as usize - 1]).collect();
        assert_eq!(got, expected);
    });

    // In a turn of three slots, the shared ends are behind, and one who was away for a turn goes on from where it was.
    for small_in_slots in [false, true] {
        model(move || {
            let [a, b, away] = handles(&Geometry { small_in_slots, ..geometry(3, 3) });
            for i in 1..=3 {
                assert!(push(&a, i) && pop(&a) == Some(i));
            }
            assert!(push(&a, 4));
            let other = thread::spawn(move || [push(&b, 5), push(&b, 6)]);
            let mut got: Vec<u64> = [pop(&away), pop(&away)].into_iter().flatten().collect();
            assert_eq!(other.join().unwrap(), [true, true]);
            got.extend(std::iter::from_fn(|| pop(&a)));
            assert_eq!(got, [4, 5, 6]);
        });
    }
}

#[test]
fn whoever_sees_a_ticket_sees_the_turns_before_it() {
    for operation in OPERATIONS {
        for_each_shape(2, move |geometry| {
            let [a, b] = handles(&geometry);
            // Comes at any time during two turns: a slot older than its ticket would be called corrupt.
            let other = thread::spawn(move || operation(&b));
            for value in [1, 2] {
                push(&a, value);
                pop(&a);
            }
            other.join().unwrap();
        });
    }
}

#[test]
fn a_thread_that_goes_on_from_where_another_one_of_its_process_arrived_sees_the_turns_before_it() {
    for operation in OPERATIONS {
        model_in_turn(move || {
            let [a, shared] = handles(&Geometry { small_in_slots: true, ..geometry(1, 1) });
            // Each of them finds the slot two turns later than it left it, or sees where the other one found it.
            let threads = [shared.clone(), shared].map(|ring| thread::spawn(move || operation(&ring)));
            steadily(|| {
                for value in [1, 2] {
                    push(&a, value);
                    pop(&a);
                }
            });
            for thread in threads {
                thread.join().unwrap();
            }
        });
    }
}

#[test]
fn whoever_asks_a_shared_end_sees_the_turns_before_it() {
    for operation in OPERATIONS {
        model(move || {
            let [a, away] = handles(&Geometry { small_in_slots: true, ..geometry(3, 1) });
            let turn = |values: std::ops::RangeInclusive<u64>| {
                for value in values {
                    push(&a, value);
                    pop(&a);
                }
            };
            turn(1..=5);
            // Starts from where it was two turns ago, and may see any end that comes.
            let other = thread::spawn(move || operation(&away));
            turn(6..=8);
            other.join().unwrap();
        });
    }
}

#[test]
fn whoever_sees_room_by_a_shared_end_takes_from_there() {
    model(|| {
        // Messages in blocks: a slot does not say that its block is taken.
        let [a, away] = handles(&geometry(1, 2));
        let turn = |value| {
            push(&a, value);
            pop(&a);
        };
        turn(1);
        let other = thread::spawn(move || {
            away.has_room();
            pop(&away)
        });
        turn(2);
        other.join().unwrap();
    });
}

#[test]
fn a_block_that_is_used_again_never_mixes_messages() {
    model(|| {
        // One block for one slot: every message reuses it at once.
        let [a, b, c] = handles(&geometry(1, 1));
        assert!(push(&a, 1));
        let taker = thread::spawn(move || pop(&b));
        let putter = thread::spawn(move || push(&c, 2));
        let got = taker.join().unwrap();
        let put = putter.join().unwrap();
        assert_eq!(got, Some(1));
        assert_eq!(pop(&a), put.then_some(2));
    });
}

#[test]
fn a_look_sees_each_message_with_its_own_id() {
    for slots in [1, 2] {
        model(move || {
            let [a, b] = handles(&Geometry { small_in_slots: true, ..geometry(slots, 3) });
            assert!(push(&a, 1));
            let other = thread::spawn(move || pop(&b).is_some() && push(&b, 2));
            for seen in a.waiting(Lane::Main) {
                let seen = seen.unwrap();
                let value = u64::from_le_bytes(seen.bytes.try_into().unwrap());
                assert_eq!(seen.id.to_string(), value.to_string());
            }
            assert!(other.join().unwrap());
        });
    }
}

#[test]
fn closing_and_putting_agree_on_who_was_first() {
    for_each_shape(2, |geometry| {
        let [a, b] = handles(&geometry);
        let putter = thread::spawn(move || push(&b, 7));
        let closed = a.close_if_empty();
        let put = putter.join().unwrap();
        match closed {
            PopError::Closed => assert!(!put && pop(&a).is_none()),
            _ => assert!(put && pop(&a) == Some(7)),
        }
    });
}

#[test]
fn a_sweep_beside_living_operations_frees_exactly_the_dead_ones_blocks() {
    model(|| {
        let [a, b, dead] = handles(&geometry(1, 2));
        // Died while it wrote.
        std::mem::forget(dead.alloc(1));
        let living = thread::spawn(move || (push(&b, 5), pop(&b)));
        let swept = a.sweep(Owner::new(2, 0), Finished::default(), Orphans::Drop, || true, |_| ()).unwrap();
        assert_eq!(swept.freed, 1);
        assert_eq!(living.join().unwrap(), (true, Some(5)));
        assert!(a.alloc(1).is_ok());
    });
}

#[test]
fn two_sweeps_at_once_return_a_message_once() {
    model(|| {
        let geometry = Geometry { returns: true, ..geometry(1, 2) };
        let [a, b, dead] = handles(&geometry);
        assert!(push(&a, 5));
        std::mem::forget(dead.pop_block(Lane::Main));
        let orphans = Orphans::Redeliver { max_deliveries: None, how: Unfinished::GivenBack { note: 0 } };
        let other =
            thread::spawn(move || b.sweep(Owner::new(2, 0), Finished::default(), orphans, || true, |_| ()).unwrap().returned);
        let mine = a.sweep(Owner::new(2, 0), Finished::default(), orphans, || true, |_| ()).unwrap().returned;
        assert_eq!(mine + other.join().unwrap(), 1);
        assert!(a.pop_block(Lane::Returned).is_ok());
        assert!(a.pop_block(Lane::Returned).is_err());
    });
}

#[test]
fn typed_values_pass_between_one_producer_and_one_consumer() {
    for capacity in [1, 2] {
        model(move || {
            let region = Region::new(Heap::new(region_len::<u64>(capacity).unwrap()));
            let mut producer = Producer::<u64>::create_at(&region, 0, capacity, u64::MAX).unwrap();
            let mut consumer = Consumer::<u64>::attach(&region, 0, capacity).unwrap();
            let other = thread::spawn(move || [1, 2, 3].map(|i| producer.push(i).is_ok()));
            let mut got: Vec<u64> = (0..2).filter_map(|_| consumer.pop().ok()).collect();
            let put = other.join().unwrap();
            got.extend(std::iter::from_fn(|| consumer.pop().ok()));
            let expected: Vec<u64> = [1, 2, 3].into_iter().filter(|&i| put[i as usize - 1]).collect();
            assert_eq!(got, expected);
        });
    }
}

#[test]
fn whoever_sees_that_the_producer_is_gone_sees_all_that_it_pushed() {
    model(|| {
        let (mut producer, mut consumer) = channel::<u64>(1).unwrap();
        let other = thread::spawn(move || producer.push(1).unwrap());
        if consumer.is_abandoned() {
            assert_eq!(consumer.pop(), Ok(1));
        }
        other.join().unwrap();
        assert!(consumer.is_abandoned());
    });
}

#[test]
fn a_producer_that_takes_over_writes_only_where_the_consumer_has_read() {
    model(|| {
        let region = Region::new(Heap::new(region_len::<u64>(1).unwrap()));
        let mut first = Producer::<u64>::create(&region, 0, 1).unwrap();
        let mut consumer = Consumer::<u64>::attach(&region, 0, 1).unwrap();
        first.push(1).unwrap();
        let other = thread::spawn(move || consumer.pop());
        drop(first);
        let mut second = Producer::<u64>::attach(&region, 0, 1).unwrap();
        let put = second.push(2).is_ok();
        assert_eq!(other.join().unwrap(), Ok(1));
        assert_eq!(Consumer::<u64>::attach(&region, 0, 1).unwrap().pop().ok(), put.then_some(2));
    });
}

#[test]
fn a_writer_that_takes_over_writes_only_where_the_reader_has_read() {
    model(|| {
        let region = Region::new(Heap::new(records_len(64).unwrap()));
        let mut first = Writer::create(&region, 0, 64).unwrap();
        let mut reader = Reader::attach(&region, 0, 64).unwrap();
        first.write(1, &[1; 24]).unwrap();
        let other = thread::spawn(move || {
            let record = reader.peek().unwrap();
            let mut payload = Vec::new();
            record.payload().append_to(&mut payload);
            record.release();
            payload
        });
        drop(first);
        let mut second = Writer::attach(&region, 0, 64).unwrap();
        // The ring holds one of them at its end and one at its start.
        let put = [2, 3].map(|tag| second.write(tag, &[tag as u8; 24]).is_ok());
        assert_eq!(other.join().unwrap(), [1; 24]);
        assert!(put[0]);
    });
}

#[test]
fn records_pass_between_one_writer_and_one_reader() {
    model(|| {
        let region = Region::new(Heap::new(records_len(64).unwrap()));
        let mut writer = Writer::create_at(&region, 0, 64, u64::MAX - 30).unwrap();
        let mut reader = Reader::attach(&region, 0, 64).unwrap();
        let other = thread::spawn(move || [8, 16, 8].map(|len| writer.write(len as u32, &vec![len as u8; len]).is_ok()));
        let mut got = Vec::new();
        let mut read = |reader: &mut Reader| {
            let Ok(record) = reader.peek() else { return false };
            let mut payload = Vec::new();
            record.payload().append_to(&mut payload);
            assert_eq!(payload, vec![record.tag as u8; record.tag as usize]);
            got.push(record.tag);
            record.release();
            true
        };
        read(&mut reader);
        read(&mut reader);
        let put = other.join().unwrap();
        while read(&mut reader) {}
        let expected: Vec<u32> = [8, 16, 8].into_iter().zip(put).filter(|p| p.1).map(|p| p.0).collect();
        assert_eq!(got, expected);
    });
}
