//! Two threads sleep and wake each other through two channels.

use multiproc_sync::mpmc::{Geometry, Owner};
use multiproc_sync::{Channel, Deadline, Heap, Region, channel_len};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let geometry = Geometry::new(1);
    let len = channel_len(&geometry)?;
    let regions = [Region::new(Heap::new(len)), Region::new(Heap::new(len))];
    let ours = [0, 1].map(|i| Channel::create(&regions[i], 0, &geometry, Owner::new(0, 0)));
    let theirs = [0, 1].map(|i| Channel::attach(&regions[i], 0, &geometry, Owner::new(1, 0)));
    let ([there, back], [hear, answer]) = (ours, theirs);
    let (there, back, hear, answer) = (there?, back?, hear?, answer?);
    std::thread::spawn(move || {
        let mut message = Vec::new();
        while hear.pop(&mut message, Deadline::NEVER).is_ok() {
            if answer.push(&message, Deadline::NEVER).is_err() {
                break;
            }
            message.clear();
        }
    });
    let begin = std::time::Instant::now();
    let mut message = Vec::new();
    for round in 0..10_000u32 {
        there.push(&round.to_le_bytes(), Deadline::NEVER)?;
        message.clear();
        back.pop(&mut message, Deadline::NEVER)?;
        assert_eq!(message, round.to_le_bytes());
    }
    println!("{:.2} µs a round trip", begin.elapsed().as_secs_f64() * 1e6 / 10_000.0);
    Ok(())
}
