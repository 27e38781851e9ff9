//! What the rings say of memory into which another process wrote rubbish.
#![cfg(not(loom))]

use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{AllocError, Geometry, LayoutError, Mpmc, Owner, PushError};

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
