//! Writes words anywhere into a ring of records between operations. Errors and wrong bytes are fine. A panic, a hang or an access
//! out of bounds is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiproc_prim::{Heap, Region};
use multiproc_ring::spsc::{Reader, Writer, records_len};

fuzz_target!(|ops: Vec<(u8, u16, u64)>| {
    let region = Region::new(Heap::new(records_len(512).unwrap()));
    let mut writer = Writer::create(&region, 0, 512).unwrap();
    let mut reader = Reader::attach(&region, 0, 512).unwrap();
    for (op, at, value) in ops {
        match op % 4 {
            0 => drop(writer.write(value as u32, &vec![op; usize::from(at % 300)])),
            1 => {
                if let Ok(record) = reader.peek() {
                    let mut bytes = Vec::new();
                    record.payload().append_to(&mut bytes);
                    record.release();
                }
            }
            2 => {
                let _ = (writer.has_room(usize::from(at)), Reader::attach(&region, 0, 512), Writer::attach(&region, 0, 512));
            }
            _ => {
                let at = usize::from(at) * 8 % (region.len() - 8);
                assert!(region.bytes(at, 8).unwrap().write(&value.to_ne_bytes()));
            }
        }
    }
});
