//! Writes words anywhere into a pipe's segment between operations of both ends. Errors and wrong messages are fine. A panic, a
//! hang or an access out of bounds is not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use multiproc_pipe::{Connection, pipe};
use multiproc_shm::{Kind, Segment};
use multiproc_travel::pass;
use std::time::Duration;

fuzz_target!(|ops: Vec<(u8, u16, u64)>| {
    let (mut a, b) = pipe::<Vec<u8>>().unwrap();
    let parcel = pass::encode(&a).unwrap();
    let as_segment = |descriptor: &std::os::fd::OwnedFd| Segment::attach(descriptor.try_clone().ok()?, Kind(*b"PIPE")).ok();
    let segment = parcel.descriptors.iter().find_map(as_segment).unwrap();
    // The end was encoded only to find its memory. Dropping the parcel gives it back.
    drop(parcel);
    let word = |at: u16| segment.region().bytes(usize::from(at) * 8 % segment.region().len(), 8).unwrap();
    let mut room = 48 << 10;
    for (op, at, value) in ops.into_iter().take(64) {
        let end = if op & 8 == 0 { &a } else { &b };
        match op % 8 {
            // A full pipe would make `send_bytes` wait. So would a pipe that a written word makes look full.
            0 if room > 2000 => {
                room -= 2000;
                drop(end.send_bytes(&vec![op; usize::from(at % 1500)]));
            }
            1 => drop(end.try_recv()),
            2 => drop(end.poll(Duration::ZERO)),
            3 => drop(end.recv_timeout(Duration::ZERO)),
            4 => {
                // The end moves, as it does to another process, and its positions are read anew.
                let Ok(mut moved) = pass::encode(&a) else { continue };
                let descriptors = std::mem::take(&mut moved.descriptors);
                match pass::decode::<Connection<Vec<u8>>>(&moved.bytes, descriptors) {
                    Ok(again) => {
                        moved.sent();
                        a = again;
                    }
                    Err(_) => return,
                }
            }
            5 => {
                room = 0;
                drop(end.try_send(&vec![op; usize::from(at)]));
            }
            6 => {
                if let Ok(standby) = a.standby() {
                    drop(a);
                    match standby.try_take_over() {
                        Ok(again) => a = again,
                        Err(_) => return,
                    }
                }
            }
            _ => {
                room = 0;
                let _ = word(at).write(&value.to_ne_bytes());
            }
        }
    }
});
