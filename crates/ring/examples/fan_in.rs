//! Three producers and one consumer on a ring in plain memory.

use multiproc_ring::mpmc::{Geometry, Mpmc, Owner};
use multiproc_ring::{Heap, Region};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let geometry = Geometry::new(16);
    let region = Region::new(Heap::new(geometry.region_len()?));
    let consumer = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0))?;
    for row in 1..=3 {
        let producer = Mpmc::attach(&region, 0, &geometry, Owner::new(row, 0))?;
        std::thread::spawn(move || {
            for number in 0..1000u32 {
                while producer.push(format!("{row}:{number}").as_bytes()).is_err() {
                    std::thread::yield_now();
                }
            }
        });
    }
    let (mut got, mut bytes) = (0, 0);
    let mut message = Vec::new();
    while got < 3000 {
        message.clear();
        if let Ok(len) = consumer.pop(&mut message) {
            (got, bytes) = (got + 1, bytes + len);
        } else {
            std::thread::yield_now();
        }
    }
    println!("{got} messages, {bytes} bytes");
    Ok(())
}
