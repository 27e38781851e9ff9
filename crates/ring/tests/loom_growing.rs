//! The shipped ring when it grows and shrinks, in every interleaving, and with a death between any two steps: order holds, each
//! message comes once, "empty" is said only of an empty ring, and nobody waits for a process that stopped on the way.
//!
//! Without loom each model runs once, for real, and nobody dies.

use multiproc_prim::model::{Arc, model, model_deaths, model_deaths_in_turn, mortal, steadily, thread};
use multiproc_prim::{Heap, Region};
use multiproc_ring::mpmc::{Finished, Geometry, Lane, Mpmc, Orphans, Owner, PopError, PushError};

const BLOCKS: u64 = 4;

/// One slot, then four: as few as can grow. The tickets of the first ring are about to wrap.
fn geometry(small_in_slots: bool) -> Geometry {
    let first_turn = (1 << 40) - 1;
    Geometry { grows: true, small_in_slots, memory: BLOCKS * 64, max_message: 16, first_turn, ..Geometry::new(1) }
}

fn handles<const N: usize>(geometry: &Geometry) -> [Arc<Mpmc>; N] {
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let mut first = Some(Mpmc::create(&region, 0, geometry, Owner::new(0, 0)).unwrap());
    std::array::from_fn(|row| {
        let attach = || Mpmc::attach(&region, 0, geometry, Owner::new(row as u32, 0)).unwrap();
        Arc::new(first.take().unwrap_or_else(attach))
    })
}

fn pop(ring: &Mpmc) -> Option<u64> {
    let block = match ring.pop_block(Lane::Main) {
        Ok(block) => block,
        Err(PopError::Empty) => return None,
        Err(error) => panic!("{error}"),
    };
    let mut word = [0; 8];
    assert!(block.payload().read(&mut word));
    Some(u64::from_le_bytes(word))
}

fn push(ring: &Mpmc, value: u64) {
    ring.push(&value.to_le_bytes()).unwrap();
}

fn drain(ring: &Mpmc) -> Vec<u64> {
    std::iter::from_fn(|| pop(ring)).collect()
}

/// Explores `body` with messages in the slots and in blocks.
fn for_each_shape(body: impl Fn(Geometry) + Copy + Send + Sync + 'static) {
    for small_in_slots in [true, false] {
        model(move || body(geometry(small_in_slots)));
    }
}

#[test]
fn two_producers_that_make_it_grow_lose_nothing_and_keep_their_order() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        let other = thread::spawn(move || [10, 11].map(|value| push(&b, value)));
        push(&a, 1);
        push(&a, 2);
        other.join().unwrap();
        let got = drain(&a);
        let of = |from: u64| got.iter().copied().filter(|value| value / 10 == from / 10).collect::<Vec<_>>();
        assert_eq!((of(1), of(10)), (vec![1, 2], vec![10, 11]), "{got:?}");
    });
}

#[test]
fn a_consumer_goes_on_to_the_larger_ring_only_when_the_smaller_one_is_empty() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        push(&a, 1);
        let other = thread::spawn(move || [2, 3].map(|value| push(&b, value)));
        let mut got = vec![pop(&a).expect("one was there")];
        got.extend(pop(&a));
        other.join().unwrap();
        got.extend(drain(&a));
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn consumers_that_meet_where_it_grew_share_without_doubles() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        for value in 1..=3 {
            push(&a, value);
        }
        let other = thread::spawn(move || [pop(&b), pop(&b)]);
        let mine = [pop(&a), pop(&a)];
        let theirs = other.join().unwrap();
        for pair in [mine, theirs] {
            assert!(pair[1].is_none() || pair[0] < pair[1], "{mine:?} {theirs:?}");
        }
        let mut all: Vec<u64> = mine.into_iter().chain(theirs).flatten().collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        assert_eq!(pop(&a), None);
    });
}

#[test]
fn it_shrinks_when_it_is_empty_and_a_put_beside_that_is_not_lost() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        push(&a, 1);
        push(&a, 2);
        assert_eq!([pop(&a), pop(&a)], [Some(1), Some(2)]);
        // What is empty now is the larger ring.
        let other = thread::spawn(move || [3, 4].map(|value| push(&b, value)));
        let mut got: Vec<u64> = pop(&a).into_iter().collect();
        got.extend(pop(&a));
        other.join().unwrap();
        got.extend(drain(&a));
        assert_eq!(got, [3, 4]);
    });
}

#[test]
fn a_short_look_never_finds_a_lane_empty_that_is_not() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        push(&a, 0);
        // The next message is there before the oldest is taken.
        let other = thread::spawn(move || {
            for value in 1..=2 {
                push(&b, value);
                assert_eq!(pop(&b), Some(value - 1));
            }
        });
        assert!(!a.is_plainly_empty(Lane::Main));
        other.join().unwrap();
        assert!(!a.is_plainly_empty(Lane::Main));
        assert_eq!(pop(&a), Some(2));
    });
}

#[test]
fn a_consumer_that_slept_while_it_grew_and_shrank_and_grew_takes_the_oldest() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        push(&a, 1);
        let other = thread::spawn(move || pop(&b));
        // The smallest ring is used again, and what it holds is not the oldest: that is in the larger one.
        let mut got: Vec<u64> = pop(&a).into_iter().collect();
        push(&a, 2);
        push(&a, 3);
        got.extend(pop(&a));
        let theirs = other.join().unwrap();
        got.extend(drain(&a));
        assert!(got.is_sorted(), "{got:?}");
        got.extend(theirs);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn a_producer_that_was_away_for_turns_does_not_pass_the_mark_of_a_closed_ring() {
    for_each_shape(|geometry| {
        let [a, away] = handles(&geometry);
        for value in 1..=3 {
            push(&a, value);
            assert_eq!(pop(&a), Some(value));
        }
        let other = thread::spawn(move || [4, 5].map(|value| push(&away, value)));
        // It grows, and the first ring is closed when it is empty.
        push(&a, 10);
        push(&a, 11);
        let mut got: Vec<u64> = std::iter::from_fn(|| pop(&a)).collect();
        other.join().unwrap();
        got.extend(drain(&a));
        let of = |from: u64| got.iter().copied().filter(|value| value / 10 == from / 10).collect::<Vec<_>>();
        assert_eq!((of(4), of(10)), (vec![4, 5], vec![10, 11]), "{got:?}");
        assert_eq!((a.len(), a.pushed(Lane::Main)), (0, 7));
    });
}

#[test]
fn what_was_put_before_the_end_is_got_although_it_grows_meanwhile() {
    for_each_shape(|geometry| {
        let [a, b] = handles(&geometry);
        let put = |ring: &Mpmc, value: u64| match ring.push(&value.to_le_bytes()) {
            Ok(()) => true,
            Err(PushError::Closed) => false,
            Err(error) => panic!("{error}"),
        };
        let other = thread::spawn(move || [1, 2].map(|value| put(&b, value)));
        a.shut();
        let mut got = Vec::new();
        loop {
            match a.pop_block(Lane::Main) {
                Ok(block) => {
                    let mut word = [0; 8];
                    assert!(block.payload().read(&mut word));
                    got.push(u64::from_le_bytes(word));
                }
                Err(PopError::Empty) if a.close_if_empty() == PopError::Closed => break,
                Err(PopError::Empty) => {}
                Err(PopError::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let put = other.join().unwrap();
        assert!(!put[1] || put[0]);
        assert_eq!(got.len(), put.iter().filter(|&&put| put).count(), "{got:?} of {put:?}");
        assert!(matches!(a.pop_block(Lane::Main), Err(PopError::Closed)));
    });
}

#[test]
fn a_producer_that_dies_anywhere_while_it_makes_the_ring_grow_holds_nobody_up() {
    let grow = |steps| {
        with_a_death(steps, true, |ring| push(ring, 2), |ring| pop(ring).into_iter().collect());
    };
    model_deaths(grow);
    model_deaths(|steps| {
        with_a_death(
            steps,
            false,
            |ring| push(ring, 2),
            |ring| {
                push(ring, 3);
                Vec::new()
            },
        );
    });
}

#[test]
fn a_consumer_that_dies_anywhere_while_the_ring_shrinks_holds_nobody_up() {
    model_deaths(|steps| {
        with_a_death(
            steps,
            true,
            |ring| {
                let _ = [pop(ring), pop(ring)];
            },
            |ring| {
                push(ring, 3);
                Vec::new()
            },
        );
    });
}

#[test]
fn what_is_put_into_a_ring_that_a_dead_process_opened_for_an_era_to_come_is_not_left_behind() {
    model_deaths_in_turn(|steps| {
        let geometry = geometry(true);
        let region = Region::new(Heap::new(geometry.region_len().unwrap()));
        let first = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
        let [dead, late] = [DEAD, Owner::new(1, 0)].map(|owner| Mpmc::attach(&region, 0, &geometry, owner).unwrap());
        // It has grown, and is empty.
        push(&first, 1);
        push(&first, 2);
        assert_eq!([pop(&first), pop(&first)], [Some(1), Some(2)]);
        // Decides where to put it before it shrinks, and puts it after a process died that was about to make it grow again.
        let other = thread::spawn(move || push(&late, 9));
        let (mut got, all) = steadily(|| {
            let got: Vec<u64> = pop(&first).into_iter().collect();
            push(&first, 3);
            (got, mortal(steps, || push(&dead, 4)).is_some())
        });
        other.join().unwrap();
        got.extend(drain(&first));
        let put = if all { vec![3, 4, 9] } else { vec![3, 9] };
        got.sort_unstable();
        assert!(got == put || got == [3, 4, 9], "{got:?}");
        assert_eq!((first.len(), first.pushed(Lane::Main)), (0, 2 + got.len() as u64));
    });
}

const DEAD: Owner = Owner::new(3, 0);

/// One message waits; one participant dies in the middle of what it does, while another one does something else and says what it got.
fn with_a_death(steps: u32, small: bool, dies: fn(&Mpmc), lives: fn(&Mpmc) -> Vec<u64>) {
    let geometry = geometry(small);
    let region = Region::new(Heap::new(geometry.region_len().unwrap()));
    let first = Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap();
    let [dead, living] = [DEAD, Owner::new(1, 0)].map(|owner| Mpmc::attach(&region, 0, &geometry, owner).unwrap());
    push(&first, 1);
    let victim = thread::spawn(move || mortal(steps, || dies(&dead)));
    let mut got = lives(&living);
    if victim.join().unwrap().is_none() {
        first.sweep(DEAD, Finished::default(), Orphans::Drop, || true, |_| ()).unwrap();
    }
    got.extend(drain(&first));
    // What the dead one put or took may be there or not. The rest is there once, in order.
    assert!(got.windows(2).all(|pair| pair[0] != pair[1]) && got.len() <= 3, "{got:?}");
    // And it works on, in both rings, with every block.
    for value in 4..8 {
        push(&first, value);
    }
    assert_eq!(drain(&first), [4, 5, 6, 7]);
    let free: Vec<_> = std::iter::from_fn(|| first.alloc(9).ok()).collect();
    assert_eq!(free.len() as u64, BLOCKS, "blocks leaked");
}
