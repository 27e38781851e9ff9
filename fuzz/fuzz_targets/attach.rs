//! Attaches to a segment with foreign bytes in its first pages, and uses it if that works. Each call returns a value or an error;
//! none crashes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiproc_queue::Queue;
use std::os::fd::AsFd;

fuzz_target!(|input: (u64, Vec<(u16, u64)>)| {
    let (len, words) = input;
    let good: Queue<u64> = Queue::builder().bounded(4).memory(64 << 10).max_message(1000).participants(3).build().unwrap();
    good.put(len).unwrap();
    let parcel = multiproc_travel::pass::encode(&good).unwrap();
    // The first 32 KiB hold the header, the table and the queue's own words.
    let file = parcel.descriptors[0].as_fd();
    let mut bytes = vec![0; 32 << 10];
    let read = rustix::io::pread(file, &mut bytes, 0).unwrap();
    for (at, value) in words.into_iter().take(16) {
        let at = usize::from(at) * 8 % (read - 8);
        rustix::io::pwrite(file, &value.to_ne_bytes(), at as u64).unwrap();
    }
    if let Ok(queue) = multiproc_travel::pass::decode::<Queue<u64>>(&parcel.bytes, parcel.descriptors) {
        let _ = (queue.try_put(1), queue.try_get(), queue.try_get(), queue.len(), queue.is_full(), queue.is_empty());
    }
    let _ = (good.try_get(), good.try_put(2));
});
