//! Each promise of the rings once, over the heap.
#![cfg(not(loom))]

use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{
    Again, Finished, Geometry, GiveBackError, Lane, LayoutError, Mpmc, Orphans, Owner, PopError, PushError, Refused, SweepError,
    Swept, Unfinished,
};
use proptest::prelude::*;
use std::collections::VecDeque;

const A: Owner = Owner::new(1, 0);
const B: Owner = Owner::new(2, 0);
const DIED: Unfinished = Unfinished::Died { pid: 1 };
const COUNTED: Again = Again::Counted { max_deliveries: None };

fn up_to(max_deliveries: u16) -> Again {
    Again::Counted { max_deliveries: Some(max_deliveries) }
}

fn pair(geometry: &Geometry) -> (Mpmc, Mpmc) {
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    (Mpmc::create(&region, 0, geometry, A).unwrap(), Mpmc::attach(&region, 0, geometry, B).unwrap())
}

fn pop(ring: &Mpmc) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    ring.pop(&mut message).ok().map(|_| message)
}

#[test]
fn capacity_is_exact_for_any_number_of_slots() {
    for slots in [1, 2, 3, 5, 7, 8, 100] {
        let (a, b) = pair(&Geometry::new(slots));
        assert_eq!((a.capacity(), a.pushed(Lane::Main)), (slots as usize, 0));
        for round in 0..5 {
            for i in 0..slots {
                assert!(a.has_room(), "{slots} slots, {i} used, round {round}");
                a.push(&i.to_le_bytes()).unwrap();
                assert_eq!(b.len(), i as usize + 1);
                assert_eq!(b.pushed(Lane::Main), u64::from(round * slots + i + 1));
            }
            assert!(!a.has_room());
            assert!(matches!(a.push(b"x"), Err(PushError::Full)));
            for i in 0..slots {
                assert_eq!(pop(&b).unwrap(), i.to_le_bytes());
            }
            assert!(a.is_empty() && pop(&a).is_none());
        }
    }
}

#[test]
fn tickets_go_on_across_every_wrap() {
    for first_turn in [(1 << 40) - 2, (1 << 39) - 2, (1 << 17) - 2, (1 << 38) - 1] {
        for slots in [1, 2, 3, 1000] {
            let (a, b) = pair(&Geometry { first_turn, ..Geometry::new(slots) });
            for i in 0..6 * slots {
                a.push(&i.to_le_bytes()).unwrap();
                assert_eq!(pop(&b).unwrap(), i.to_le_bytes(), "{slots} slots from turn {first_turn}");
            }
        }
    }
}

#[test]
fn a_ticket_that_someone_left_behind_is_moved_on_by_whoever_comes_next() {
    let geometry = Geometry::new(2);
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let a = Mpmc::create(&region, 0, &geometry, A).unwrap();
    // The first ring lies behind what is there from the start: its tail, and its head 128 bytes later.
    let tail = geometry.fixed_len().unwrap();
    // As if the last one had died right after its message was in, or was taken.
    let left_behind = |word: usize, operation: &dyn Fn()| {
        let mut before = [0; 8];
        let word = region.bytes(word, 8).unwrap();
        assert!(word.read(&mut before));
        operation();
        assert!(word.write(&before));
    };
    for round in 0..5u8 {
        left_behind(tail, &|| a.push(&[round]).unwrap());
        assert!(a.has_message(Lane::Main));
        left_behind(tail, &|| a.push(&[round, round]).unwrap());
        assert!(matches!(a.push(b"3"), Err(PushError::Full)));
        assert_eq!(a.pushed(Lane::Main), u64::from(round) * 2 + 2);
        left_behind(tail + 128, &|| assert_eq!(pop(&a).unwrap(), [round]));
        assert!(a.has_room());
        left_behind(tail + 128, &|| assert_eq!(pop(&a).unwrap(), [round, round]));
        assert_eq!((pop(&a), a.is_empty()), (None, true));
    }
}

#[test]
fn what_the_writer_says_of_a_message_comes_along() {
    let (a, b) = pair(&Geometry::new(4));
    for (tag, len) in [(0, 9), (1, 0), (255, 300)] {
        let mut block = a.alloc(1000).unwrap();
        block.set_tag(tag);
        block.truncate(len);
        block.truncate(2000);
        a.push_block(block).unwrap();
        let block = b.pop_block(Lane::Main).unwrap();
        assert_eq!((block.tag(), block.len(), block.deliveries()), (tag, len, 0));
    }
}

#[test]
fn messages_of_every_size_are_contiguous_and_whole() {
    let geometry = Geometry { max_message: 3 << 20, memory: 256 << 20, ..Geometry::new(4) };
    let (a, b) = pair(&geometry);
    for len in [0, 1, 47, 48, 49, 240, 241, 4080, 4081, 65_000, 1 << 20, 3 << 20] {
        let message: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
        a.push(&message).unwrap();
        let block = b.pop_block(Lane::Main).unwrap();
        assert_eq!((block.len(), block.is_empty()), (len, len == 0));
        assert!(block.payload().as_ptr().as_ptr().addr() % 16 == 0);
        let mut copy = Vec::new();
        block.payload().append_to(&mut copy);
        assert!(copy == message, "{len} bytes");
    }
    let longest = a.max_message();
    a.push(&vec![0; longest]).unwrap();
    assert!(matches!(a.push(&vec![0; longest + 1]), Err(PushError::TooLong { .. })));
}

#[test]
fn memory_that_runs_out_is_an_error_and_comes_back() {
    let geometry = Geometry { small_in_slots: false, memory: 64 << 10, max_message: 48, ..Geometry::new(10_000) };
    let (a, b) = pair(&geometry);
    let mut put = 0;
    while a.push(b"x").is_ok() {
        put += 1;
    }
    assert_eq!(put, 1024);
    assert!(matches!(a.push(b"x"), Err(PushError::Exhausted)));
    assert!(pop(&b).is_some());
    a.push(b"x").unwrap();
}

#[test]
fn a_closed_ring_lets_nothing_in_and_everything_out() {
    let (a, b) = pair(&Geometry::new(2));
    a.push(b"1").unwrap();
    assert_eq!(b.close_if_empty(), PopError::Empty);
    assert_eq!(pop(&b).unwrap(), b"1");
    assert_eq!(b.close_if_empty(), PopError::Closed);
    assert!(matches!(a.push(b"2"), Err(PushError::Closed)));
    assert_eq!(b.pop_block(Lane::Main).unwrap_err(), PopError::Closed);
    assert_eq!(b.close_if_empty(), PopError::Closed);
}

#[test]
fn a_dropped_block_was_never_put_and_is_free_again() {
    let geometry = Geometry { small_in_slots: false, memory: 64, max_message: 48, ..Geometry::new(1) };
    let (a, b) = pair(&geometry);
    for _ in 0..100 {
        drop(a.alloc(8).unwrap());
    }
    let mut block = a.alloc(8).unwrap();
    block.truncate(2);
    assert!(block.payload().write(b"ok"));
    a.push_block(block).unwrap();
    assert_eq!(pop(&b).unwrap(), b"ok");
}

#[test]
fn bad_geometry_is_refused_by_name() {
    assert!(matches!(Geometry::new(0).region_len(), Err(LayoutError::Slots { asked: 0 })));
    assert!(matches!(Geometry::new(u32::MAX).region_len(), Err(LayoutError::Slots { .. })));
    let geometry = Geometry { memory: 1000, ..Geometry::new(1) };
    assert!(matches!(geometry.region_len(), Err(LayoutError::Memory { .. })));
    let geometry = Geometry { max_message: u64::MAX, ..Geometry::new(1) };
    assert!(matches!(geometry.region_len(), Err(LayoutError::TooLarge { .. })));
    let region = Region::new(Heap::new(4096));
    assert!(matches!(Mpmc::create(&region, 0, &Geometry::new(1), A), Err(LayoutError::Bounds(_))));
}

/// Two mapped addresses of one segment see one ring: nothing in it is a pointer. The heap stands in by moving the bytes.
#[test]
fn the_bytes_mean_the_same_at_another_address() {
    let geometry = Geometry::new(3);
    let len = geometry.region_len().unwrap();
    let here = Region::new(Heap::new(len));
    let there = Region::new(Heap::new(len));
    let ring = Mpmc::create(&here, 0, &geometry, A).unwrap();
    ring.push(b"moved").unwrap();
    let mut bytes = vec![0; len];
    assert!(here.bytes(0, len).unwrap().read(&mut bytes));
    assert!(there.bytes(0, len).unwrap().write(&bytes));
    assert_eq!(pop(&Mpmc::attach(&there, 0, &geometry, B).unwrap()).unwrap(), b"moved");
}

fn returning() -> (Mpmc, Mpmc) {
    pair(&Geometry { returns: true, small_in_slots: false, memory: 1 << 20, max_message: 48, ..Geometry::new(8) })
}

fn redeliver(ring: &Mpmc, done: Finished) -> Swept {
    ring.sweep(B, done, Orphans::Redeliver { max_deliveries: Some(3), how: DIED }, || true, |_| ()).unwrap()
}

#[test]
fn a_sweep_frees_what_was_never_published() {
    let geometry = Geometry { small_in_slots: false, memory: 64, max_message: 48, ..Geometry::new(1) };
    let (a, b) = pair(&geometry);
    std::mem::forget(b.alloc(1).unwrap());
    assert!(a.alloc(1).is_err());
    assert_eq!(a.sweep(B, Finished::default(), Orphans::Drop, || true, |_| ()).unwrap().freed, 1);
    assert!(a.alloc(1).is_ok());
    assert_eq!(a.sweep(B, Finished::default(), Orphans::Drop, || true, |_| ()).unwrap(), Default::default());
}

#[test]
fn a_sweep_tells_what_is_queued_from_what_only_was_about_to_be() {
    // One block, which comes last and has a page to itself. Its state is its first word.
    let geometry = Geometry { small_in_slots: false, memory: 64, max_message: 48, ..Geometry::new(3) };
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let a = Mpmc::create(&region, 0, &geometry, A).unwrap();
    let b = Mpmc::attach(&region, 0, &geometry, B).unwrap();
    let word = region.bytes(region.len() - 4096, 8).unwrap();
    let state = || {
        let mut bytes = [0; 8];
        assert!(word.read(&mut bytes));
        u64::from_ne_bytes(bytes)
    };
    let sweep = || a.sweep(B, Finished::default(), Orphans::Drop, || true, |_| ()).unwrap();
    let mut states = Vec::new();
    for _ in 0..10 {
        b.push(b"x").unwrap();
        states.push(state());
        assert_eq!(sweep(), Swept::default(), "it is queued");
        assert!(pop(&a).is_some());
        if let [.., before, _, _, now] = states[..] {
            // As if the dead one had come so far with the same slot, which still names the same block, one turn later.
            assert!(word.write(&now.wrapping_add(now.wrapping_sub(before)).to_ne_bytes()));
            assert_eq!(sweep(), Swept { freed: 1, ..Swept::default() });
        }
    }
}

#[test]
fn a_sweep_leaves_what_is_queued() {
    let (a, b) = returning();
    b.push(b"still here").unwrap();
    assert_eq!(redeliver(&a, Finished::default()), Default::default());
    assert_eq!(pop(&a).unwrap(), b"still here");
}

#[test]
fn a_sweep_drops_or_returns_what_was_in_hand() {
    let (a, b) = returning();
    a.push(b"mine").unwrap();
    std::mem::forget(b.pop_block(Lane::Main).unwrap());
    assert_eq!(redeliver(&a, Finished::default()).returned, 1);
    let block = a.pop_block(Lane::Returned).unwrap();
    assert_eq!(block.deliveries(), 1);
    drop(block);
    a.push(b"gone").unwrap();
    std::mem::forget(b.pop_block(Lane::Main).unwrap());
    assert_eq!(a.sweep(B, Finished::default(), Orphans::Drop, || true, |_| ()).unwrap().lost, 1);
    assert!(a.is_empty() && !a.has_message(Lane::Returned));
}

#[test]
fn a_message_that_kills_every_worker_ends_in_the_dead_lane() {
    let (a, b) = returning();
    a.push(b"poison").unwrap();
    std::mem::forget(b.pop_block(Lane::Main).unwrap());
    for _ in 0..2 {
        assert_eq!(redeliver(&a, Finished::default()).returned, 1);
        std::mem::forget(b.pop_block(Lane::Returned).unwrap());
    }
    assert_eq!(redeliver(&a, Finished::default()).dead, 1);
    assert_eq!(b.pop_block(Lane::Dead).map(|block| (block.deliveries(), std::mem::forget(block))).unwrap().0, 3);
    // A reader that dies leaves it to the next one, with its count; put anew, it is as if it had never been delivered.
    assert_eq!(redeliver(&a, Finished::default()), Swept::default());
    let mut letter = a.pop_block(Lane::DeadReturned).unwrap();
    assert_eq!((letter.deliveries(), a.len_of(Lane::Dead)), (3, 0));
    letter.renew();
    a.push_block(letter).unwrap();
    let fresh = b.pop_block(Lane::Main).unwrap();
    assert_eq!(fresh.deliveries(), 0);
    assert_eq!(b.give_back(fresh, up_to(3)).unwrap(), Lane::Returned);
    let again = b.pop_block(Lane::Returned).unwrap();
    assert_eq!(again.deliveries(), 1);
    assert_eq!(b.give_back(again, up_to(2)).unwrap(), Lane::Dead);
}

#[test]
fn a_dead_message_half_way_back_is_among_the_dead_again() {
    let (a, b) = returning();
    a.push(b"poison").unwrap();
    assert_eq!(b.give_back(b.pop_block(Lane::Main).unwrap(), up_to(1)).unwrap(), Lane::Dead);
    let mut letter = b.pop_block(Lane::Dead).unwrap();
    letter.renew();
    // No room: as far as the sweep can tell, it was on its way.
    (0..8).for_each(|_| a.push(b"x").unwrap());
    let Refused { error, block: letter } = b.push_block(letter).unwrap_err();
    assert_eq!(error, PushError::Full);
    std::mem::forget(letter);
    assert_eq!(redeliver(&a, Finished::default()), Swept::default());
    assert_eq!(a.pop_block(Lane::DeadReturned).unwrap().deliveries(), 1);
}

#[test]
fn what_was_finished_is_not_returned() {
    let (a, b) = returning();
    a.push(b"1").unwrap();
    let held = b.pop_block(Lane::Main).unwrap().hold().unwrap();
    let done = held.complete(Finished::default());
    // As a process that dies drops it: nothing is freed by that.
    drop(held);
    let swept = redeliver(&a, done);
    assert_eq!((swept.freed, swept.returned), (1, 0));
}

#[test]
fn a_held_message_that_is_dropped_stays_in_hand_until_its_owner_is_swept() {
    let (a, b) = returning();
    a.push(b"mine").unwrap();
    drop(b.pop_block(Lane::Main).unwrap().hold().unwrap());
    assert!(a.is_memory_in_use() && pop(&a).is_none());
    assert_eq!(redeliver(&a, Finished::default()).returned, 1);
    assert_eq!(pop(&a).unwrap(), b"mine");
    assert!(!a.is_memory_in_use());
}

#[test]
fn a_pop_gets_what_a_sweep_brought_back_before_new_messages() {
    let (a, b) = returning();
    a.push(b"old").unwrap();
    a.push(b"new").unwrap();
    std::mem::forget(b.pop_block(Lane::Main).unwrap());
    assert_eq!(redeliver(&a, Finished::default()).returned, 1);
    assert_eq!((pop(&a).unwrap(), pop(&a).unwrap(), pop(&a)), (b"old".to_vec(), b"new".to_vec(), None));
}

#[test]
fn what_cannot_come_back_is_an_error_that_says_what_the_geometry_lacks() {
    let (a, b) = pair(&Geometry::new(4));
    a.push(b"long enough for a block").unwrap();
    a.push(b"short").unwrap();
    let refused = b.give_back(b.pop_block(Lane::Main).unwrap(), COUNTED).unwrap_err();
    assert_eq!(refused.error, GiveBackError::NoReturns);
    assert!(refused.to_string().contains("returns: true"));
    let refused = b.give_back(b.pop_block(Lane::Main).unwrap(), COUNTED).unwrap_err();
    assert_eq!(refused.error, GiveBackError::NotABlock);
    let again = Orphans::Redeliver { max_deliveries: None, how: DIED };
    assert_eq!(a.sweep(B, Finished::default(), again, || true, |_| ()).unwrap_err(), SweepError::NoReturns);
}

#[test]
fn a_refused_block_comes_back_with_an_error_that_can_be_handed_on() {
    fn put(ring: &Mpmc) -> Result<(), PushError> {
        Ok(ring.push_block(ring.alloc(100)?)?)
    }
    let (a, b) = pair(&Geometry::new(1));
    put(&a).unwrap();
    assert_eq!(put(&a), Err(PushError::Full));
    let refused = a.push_block(a.alloc(100).unwrap()).unwrap_err();
    let error: &dyn std::error::Error = &refused;
    assert_eq!(error.to_string(), "the ring is full");
    assert!(pop(&b).is_some());
    a.push_block(refused.block).unwrap();
}

#[test]
fn a_handle_that_expects_another_ring_than_is_there_is_refused() {
    let geometry = Geometry::new(4);
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let attach = |geometry: &Geometry| Mpmc::attach(&region, 0, geometry, B).map(drop);
    assert!(matches!(attach(&geometry), Err(LayoutError::Differs { found: None, .. })), "nobody made one");
    let _ring = Mpmc::create(&region, 0, &geometry, A).unwrap();
    for other in [
        Geometry::new(5),
        Geometry { grows: true, ..geometry },
        Geometry { returns: true, ..geometry },
        Geometry { small_in_slots: false, ..geometry },
        Geometry { memory: geometry.memory / 2, ..geometry },
        Geometry { max_message: 1024, ..geometry },
    ] {
        let Err(LayoutError::Differs { found, asked }) = attach(&other) else { panic!("{other:?}") };
        assert_eq!((found, asked), (Some(geometry), other));
    }
    attach(&geometry).unwrap();
    let unaligned = Mpmc::create(&region, 64, &geometry, A).unwrap_err();
    assert!(unaligned.to_string().contains("a multiple of 4096"));
}

#[test]
fn the_least_memory_that_an_error_names_is_enough() {
    for max_message in [1, 1024, 5000, 1 << 20] {
        let geometry = Geometry { memory: 10, max_message, ..Geometry::new(1) };
        let Err(LayoutError::Memory { least, .. }) = geometry.region_len() else { panic!("{max_message}") };
        Geometry { memory: least, ..geometry }.region_len().unwrap();
        assert!(Geometry { memory: least - 1, ..geometry }.region_len().is_err());
    }
}

proptest! {
    /// Operations of two handles against a plain queue.
    #[test]
    fn the_ring_is_a_bounded_queue(slots in 1u32..9, operations in prop::collection::vec((any::<bool>(), 0usize..300), 0..200)) {
        let (a, b) = pair(&Geometry::new(slots));
        let mut model = VecDeque::new();
        for (put, len) in operations {
            if put {
                let message = vec![len as u8; len];
                let pushed = a.push(&message).is_ok();
                prop_assert_eq!(pushed, model.len() < slots as usize);
                if pushed {
                    model.push_back(message);
                }
            } else {
                prop_assert_eq!(pop(&b), model.pop_front());
            }
            prop_assert_eq!(a.len(), model.len());
        }
    }

    /// No geometry panics: it makes a ring that works or is refused.
    #[test]
    fn any_geometry_works_or_is_refused(slots: u32, returns: bool, grows: bool, small_in_slots: bool, memory: u64, max_message: u64) {
        let _ = Geometry { slots, grows, returns, small_in_slots, memory, max_message, first_turn: 1 }.region_len();
        let small = Geometry { slots: slots % 50, grows, returns, small_in_slots, memory: memory % (1 << 22), max_message: max_message % 5000, first_turn: 1 };
        if let Ok(len) = small.region_len() {
            let region = Region::new(Heap::new(len));
            let ring = Mpmc::create(&region, 0, &small, A).unwrap();
            ring.push(&vec![1; small.max_message as usize]).unwrap();
            prop_assert_eq!(pop(&ring).unwrap().len() as u64, small.max_message);
        }
    }
}
