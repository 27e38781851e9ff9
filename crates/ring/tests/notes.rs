//! What a block records of its deliveries: since when it is in hand, and how the last one ended.

// There are no notes in a model.
#![cfg(not(loom))]

use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Again, Finished, Geometry, InHand, Lane, Mpmc, Orphans, Owner, Unfinished};

const A: Owner = Owner::new(1, 0);
const B: Owner = Owner::new(2, 0);
const COUNTED: Again = Again::Counted { max_deliveries: None };

fn up_to(max_deliveries: u16) -> Again {
    Again::Counted { max_deliveries: Some(max_deliveries) }
}

fn pair(blocks: u64) -> (Mpmc, Mpmc) {
    let geometry = Geometry { returns: true, small_in_slots: false, memory: 64 * blocks, max_message: 16, ..Geometry::new(8) };
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    (Mpmc::create(&region, 0, &geometry, A).unwrap(), Mpmc::attach(&region, 0, &geometry, B).unwrap())
}

/// The sweeper is A.
fn sweep(ring: &Mpmc, dead: Owner, max_deliveries: u16, pid: u32) {
    let again = Orphans::Redeliver { max_deliveries: Some(max_deliveries), how: Unfinished::Died { pid } };
    ring.sweep(dead, Finished::default(), again, || true, |_| ()).unwrap();
}

fn in_hand(ring: &Mpmc) -> Vec<InHand> {
    ring.in_hand().collect()
}

#[test]
fn every_participant_sees_who_has_which_delivery_in_hand_since_when() {
    let (a, b) = pair(8);
    for message in [b"one", b"two"] {
        a.push(message).unwrap();
    }
    assert_eq!(in_hand(&a), []);
    b.take(Lane::Main).unwrap().note_taken(1_000_000);
    let second = a.pop_block(Lane::Main).unwrap();
    // Its owner may be stopped right here.
    assert_eq!(in_hand(&b)[1].since, None);
    second.note_taken(2_000_000);
    let seen = in_hand(&b);
    assert_eq!(
        seen.iter().map(|one| (one.deliveries, one.since)).collect::<Vec<_>>(),
        [(1, Some(1_000_000)), (1, Some(2_000_000))]
    );
    assert_eq!(seen.iter().map(|one| (one.may_be_of(A), one.may_be_of(B))).collect::<Vec<_>>(), [(false, true), (true, false)]);
    a.give_back(second, COUNTED).unwrap();
    let again = a.pop_block(Lane::Returned).unwrap();
    // The time of the delivery before is not this one's.
    assert_eq!((in_hand(&b)[1].deliveries, in_hand(&b)[1].since), (2, None));
    drop(again);
    assert_eq!(in_hand(&b).len(), 1);
}

#[test]
fn a_dead_message_tells_how_its_last_delivery_ended() {
    let (a, b) = pair(8);
    a.push(b"poison").unwrap();
    std::mem::forget(b.pop_block(Lane::Main).unwrap());
    sweep(&a, B, 2, 77);
    let second = b.pop_block(Lane::Returned).unwrap();
    assert_eq!(second.last_end(), Some(Unfinished::Died { pid: 77 }));
    second.note_end(Unfinished::Unreadable);
    assert_eq!(b.give_back(second, up_to(2)).unwrap(), Lane::Dead);
    let letter = a.pop_block(Lane::Dead).unwrap();
    assert_eq!(letter.last_end(), Some(Unfinished::Unreadable));
    // A reader that dies is not what killed it.
    std::mem::forget(letter);
    sweep(&b, A, 2, 88);
    assert_eq!(b.pop_block(Lane::DeadReturned).unwrap().last_end(), Some(Unfinished::Unreadable));
}

#[test]
fn what_was_noted_of_a_delivery_stays_though_its_sweeper_dies() {
    let (a, b) = pair(8);
    a.push(b"job").unwrap();
    let block = b.pop_block(Lane::Main).unwrap();
    block.note_end(Unfinished::GivenBack { note: 0 });
    // It dies before it has given it back.
    std::mem::forget(block);
    sweep(&a, B, 1, 77);
    assert_eq!(a.pop_block(Lane::Dead).unwrap().last_end(), Some(Unfinished::GivenBack { note: 0 }));
}

#[test]
fn a_note_of_an_earlier_message_in_the_same_block_is_not_taken_for_a_later_ones() {
    let (a, b) = pair(1);
    for message in [b"one", b"two"] {
        a.push(message).unwrap();
        let block = b.pop_block(Lane::Main).unwrap();
        if message == b"one" {
            block.note_end(Unfinished::GivenBack { note: 0 });
            drop(block);
        } else {
            std::mem::forget(block);
        }
    }
    sweep(&a, B, 1, 77);
    assert_eq!(a.pop_block(Lane::Dead).unwrap().last_end(), Some(Unfinished::Died { pid: 77 }));
}

#[test]
fn a_delivery_that_does_not_count_leaves_the_count_and_brings_no_message_to_the_dead() {
    let (a, b) = pair(8);
    a.push(b"untried").unwrap();
    assert_eq!(b.give_back(b.pop_block(Lane::Main).unwrap(), Again::Uncounted).unwrap(), Lane::Returned);
    let again = b.pop_block(Lane::Returned).unwrap();
    assert_eq!(again.deliveries(), 0);
    assert_eq!(b.give_back(again, up_to(2)).unwrap(), Lane::Returned);
    assert_eq!(b.give_back(b.pop_block(Lane::Returned).unwrap(), Again::Uncounted).unwrap(), Lane::Returned);
    assert_eq!(b.give_back(b.pop_block(Lane::Returned).unwrap(), up_to(2)).unwrap(), Lane::Dead);
}
