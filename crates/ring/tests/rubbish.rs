//! What the rings say of memory into which another process wrote rubbish.
#![cfg(not(loom))]

use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{AllocError, Geometry, Lane, LayoutError, Mpmc, Owner, PushError};

const A: Owner = Owner::new(1, 0);
const B: Owner = Owner::new(2, 0);

#[test]
fn rubbish_in_the_list_of_memory_is_told_from_a_lack_of_memory() {
    let geometry = Geometry { grows: true, ..Geometry::new(4) };
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let ring = Mpmc::create(&region, 0, &geometry, A).unwrap();
    // The list is the last that there is from the start, and has one ring in it.
    let fixed = region.bytes(0, geometry.fixed_len().unwrap()).unwrap();
    let mut words = vec![0; fixed.len()];
    assert!(fixed.read(&mut words));
    let end = (words.iter().rposition(|&byte| byte != 0).unwrap() + 1).next_multiple_of(8);
    assert!(region.bytes(end, 8).unwrap().write(&[0xff; 8]));
    // A block of a new size; then a larger ring.
    assert!(matches!(ring.alloc(9), Err(AllocError::Corrupt)));
    let full = (0..100).find_map(|_| ring.push(b"x").err()).unwrap();
    assert!(matches!(full, PushError::Corrupt), "{full}");
    assert!(region.bytes(end, 8).unwrap().write(&[0; 8]));
    ring.push(b"x").unwrap();
    assert!(region.bytes(end - 8, 8).unwrap().write(&[0xff; 8]));
    assert!(matches!(Mpmc::attach(&region, 0, &geometry, B), Err(LayoutError::Corrupt)));
}

#[test]
fn a_message_in_hand_that_another_process_made_longer_is_refused() {
    const TAG: u8 = 0xa7;
    let geometry = Geometry { returns: true, ..Geometry::new(4) };
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let ring = Mpmc::create(&region, 0, &geometry, A).unwrap();
    let mut block = ring.alloc(20).unwrap();
    block.set_tag(TAG);
    ring.push_block(block).unwrap();
    let held = ring.pop_block(Lane::Main).unwrap().hold().unwrap();
    // Its second word has the length and the tag.
    let word = |at: usize| region.bytes(at, 8).unwrap();
    let is_meta = |at: &usize| {
        let mut bytes = [0; 8];
        word(*at).read(&mut bytes) && u64::from_ne_bytes(bytes) & ((1 << 48) - 1) == 20 | u64::from(TAG) << 40
    };
    let at = (0..region.len()).step_by(8).find(is_meta).unwrap();
    assert!(word(at).write(&[0xff; 8]));
    assert!(ring.resume(held).is_none());
    ring.push(b"more").unwrap();
}
