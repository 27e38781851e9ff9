//! The shipped ring when a participant stops for good between any two of its steps on shared memory: another one sweeps while
//! others go on, nothing is lost but what the dead one had in hand, and every block is free again.
//!
//! Without loom each model runs once, for real, and nobody dies.

use multiproc_prim::model::{Arc, model, model_deaths, mortal, thread};
use multiproc_prim::{AtomicU64, Heap, Ordering, Place, Region, fence};
use multiproc_ring::mpmc::{Completion, Finished, Geometry, Lane, Mpmc, Orphan, Orphans, Owner, Swept, Unfinished};

const DEAD: Owner = Owner::new(3, 0);
const SWEEPER: Owner = Owner::new(2, 0);
const NOTHING: Finished = Finished { count: 0, last: Completion(0) };
const DIED: Unfinished = Unfinished::Died { pid: 1 };
const AGAIN: Orphans = Orphans::Redeliver { max_deliveries: None, how: DIED };

/// A ring of 64-byte blocks with lanes for what comes back, and a word behind it for what the mortal one has finished.
struct Model {
    geometry: Geometry,
    region: Region,
    blocks: usize,
    first: Arc<Mpmc>,
}

impl Model {
    fn new(slots: u32, blocks: usize) -> Self {
        Self::with(blocks, Geometry { returns: true, small_in_slots: false, ..Geometry::new(slots) })
    }

    fn with(blocks: usize, geometry: Geometry) -> Self {
        let geometry = Geometry { memory: 64 * blocks as u64, max_message: 16, first_turn: (1 << 40) - 1, ..geometry };
        let region = Region::new(Heap::new(geometry.region_len().unwrap() + 64));
        let first = Arc::new(Mpmc::create(&region, 0, &geometry, Owner::new(0, 0)).unwrap());
        Self { geometry, region, blocks, first }
    }

    fn handle(&self, owner: Owner) -> Mpmc {
        Mpmc::attach(&self.region, 0, &self.geometry, owner).unwrap()
    }

    fn done(&self) -> Place<AtomicU64> {
        let done: Place<AtomicU64> = self.region.place(self.region.len() - 64).unwrap();
        done.make_fresh();
        done
    }

    /// What is left in a lane, taken out.
    fn drain(&self, lane: Lane) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| take(&self.first, lane)).collect()
    }

    /// Every slot can be used, and no more than there are.
    fn assert_works_on(&self) {
        let put = (0..3).filter(|_| self.first.push(b"more").is_ok()).count();
        assert_eq!((put, self.drain(Lane::Main).len(), self.first.len()), (2, 2, 0));
    }

    /// Everybody is through, and the dead were swept: every block is free.
    fn assert_nothing_leaked(&self) {
        let free: Vec<_> = std::iter::from_fn(|| self.first.alloc(1).ok()).collect();
        assert_eq!(free.len(), self.blocks, "blocks leaked");
    }
}

/// What a word says is finished: few enough that its own count is whole.
fn finished(word: &AtomicU64) -> Finished {
    let last = Completion(word.load(Ordering::Acquire));
    Finished { count: last.count_since(0), last }
}

fn take(ring: &Mpmc, lane: Lane) -> Option<Vec<u8>> {
    let block = ring.pop_block(lane).ok()?;
    let mut message = Vec::new();
    block.payload().append_to(&mut message);
    Some(message)
}

#[test]
fn a_producer_that_dies_anywhere_loses_its_own_message_at_most() {
    model_deaths(|steps| {
        let model = Model::new(2, 3);
        let (dead, living) = (model.handle(DEAD), model.handle(Owner::new(1, 0)));
        let victim = thread::spawn(move || mortal(steps, || dead.push(b"mine").is_ok()));
        let living = thread::spawn(move || (living.push(b"theirs").is_ok(), take(&living, Lane::Main)));
        let put = victim.join().unwrap();
        if put.is_none() {
            model.first.sweep(DEAD, NOTHING, Orphans::Drop, || true, |_| ()).unwrap();
        }
        let (theirs_put, got) = living.join().unwrap();
        let mut all = model.drain(Lane::Main);
        all.extend(got);
        all.sort();
        assert!(theirs_put, "there was room for both");
        let both = all == [b"mine".to_vec(), b"theirs".to_vec()];
        assert!(both || (put.is_none() && all == [b"theirs"]), "{put:?} {all:?}");
        model.assert_nothing_leaked();
    });
}

#[test]
fn a_consumer_that_dies_anywhere_loses_what_it_took_at_most() {
    model_deaths(|steps| {
        let model = Model::new(2, 3);
        model.first.push(b"1").unwrap();
        model.first.push(b"2").unwrap();
        let (dead, living) = (model.handle(DEAD), model.handle(Owner::new(1, 0)));
        let victim = thread::spawn(move || mortal(steps, || take(&dead, Lane::Main)));
        let living = thread::spawn(move || (take(&living, Lane::Main), living.push(b"3").is_ok()));
        let got = victim.join().unwrap();
        let mut lost = 0;
        if got.is_none() {
            lost = model.first.sweep(DEAD, NOTHING, Orphans::Drop, || true, |_| ()).unwrap().lost;
        }
        let (theirs, put) = living.join().unwrap();
        let mut all = model.drain(Lane::Main);
        all.extend(theirs);
        all.extend(got.flatten());
        assert!(put);
        assert_eq!(all.len() + lost, 3, "{all:?} and {lost} lost");
        model.assert_nothing_leaked();
    });
}

#[test]
fn a_small_message_of_one_that_dies_anywhere_is_there_whole_or_not_at_all() {
    model_deaths(|steps| {
        let model = Model::with(1, Geometry::new(2));
        model.first.push(b"1").unwrap();
        let (dead, living) = (model.handle(DEAD), model.handle(Owner::new(1, 0)));
        let victim = thread::spawn(move || mortal(steps, || (dead.push(b"mine").is_ok(), take(&dead, Lane::Main))));
        let living = thread::spawn(move || (living.push(b"theirs").is_ok(), take(&living, Lane::Main)));
        let ended = victim.join().unwrap();
        let (theirs_put, got) = living.join().unwrap();
        let mut all = model.drain(Lane::Main);
        all.extend(got);
        let unknown = usize::from(ended.is_none());
        let (mine_put, mine_got) = ended.unwrap_or_default();
        all.extend(mine_got);
        let put = 1 + usize::from(theirs_put) + usize::from(mine_put);
        assert!(put <= all.len() + unknown && all.len() <= put + unknown, "{put} put, {all:?}");
        assert!(all.iter().all(|message| [&b"1"[..], b"mine", b"theirs"].contains(&&message[..])), "{all:?}");
        model.assert_works_on();
    });
}

#[test]
fn what_a_dead_consumer_had_not_finished_comes_back_once() {
    model_deaths(|steps| {
        let model = Model::new(2, 3);
        let done = model.done();
        model.first.push(b"1").unwrap();
        model.first.push(b"2").unwrap();
        let (dead, living) = (model.handle(DEAD), model.handle(Owner::new(1, 0)));
        let theirs = done.clone();
        let victim = thread::spawn(move || {
            mortal(steps, || {
                let Ok(held) = dead.pop_block(Lane::Main).unwrap().hold() else { unreachable!() };
                theirs.store(held.complete(finished(&theirs)).last.0, Ordering::Release);
                drop(dead.resume(held));
            })
        });
        let living = thread::spawn(move || (take(&living, Lane::Main), take(&living, Lane::Returned)));
        let mut finished = 1;
        if victim.join().unwrap().is_none() {
            let done = self::finished(&done);
            finished = done.count as usize;
            model.first.sweep(DEAD, done, AGAIN, || true, |_| ()).unwrap();
        }
        let (new, returned) = living.join().unwrap();
        let mut all = model.drain(Lane::Returned);
        all.extend(model.drain(Lane::Main));
        all.extend(new);
        all.extend(returned);
        all.sort();
        all.dedup();
        assert_eq!(all.len() + finished, 2, "{all:?} left, {finished} finished");
        model.assert_nothing_leaked();
    });
}

/// One block, whose message is in the hands of a process that died.
fn in_dead_hands() -> Model {
    let model = Model::new(1, 1);
    model.first.push(b"1").unwrap();
    let dead = model.handle(DEAD);
    std::mem::forget(dead.pop_block(Lane::Main).unwrap());
    model
}

#[test]
fn a_sweeper_that_dies_anywhere_is_swept_in_turn() {
    model_deaths(|steps| {
        let model = in_dead_hands();
        let sweeper = model.handle(SWEEPER);
        let victim = thread::spawn(move || mortal(steps, || sweeper.sweep(DEAD, NOTHING, AGAIN, || true, |_| ()).unwrap()));
        model.first.sweep(DEAD, NOTHING, AGAIN, || true, |_| ()).unwrap();
        if victim.join().unwrap().is_none() {
            model.first.sweep(SWEEPER, NOTHING, AGAIN, || true, |_| ()).unwrap();
        }
        let block = model.first.pop_block(Lane::Returned).unwrap();
        // Once more than it was, for a sweeper that died between counting and bringing back.
        assert!((1..=2).contains(&block.deliveries()), "{} deliveries", block.deliveries());
        drop(block);
        assert!(model.drain(Lane::Returned).is_empty());
        model.assert_nothing_leaked();
    });
}

#[test]
fn a_slow_sweeper_never_touches_what_others_do_with_the_block_later() {
    model(|| {
        let model = in_dead_hands();
        let living = model.handle(Owner::new(1, 0));
        let living = thread::spawn(move || {
            // All that can happen to a block while another sweeper sleeps.
            let swept = living.sweep(DEAD, NOTHING, AGAIN, || true, |_| ()).unwrap().returned;
            let returned = take(&living, Lane::Returned);
            // There is no block for it as long as the other one has not brought back what it has.
            let new = living.push(b"a longer one").ok().map(|()| {
                let block = living.pop_block(Lane::Main).unwrap();
                (block.len(), block.deliveries())
            });
            (swept, returned, new)
        });
        let swept = model.first.sweep(DEAD, NOTHING, AGAIN, || true, |_| ()).unwrap().returned;
        let (their_swept, got, new) = living.join().unwrap();
        let left = model.drain(Lane::Returned);
        assert_eq!(swept + their_swept, 1);
        assert_eq!(new.unwrap_or((12, 0)), (12, 0));
        assert_eq!(got.into_iter().chain(left).collect::<Vec<_>>(), [b"1"]);
        model.assert_nothing_leaked();
    });
}

#[test]
fn a_sweep_that_slept_leaves_the_next_participant_of_the_row_alone() {
    model(|| {
        let model = Model::new(2, 1);
        // Who has the row of the dead one: 0, the dead one.
        let row = model.done();
        let taken = row.clone();
        // To a sweep it looks like the dead one.
        let next = model.handle(DEAD);
        let next = thread::spawn(move || {
            taken.store(1, Ordering::Relaxed);
            // As in a join.
            fence(Ordering::Release);
            (next.push(b"mine").is_ok(), take(&next, Lane::Main))
        });
        let is_still_dead = || row.load(Ordering::Acquire) == 0;
        let swept = model.first.sweep(DEAD, NOTHING, AGAIN, is_still_dead, |_| ()).unwrap();
        assert_eq!(swept, Swept::default());
        assert_eq!(next.join().unwrap(), (true, Some(b"mine".to_vec())));
        model.assert_nothing_leaked();
    });
}

#[test]
fn a_loss_is_counted_once_whichever_sweeper_dies_when() {
    model_deaths(|steps| {
        let model = in_dead_hands();
        let sweeper = model.handle(SWEEPER);
        let done = model.done();
        let theirs = done.clone();
        let victim = thread::spawn(move || {
            let count = |orphan: Orphan<'_>| theirs.store(orphan.complete(finished(&theirs)).last.0, Ordering::Release);
            mortal(steps, || sweeper.sweep(DEAD, NOTHING, Orphans::Drop, || true, count).unwrap())
        });
        let mut ours = NOTHING;
        model.first.sweep(DEAD, NOTHING, Orphans::Drop, || true, |orphan| ours = orphan.complete(ours)).unwrap();
        let survived = victim.join().unwrap().is_some();
        let theirs = finished(&done);
        if !survived {
            model.first.sweep(SWEEPER, theirs, Orphans::Drop, || true, |orphan| ours = orphan.complete(ours)).unwrap();
        }
        assert_eq!(ours.count + theirs.count, 1);
        model.assert_nothing_leaked();
    });
}

#[test]
fn a_dead_message_is_read_again_or_put_anew_whenever_its_reader_dies() {
    model_deaths(|steps| {
        let model = in_dead_hands();
        let once = Orphans::Redeliver { max_deliveries: Some(1), how: DIED };
        assert_eq!(model.first.sweep(DEAD, NOTHING, once, || true, |_| ()).unwrap().dead, 1);
        let reader = model.handle(SWEEPER);
        let living = model.handle(Owner::new(1, 0));
        let victim = thread::spawn(move || {
            mortal(steps, || {
                let mut letter = reader.pop_block(Lane::Dead).unwrap();
                letter.renew();
                reader.push_block(letter).unwrap();
            })
        });
        let living = thread::spawn(move || take(&living, Lane::Main));
        let survived = victim.join().unwrap().is_some();
        if !survived {
            model.first.sweep(SWEEPER, NOTHING, AGAIN, || true, |_| ()).unwrap();
        }
        let got = living.join().unwrap();
        let new: Vec<_> = got.into_iter().chain(model.drain(Lane::Main)).collect();
        let dead: Vec<_> = [Lane::Dead, Lane::DeadReturned].iter().flat_map(|&lane| model.drain(lane)).collect();
        assert_eq!(new.len() + dead.len(), 1, "{new:?} {dead:?}");
        assert!(!survived || dead.is_empty());
        model.assert_nothing_leaked();
    });
}
