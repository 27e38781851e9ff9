//! Compares a ring of records of any length, from any starting position, with a plain queue.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiproc_prim::{Heap, Region};
use multiproc_ring::spsc::{ReadError, Reader, WriteError, Writer, records_len};
use std::collections::VecDeque;

fuzz_target!(|input: (u64, Vec<(bool, u16)>)| {
    let (first, ops) = input;
    let region = Region::new(Heap::new(records_len(1024).unwrap()));
    let mut writer = Writer::create_at(&region, 0, 1024, first).unwrap();
    let mut reader = Reader::attach(&region, 0, 1024).unwrap();
    let mut model = VecDeque::new();
    for (write, len) in ops {
        let payload = vec![len as u8; usize::from(len % 600)];
        if write {
            match writer.write(u32::from(len), &payload) {
                Ok(()) => model.push_back((u32::from(len), payload)),
                Err(WriteError::Full) => assert!(!model.is_empty()),
                Err(WriteError::TooLong { max, .. }) => assert!(payload.len() > max),
                Err(other) => panic!("{other}"),
            }
        } else {
            let got = match reader.peek() {
                Ok(record) => {
                    let mut bytes = Vec::new();
                    record.payload().append_to(&mut bytes);
                    let tag = record.tag;
                    record.release();
                    Some((tag, bytes))
                }
                Err(ReadError::Empty) => None,
                Err(other) => panic!("{other}"),
            };
            assert_eq!(got, model.pop_front());
        }
    }
});
