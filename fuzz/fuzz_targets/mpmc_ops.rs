//! Compares the operations of two handles on one ring with those of a plain queue.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Geometry, Lane, Mpmc, Owner};
use std::collections::VecDeque;

#[derive(Arbitrary, Debug)]
enum Op {
    Push(bool, u16),
    Pop(bool),
    /// Allocates a block, shortens it and drops it.
    Waste(bool, u16),
}

fuzz_target!(|input: (u8, u8, Vec<Op>)| {
    let (slots, turn, ops) = input;
    let first_turn = (1 << 40) - u64::from(turn);
    let grows = slots % 16 > 7;
    let geometry =
        Geometry { grows, memory: 256 << 10, max_message: 3000, first_turn, ..Geometry::new(u32::from(slots % 8) + 1) };
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let a = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    let b = Mpmc::attach(&region, 0, &geometry, Owner::new(1, 0)).unwrap();
    let mut model = VecDeque::new();
    for op in ops {
        match op {
            Op::Push(by_a, len) => {
                let message = vec![len as u8; usize::from(len % 3001)];
                let pushed = if by_a { &a } else { &b }.push(&message).is_ok();
                assert!(pushed == (model.len() < geometry.slots as usize) || grows && !model.is_empty());
                if pushed {
                    model.push_back(message);
                }
            }
            Op::Pop(by_a) => {
                let mut message = Vec::new();
                let popped = if by_a { &a } else { &b }.pop(&mut message).ok().map(|_| message);
                assert_eq!(popped, model.pop_front());
            }
            Op::Waste(by_a, len) => {
                let ring = if by_a { &a } else { &b };
                if let Ok(mut block) = ring.alloc(usize::from(len % 3001)) {
                    block.truncate(usize::from(len / 2));
                }
            }
        }
        assert_eq!(a.len(), model.len());
        assert_eq!(b.has_message(Lane::Main), !model.is_empty());
    }
});
