//! Each promise of the rings for one producer and one consumer once, over the heap.
#![cfg(not(loom))]

use multiproc_ring::spsc::{self, Consumer, Full, Producer, ReadError, Reader, Shape, SpscError, WriteError, Writer};
use multiproc_ring::{Heap, Region};
use proptest::prelude::*;
use std::collections::VecDeque;

proptest! {
    /// Records against a plain queue, through every alignment of the ring's end.
    #[test]
    fn records_come_out_as_they_went_in(first: u64, operations in prop::collection::vec((any::<bool>(), 0usize..150), 0..300)) {
        let (mut writer, mut reader) = record_pair(256, first);
        let mut model = VecDeque::new();
        for (number, (put, len)) in operations.into_iter().enumerate() {
            if put {
                let payload = vec![number as u8; len];
                let room = writer.has_room(len);
                match writer.write(number as u32, &payload) {
                    Ok(()) => { prop_assert!(room); model.push_back((number as u32, payload)) }
                    Err(WriteError::Full) => prop_assert!(!room && !model.is_empty()),
                    Err(WriteError::TooLong { max, .. }) => prop_assert!(len > max),
                    Err(other) => return Err(TestCaseError::fail(other.to_string())),
                }
            } else {
                prop_assert_eq!(read(&mut reader), model.pop_front());
            }
        }
    }
}

fn record_pair(capacity: usize, first: u64) -> (Writer, Reader) {
    let region = Region::new(Heap::new(spsc::records_len(capacity).unwrap()));
    let writer = Writer::create_at(&region, 0, capacity, first).unwrap();
    (writer, Reader::attach(&region, 0, capacity).unwrap())
}

fn read(reader: &mut Reader) -> Option<(u32, Vec<u8>)> {
    let record = match reader.peek() {
        Err(ReadError::Empty) => return None,
        record => record.unwrap(),
    };
    let mut payload = Vec::new();
    record.payload().append_to(&mut payload);
    let tag = record.tag;
    record.release();
    Some((tag, payload))
}

#[test]
fn staged_records_show_together() {
    let (mut writer, mut reader) = record_pair(256, u64::MAX - 100);
    writer.stage(1, b"one").unwrap();
    writer.stage(2, b"two").unwrap();
    assert_eq!(read(&mut reader), None);
    writer.show();
    assert_eq!(read(&mut reader), Some((1, b"one".to_vec())));
    let place = writer.reserve(3).unwrap();
    assert!(place.payload().write(b"333"));
    place.commit(3).unwrap();
    assert_eq!(writer.write(u32::MAX, b""), Err(WriteError::Reserved));
    assert_eq!(read(&mut reader), Some((2, b"two".to_vec())));
    assert_eq!(read(&mut reader), Some((3, b"333".to_vec())));
}

#[test]
fn typed_values_keep_their_order_across_the_wrap_of_positions() {
    let region = Region::new(Heap::new(spsc::region_len::<[u32; 3]>(4).unwrap()));
    let mut producer = Producer::<[u32; 3]>::create_at(&region, 0, 4, u64::MAX - 5).unwrap();
    let mut consumer = Consumer::<[u32; 3]>::attach(&region, 0, 4).unwrap();
    for round in 0..10 {
        assert_eq!(producer.push_slice(&[[round; 3]; 6]), 4);
        assert_eq!(producer.push([9; 3]), Err(Full([9; 3])));
        let mut values = [[0; 3]; 3];
        assert_eq!(consumer.pop_slice(&mut values), Ok(3));
        assert_eq!(values, [[round; 3]; 3]);
        assert_eq!(consumer.pop(), Ok([round; 3]));
        assert_eq!(consumer.pop(), Err(ReadError::Empty));
    }
    assert_eq!(Producer::<u8>::create(&region, 0, 3).unwrap_err(), SpscError::Capacity { asked: 3, least: 1 });
}

#[test]
fn rubbish_in_the_positions_is_an_error() {
    let (_writer, mut reader) = record_pair(256, 0);
    let region = Region::new(Heap::new(spsc::records_len(256).unwrap()));
    Writer::create(&region, 0, 256).unwrap();
    let mut other = Reader::attach(&region, 0, 256).unwrap();
    assert!(region.bytes(0, 8).unwrap().write(&u64::MAX.to_le_bytes()));
    assert_eq!(other.peek().unwrap_err(), ReadError::Corrupt);
    assert!(region.bytes(0, 8).unwrap().write(&16u64.to_le_bytes()));
    // A skip to the end of the ring, which nobody has shown.
    assert!(region.bytes(256, 8).unwrap().write(&(u64::from(u32::MAX) << 32).to_le_bytes()));
    assert_eq!(other.peek().unwrap_err(), ReadError::Corrupt);
    assert!(region.bytes(256, 8).unwrap().write(&1000u64.to_le_bytes()));
    assert_eq!(other.peek().unwrap_err(), ReadError::Corrupt);
    assert_eq!(reader.peek().unwrap_err(), ReadError::Empty);
}

#[test]
fn a_side_that_expects_another_ring_than_is_there_is_refused() {
    let region = Region::new(Heap::new(4096));
    let asked = Shape { value: Some(4), capacity: 8 };
    let found = |found| SpscError::Differs { found, asked };
    assert_eq!(Consumer::<u32>::attach(&region, 0, 8).unwrap_err(), found(None), "nobody made one");
    let _producer = Producer::<u64>::create(&region, 0, 8).unwrap();
    let error = Consumer::<u32>::attach(&region, 0, 8).unwrap_err();
    assert_eq!(error, found(Some(Shape { value: Some(8), capacity: 8 })));
    assert_eq!(error.to_string(), "the memory holds a ring of 8 values of 8 bytes, not a ring of 8 values of 4 bytes");
    assert!(matches!(Consumer::<u64>::attach(&region, 0, 4), Err(SpscError::Differs { .. })));
    assert!(matches!(Reader::attach(&region, 0, 64), Err(SpscError::Differs { .. })));
    assert!(Consumer::<u64>::attach(&region, 0, 8).is_ok());
}

#[test]
fn an_error_of_a_layout_names_the_least_and_the_alignment() {
    let region = Region::new(Heap::new(4096));
    let text = |error: SpscError| error.to_string();
    assert!(text(Writer::create(&region, 0, 32).unwrap_err()).contains("from 64 to"));
    assert!(text(Producer::<u8>::create(&region, 0, 0).unwrap_err()).contains("from 1 to"));
    assert!(text(Producer::<u8>::create(&region, 64, 2).unwrap_err()).contains("a multiple of 128"));
}

#[test]
fn both_sides_know_their_slots_and_when_the_other_one_is_gone() {
    let (mut producer, mut consumer) = spsc::channel::<u64>(4).unwrap();
    assert_eq!((producer.slots(), consumer.slots(), producer.capacity()), (4, 0, 4));
    producer.push(1).unwrap();
    producer.push(2).unwrap();
    assert_eq!((producer.slots(), consumer.slots(), consumer.capacity()), (2, 2, 4));
    assert!(!producer.is_abandoned() && !consumer.is_abandoned());
    drop(producer);
    assert!(consumer.is_abandoned());
    assert_eq!((consumer.pop(), consumer.pop(), consumer.pop()), (Ok(1), Ok(2), Err(ReadError::Empty)));
    let (producer, consumer) = spsc::channel::<u64>(4).unwrap();
    drop(consumer);
    assert!(producer.is_abandoned());
}
