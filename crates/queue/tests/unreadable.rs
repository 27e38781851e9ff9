//! Values that can't be decoded, or whose code panics on the way: none is lost uncounted, and none stays in hand unknown to its
//! thread.

use multiproc_queue::{GetError, JoinableQueue, Queue, TaskDoneError};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(20);

/// A value too long for a slot.
type Long = (Moody, [u8; 16]);

/// A value that can't be read while this thread is in a mood.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Moody(u8);

const BAD: Moody = Moody(13);

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Refuse,
    Panic,
}

thread_local! {
    static MOOD: Cell<Mood> = const { Cell::new(Mood::Good) };
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Self(u8::deserialize(deserializer)?);
        match MOOD.get() {
            Mood::Refuse if value == BAD => Err(D::Error::custom("not in this mood")),
            Mood::Panic if value == BAD => panic!("not in this mood"),
            _ => Ok(value),
        }
    }
}

fn in_mood<R>(mood: Mood, work: impl FnOnce() -> R) -> R {
    MOOD.set(mood);
    let result = work();
    MOOD.set(Mood::Good);
    result
}

fn panics<R>(work: impl FnOnce() -> R) {
    assert!(in_mood(Mood::Panic, || catch_unwind(AssertUnwindSafe(work))).is_err());
    MOOD.set(Mood::Good);
}

fn long(number: u8) -> Long {
    (Moody(number), [number; 16])
}

fn joinable(values: &[u8]) -> JoinableQueue<Long> {
    let q = JoinableQueue::bounded(8).unwrap();
    q.put_many(values.iter().map(|&value| long(value))).unwrap();
    q
}

fn queue(values: &[u8]) -> Queue<Long> {
    let q = Queue::bounded(8).unwrap();
    q.put_many(values.iter().map(|&value| long(value))).unwrap();
    q
}

/// Checks that the queue works on and that everything is done.
fn is_whole(q: &JoinableQueue<Long>) {
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    q.put(long(99)).unwrap();
    assert_eq!(q.get().unwrap(), long(99));
    q.task_done().unwrap();
    q.join_timeout(WATCHDOG).unwrap();
}

#[test]
fn an_undecodable_value_of_a_joinable_queue_is_put_aside_and_can_be_read_there() {
    let q = joinable(&[13, 13, 2]);
    in_mood(Mood::Refuse, || {
        assert!(matches!(q.get(), Err(GetError::Decode(_))));
        assert!(matches!(q.get_delivery(), Err(GetError::Decode(_))));
    });
    assert_eq!((q.dead_len(), q.unfinished()), (2, 1));
    assert_eq!(q.get().unwrap(), long(2));
    q.task_done().unwrap();
    q.join_timeout(WATCHDOG).unwrap();
    let letter = q.try_get_dead().unwrap();
    assert_eq!((*letter, letter.count()), (long(13), 1));
    letter.put_back().unwrap();
    assert_eq!(q.get().unwrap(), long(13));
    q.task_done().unwrap();
    // A letter that can't be read is gone, and the error says so.
    in_mood(Mood::Refuse, || assert!(matches!(q.try_get_dead(), Err(GetError::Decode(_)))));
    assert_eq!(q.dead_len(), 0);
    is_whole(&q);
}

#[test]
fn get_many_of_a_joinable_queue_gives_what_came_before_an_undecodable_value_with_the_error() {
    let q = joinable(&[1, 13, 3]);
    let error = in_mood(Mood::Refuse, || q.get_many(3)).unwrap_err();
    assert_eq!(error.values, [long(1)]);
    assert!(matches!(error.error, GetError::Decode(_)));
    assert_eq!((q.dead_len(), q.unfinished()), (1, 2));
    q.task_done().unwrap();
    assert_eq!(q.get_many(3).unwrap(), [long(3)]);
    q.task_done().unwrap();
    q.join_timeout(WATCHDOG).unwrap();
    is_whole(&q);
}

#[test]
fn get_many_of_a_queue_gives_what_came_before_an_undecodable_value_with_the_error() {
    let q = queue(&[1, 13, 3]);
    let error = in_mood(Mood::Refuse, || q.get_many(3)).unwrap_err();
    assert_eq!(error.values, [long(1)]);
    assert!(matches!(error.error, GetError::Decode(_)));
    assert_eq!(q.get_many(3).unwrap(), [long(3)]);
    assert_eq!(q.lost(), 0);
    q.shutdown();
    let error = q.get_many(3).unwrap_err();
    assert!(error.values.is_empty() && matches!(error.error, GetError::ShutDown));
}

#[test]
fn a_value_of_a_joinable_queue_whose_reading_panics_is_delivered_again() {
    let q = joinable(&[13, 2]);
    panics(|| q.get());
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    panics(|| q.try_get());
    panics(|| q.get_delivery());
    for expected in [(long(13), 4), (long(2), 1)] {
        let delivery = q.try_get_delivery().unwrap();
        assert_eq!((*delivery, delivery.count()), expected);
        delivery.done();
    }
    is_whole(&q);
}

#[test]
fn a_panic_in_get_many_of_a_joinable_queue_gives_back_all_that_it_got() {
    let q = joinable(&[1, 2, 3, 13, 5]);
    assert_eq!(q.get().unwrap(), long(1));
    panics(|| q.get_many(5));
    // A value that was in hand before still is.
    assert_eq!(q.unfinished(), 5);
    q.task_done().unwrap();
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    let mut again = q.get_many(4).unwrap();
    again.sort_by_key(|value| value.0.0);
    assert_eq!(again, [long(2), long(3), long(5), long(13)]);
    (0..4).for_each(|_| q.task_done().unwrap());
    is_whole(&q);
}

/// A value that gets another one while it is read, and then panics, if there is a queue to get it from.
#[derive(Debug, PartialEq, Serialize)]
struct Greedy(u8);

thread_local! {
    static ANOTHER: RefCell<Option<JoinableQueue<Greedy>>> = const { RefCell::new(None) };
}

impl<'de> Deserialize<'de> for Greedy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Self(u8::deserialize(deserializer)?);
        if value.0 == 3 {
            if let Some(queue) = ANOTHER.take() {
                assert_eq!(queue.get(), Ok(Greedy(4)));
                panic!("with a value in hand");
            }
        }
        Ok(value)
    }
}

#[test]
fn what_the_code_of_a_value_gets_is_its_own_also_in_a_batch_that_panics() {
    let q = JoinableQueue::bounded(8).unwrap();
    q.put_many((1..=5).map(Greedy)).unwrap();
    ANOTHER.set(Some(q.clone()));
    panics(|| q.get_many(5));
    // The value that was got within the batch is still in hand, and no other one is.
    q.task_done().unwrap();
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    let mut again: Vec<_> = q.get_many(5).unwrap().into_iter().map(|value| value.0).collect();
    again.sort_unstable();
    assert_eq!(again, [1, 2, 3, 5]);
    (0..4).for_each(|_| q.task_done().unwrap());
    assert_eq!(q.unfinished(), 0);
}

#[test]
fn a_dead_letter_whose_reading_panics_stays_one() {
    let q = JoinableQueue::builder().bounded(8).max_deliveries(1).build().unwrap();
    q.put(long(13)).unwrap();
    q.get_delivery().unwrap().give_back();
    panics(|| q.try_get_dead());
    assert_eq!(q.dead_len(), 1);
    let letter = q.try_get_dead().unwrap();
    assert_eq!((*letter, letter.count()), (long(13), 1));
    drop(letter);
    is_whole(&q);
}

#[test]
fn values_of_a_queue_that_go_with_a_panic_are_counted_as_lost() {
    let q = queue(&[13, 1, 2, 13, 3]);
    panics(|| q.get());
    assert_eq!(q.lost(), 1);
    panics(|| q.get_many(5));
    assert_eq!((q.lost(), q.len()), (4, 1));
    assert_eq!(q.get().unwrap(), long(3));
    // Small messages count, too.
    let q = Queue::bounded(4).unwrap();
    q.put(BAD).unwrap();
    panics(|| q.get());
    assert_eq!((q.lost(), q.len()), (1, 0));
}

#[test]
fn a_message_read_in_the_wrong_form_is_put_aside_by_a_joinable_queue() {
    let q = JoinableQueue::<u64>::bounded(4).unwrap();
    q.put(1).unwrap();
    assert!(matches!(q.borrow(), Err(GetError::Form { .. })));
    q.loan(3).unwrap().send().unwrap();
    assert!(matches!(q.get(), Err(GetError::Form { .. })));
    q.join_timeout(WATCHDOG).unwrap();
    assert_eq!((q.dead_len(), q.task_done()), (2, Err(TaskDoneError::NothingInHand)));
    assert_eq!(*q.try_get_dead().unwrap(), 1);
    // A message that was read in place is in hand once it is dropped.
    q.loan(3).unwrap().send().unwrap();
    let message = q.borrow().unwrap();
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    drop(message);
    q.task_done().unwrap();
    q.join_timeout(WATCHDOG).unwrap();
}

/// A value whose own code uses the queue that it goes through.
struct Nosy(u32);

thread_local! {
    static OTHER: Cell<Option<Queue<u32>>> = const { Cell::new(None) };
}

fn meddle() {
    if let Some(q) = OTHER.take() {
        q.put(7).unwrap();
        assert_eq!(q.get().unwrap(), 7);
        OTHER.set(Some(q));
    }
}

impl Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        meddle();
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Nosy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        meddle();
        u32::deserialize(deserializer).map(Self)
    }
}

#[test]
fn a_value_whose_own_code_uses_queues_passes() {
    OTHER.set(Some(Queue::bounded(2).unwrap()));
    let q = Queue::bounded(2).unwrap();
    q.put((Nosy(1), [5u8; 30])).unwrap();
    let (value, rest) = q.get().unwrap();
    assert_eq!((value.0, rest), (1, [5; 30]));
}

/// A value that panics when it is dropped, if a test asks for it.
#[derive(Serialize, Deserialize)]
struct Explosive(bool);

impl Drop for Explosive {
    fn drop(&mut self) {
        assert!(!self.0 || thread_is_panicking(), "dropped");
    }
}

fn thread_is_panicking() -> bool {
    std::thread::panicking()
}

#[test]
fn a_value_that_panics_when_it_is_dropped_is_still_given_back_or_finished() {
    let q = JoinableQueue::bounded(4).unwrap();
    // The put is complete before it drops the value.
    panics(|| q.put((Explosive(true), [0u8; 20])));
    assert_eq!((q.len(), q.unfinished()), (1, 1));
    panics(|| drop(q.get_delivery().unwrap()));
    let delivery = q.get_delivery().unwrap();
    assert_eq!(delivery.count(), 2);
    std::mem::forget(delivery.done());
    q.join_timeout(WATCHDOG).unwrap();
}
