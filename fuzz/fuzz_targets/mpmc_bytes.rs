//! Writes words anywhere into a ring between operations. Errors and wrong bytes are fine. A panic, a hang or an access out of
//! bounds is not.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Again, Block, Completion, Finished, Geometry, Lane, Mpmc, Orphans, Owner, Unfinished};

#[derive(Arbitrary, Debug)]
enum Op {
    Push(u16),
    Pop,
    Take(u8),
    Sweep(bool, u16),
    Look,
    Write(u16, u64),
    /// Copies a word from elsewhere in the ring: a replay.
    Copy(u16, u16),
}

fn renewed(mut block: Block<'_>) -> Block<'_> {
    block.renew();
    block
}

fuzz_target!(|input: (u8, Vec<Op>)| {
    let (slots, ops) = input;
    let (slots, grows) = (u32::from(slots % 4) + 1, slots % 8 > 3);
    let geometry = Geometry { grows, returns: true, memory: 64 << 10, max_message: 1000, ..Geometry::new(slots) };
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let ring = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    let word = |at: u16| region.bytes(usize::from(at) * 8 % (region.len() - 8), 8).unwrap();
    for op in ops.into_iter().take(64) {
        match op {
            Op::Push(len) => drop(ring.push(&vec![1; usize::from(len % 1200)])),
            Op::Pop => drop(ring.pop(&mut Vec::new())),
            Op::Take(lane) => {
                let lane = [Lane::Main, Lane::Returned, Lane::Dead, Lane::DeadReturned][usize::from(lane % 4)];
                if let Ok(block) = ring.pop_block(lane) {
                    let mut copy = Vec::new();
                    block.payload().append_to(&mut copy);
                    assert_eq!(copy.len(), block.len());
                    match copy.len() % 3 {
                        0 => drop(block),
                        1 => drop(ring.give_back(block, Again::Counted { max_deliveries: Some(2) })),
                        _ => drop(ring.push_block(renewed(block))),
                    }
                }
            }
            Op::Sweep(drop_them, row) => {
                let dead = Owner::new(u32::from(row % 4), u64::from(row / 4));
                let again = Orphans::Redeliver { max_deliveries: Some(row % 5), how: Unfinished::GivenBack { note: 0 } };
                let orphans = if drop_them { Orphans::Drop } else { again };
                let mut done = Finished { count: u64::from(row), last: Completion(u64::from(row)) };
                let _ = ring.sweep(dead, done, orphans, || true, |orphan| done = orphan.complete(done));
            }
            Op::Look => {
                let _ = (ring.len(), ring.is_empty(), ring.has_room(), ring.pushed(Lane::Dead), ring.close_if_empty());
            }
            Op::Write(at, value) => drop(word(at).write(&value.to_ne_bytes())),
            Op::Copy(from, to) => {
                let mut bytes = [0; 8];
                assert!(word(from).read(&mut bytes));
                assert!(word(to).write(&bytes));
            }
        }
    }
});
