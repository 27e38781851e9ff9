//! Looking at queues without taking anything: their names, their messages, and ids that last.

use multiproc_process::Process;
use multiproc_queue::{
    AttachError, Flaw, GetError, JoinableQueue, MessageId, OpenError, Overview, Place, PutError, Queue, QueueKind, SimpleQueue,
    Unfinished, queue_names, remove_queue,
};
use multiproc_shm::{Kind, Segment};
use multiproc_travel::pass;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

/// A name of this test's own, which goes with the value.
struct Name(String);

impl Name {
    fn new(of: &str) -> Self {
        Self(format!("overview-{of}-{}", std::process::id()))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = remove_queue(&self.0);
    }
}

fn contents(overview: &Overview) -> Vec<Vec<u8>> {
    overview.waiting().map(|message| message.unwrap().bytes).collect()
}

#[test]
fn a_queue_of_any_kind_and_type_opens_for_a_look_and_says_what_it_holds() {
    let names = [Name::new("kind-q"), Name::new("kind-j"), Name::new("kind-s")];
    let _q: Queue<(u32, String)> = Queue::builder().named(&names[0].0).bounded(7).build().unwrap();
    let _j: JoinableQueue<Option<u8>> = JoinableQueue::builder().max_deliveries(3).named(&names[1].0).build().unwrap();
    let _s: SimpleQueue<String> = SimpleQueue::builder().named(&names[2].0).build().unwrap();
    let [q, j, s] = names.each_ref().map(|name| Overview::open(&name.0).unwrap());
    assert_eq!([q.kind(), j.kind(), s.kind()], [QueueKind::Queue, QueueKind::JoinableQueue, QueueKind::SimpleQueue]);
    assert_eq!([q.message_type(), j.message_type(), s.message_type()], ["(u32, String)", "Option<u8>", "String"]);
    assert!(q.holds::<(u32, String)>() && !q.holds::<(u32, u32)>() && s.holds::<String>() && s.holds::<Vec<u8>>());
    assert_eq!((q.capacity(), j.capacity(), j.max_deliveries()), (Some(7), None, Some(3)));
    let listed = queue_names().unwrap();
    assert!(names.iter().all(|name| listed.contains(&name.0)) && listed.is_sorted());
    assert!(matches!(Overview::open("there-is-no-such-queue"), Err(OpenError::Attach(AttachError::NotFound(_)))));
}

#[test]
fn messages_are_seen_in_order_and_stay_where_they_are() {
    for (bounded, count) in [(true, 50), (false, 9_000)] {
        let name = Name::new(&format!("order-{bounded}"));
        let builder = JoinableQueue::<Vec<u8>>::builder().named(&name.0);
        let jobs = if bounded { builder.bounded(64) } else { builder }.build().unwrap();
        let put: Vec<_> = (0..count).map(|n: u32| n.to_string().into_bytes()).collect();
        jobs.put_many(put.iter().cloned()).unwrap();
        let overview = Overview::open(&name.0).unwrap();
        assert_eq!(contents(&overview), put);
        let ids: Vec<MessageId> = overview.waiting().map(|message| message.unwrap().id).collect();
        let mut got = Vec::new();
        for id in &ids {
            let delivery = jobs.try_get_delivery().unwrap();
            assert_eq!(delivery.id(), *id);
            got.push(delivery.done());
        }
        assert_eq!((got, contents(&overview)), (put, vec![]));
        let mut different = ids.clone();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), ids.len());
        assert_eq!((overview.puts(), overview.gets()), (u64::from(count), u64::from(count)));
    }
}

#[test]
fn small_values_of_a_plain_queue_are_seen_too() {
    let name = Name::new("small");
    let q: Queue<String> = Queue::builder().named(&name.0).bounded(8).build().unwrap();
    for round in 0..5 {
        q.put_many(["", "a", "eightbyt", "and a longer one"].map(String::from)).unwrap();
        let seen = contents(&Overview::open(&name.0).unwrap());
        assert_eq!(seen, [&b""[..], b"a", b"eightbyt", b"and a longer one"], "{round}");
        assert_eq!(q.try_iter().count(), 4);
    }
}

fn die_holding(jobs: JoinableQueue<String>) {
    let _job = jobs.get();
    std::process::abort();
}

#[test]
fn an_id_lasts_through_deliveries_deaths_and_the_dead_letters() {
    let name = Name::new("id");
    let jobs: JoinableQueue<String> = JoinableQueue::builder().max_deliveries(3).named(&name.0).build().unwrap();
    jobs.put_many(["other", "job"].map(String::from)).unwrap();
    let other = jobs.get_delivery().unwrap();
    let first = jobs.get_delivery().unwrap();
    let id = first.id();
    assert_ne!(other.id(), id);
    first.give_back_noting(7);
    let overview = Overview::open(&name.0).unwrap();
    let back = overview.waiting().next().unwrap().unwrap();
    assert_eq!((back.id, back.deliveries, back.ended), (id, 1, Some(Unfinished::GivenBack { note: 7 })));
    let worker = Process::spawn(die_holding, jobs.clone()).unwrap();
    let pid = worker.pid();
    worker.join().unwrap();
    let third = jobs.get_delivery_timeout(WATCHDOG).unwrap();
    assert_eq!((third.id(), third.count(), third.as_str()), (id, 3, "job"));
    assert!(jobs.holders().iter().any(|holder| holder.id == id && holder.deliveries == 3));
    let in_hand: Vec<_> = overview.in_hand().collect();
    assert!(in_hand.iter().any(|message| message.id == id && message.bytes == b"job"), "{in_hand:?}");
    assert!(in_hand.iter().all(|message| matches!(message.place, Place::InHand { pid, .. } if pid == std::process::id())));
    third.give_back_noting(9);
    let dead = overview.dead().next().unwrap().unwrap();
    assert_eq!((dead.id, dead.deliveries, dead.ended), (id, 3, Some(Unfinished::GivenBack { note: 9 })));
    let letter = jobs.try_get_dead().unwrap();
    assert_eq!(letter.id(), id);
    letter.leave();
    assert_eq!((jobs.dead_len(), jobs.try_get_dead().unwrap().id()), (1, id));
    assert_ne!(pid, std::process::id());
    other.done();
}

#[test]
fn letters_that_are_left_stay_in_their_order_and_one_that_is_put_aside_is_dead_at_once() {
    let jobs: JoinableQueue<u32> = JoinableQueue::unbounded().unwrap();
    jobs.put_many(0..5).unwrap();
    for _ in 0..5 {
        jobs.get_delivery().unwrap().put_aside(1);
    }
    jobs.join_timeout(WATCHDOG).unwrap();
    let letters: Vec<_> = std::iter::from_fn(|| jobs.try_get_dead().ok()).collect();
    letters.into_iter().for_each(|letter| if *letter == 2 { drop(letter) } else { letter.leave() });
    let left: Vec<_> = std::iter::from_fn(|| jobs.try_get_dead().ok()).map(|letter| letter.into_inner()).collect();
    assert_eq!(left, [0, 1, 3, 4]);
}

#[test]
fn texts_and_bytes_open_each_others_queues_and_nothing_that_is_no_text_gets_into_a_queue_of_texts() {
    let names = [Name::new("texts"), Name::new("bytes")];
    let texts: JoinableQueue<String> = JoinableQueue::builder().named(&names[0].0).build().unwrap();
    let bytes: JoinableQueue<Vec<u8>> = JoinableQueue::builder().named(&names[1].0).build().unwrap();
    let as_bytes = JoinableQueue::<Vec<u8>>::open(&names[0].0).unwrap();
    let as_texts = JoinableQueue::<String>::open(&names[1].0).unwrap();
    texts.put("grüße".into()).unwrap();
    assert_eq!(as_bytes.get().unwrap(), "grüße".as_bytes());
    as_bytes.put(b"back".to_vec()).unwrap();
    assert_eq!(texts.get().unwrap(), "back");
    let refused = as_bytes.put(vec![0xff]).unwrap_err();
    assert!(refused.to_string().contains("UTF-8"), "{refused}");
    let PutError::Encode { value, .. } = refused else { panic!("{refused:?}") };
    assert_eq!((value, texts.len()), (vec![0xff], 0));
    bytes.put(vec![0xff]).unwrap();
    assert!(as_texts.get().is_err());
    // What could not be read is a dead letter for a program that can.
    assert_eq!(bytes.try_get_dead().unwrap().into_inner(), [0xff]);
    let refused = JoinableQueue::<u64>::open(&names[1].0).unwrap_err();
    let OpenError::Attach(AttachError::Refused { flaw: Flaw::MessageType { found, expected }, .. }) = &refused else {
        panic!("{refused}")
    };
    assert_eq!((found.as_str(), expected.as_str()), ("Vec<u8>", "u64"));
}

#[test]
fn a_look_sees_whole_messages_while_others_put_and_take_them() {
    let name = Name::new("busy");
    let jobs: JoinableQueue<Vec<u8>> = JoinableQueue::builder().bounded(32).named(&name.0).build().unwrap();
    let overview = Overview::open(&name.0).unwrap();
    const ROUNDS: usize = 20_000;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..ROUNDS).for_each(|n| jobs.put(vec![n as u8; n % 300]).unwrap()));
        scope.spawn(|| {
            let mut done = 0;
            while done < ROUNDS {
                let delivery = jobs.get_delivery_timeout(WATCHDOG).unwrap();
                if delivery.count() == 1 && done % 7 == 0 {
                    delivery.give_back();
                } else {
                    drop(delivery.done());
                    done += 1;
                }
            }
        });
        while overview.unfinished() > 0 || overview.puts() < ROUNDS as u64 {
            for message in overview.in_hand().chain(overview.waiting().map(Result::unwrap)) {
                assert!(message.bytes.iter().all(|byte| *byte == message.bytes[0]), "{message:?}");
            }
        }
    });
}

#[test]
fn a_look_at_rubbish_ends_with_an_error_that_names_the_queue() {
    let name = Name::new("rubbish");
    let q = Queue::<u64>::builder().bounded(4).participants(2).named(&name.0).build().unwrap();
    q.put(1).unwrap();
    let segment = Segment::attach(pass::encode(&q).unwrap().descriptors.remove(0), Kind(*b"QUEU")).unwrap();
    // The ring lies behind the fixed part: its ends, then its slots.
    let len = segment.region().len();
    let words = segment.region().stretch(len..len + 4096, false).unwrap();
    assert!(words.bytes(256, 64).unwrap().write(&[0xee; 64]));
    let overview = Overview::open(&name.0).unwrap();
    let seen: Vec<_> = overview.waiting().collect();
    assert!(matches!(&seen[..], [Err(GetError::Corrupt { queue })] if queue.contains(&name.0)), "{seen:?}");
}
