//! Each promise of a `RemoteQueue`, once, against a server of the test's own.

mod server;

use multiproc_nats::{ConnectError, GetError, JoinError, PutError, RemoteQueue, ServerError, TaskDoneError};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

fn queue(server: &server::Server) -> RemoteQueue<String> {
    RemoteQueue::connect(&server.url("jobs")).unwrap()
}

#[test]
fn what_is_put_is_got_in_order_and_done() {
    let server = server!();
    let jobs = queue(&server);
    for n in 0..5 {
        jobs.put(n.to_string()).unwrap();
    }
    assert_eq!((jobs.unfinished().unwrap(), jobs.len().unwrap(), jobs.capacity().unwrap()), (5, 5, None));
    for n in 0..5 {
        assert_eq!(jobs.get().unwrap(), n.to_string());
    }
    assert_eq!((jobs.unfinished().unwrap(), jobs.len().unwrap()), (5, 0));
    for _ in 0..5 {
        jobs.task_done().unwrap();
    }
    assert_eq!(jobs.unfinished().unwrap(), 0);
    assert_eq!(jobs.task_done(), Err(TaskDoneError::NothingInHand));
    jobs.join().unwrap();
}

#[test]
fn structs_come_as_they_were_put() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Job {
        id: u64,
        path: String,
        flags: Vec<Option<bool>>,
    }
    let server = server!();
    let jobs = RemoteQueue::connect(&server.url("jobs")).unwrap();
    let job = || Job { id: 7, path: "a/b".into(), flags: vec![None, Some(true)] };
    jobs.put(job()).unwrap();
    assert_eq!(jobs.get_delivery().unwrap().done().unwrap(), job());
}

#[test]
fn a_delivery_that_is_dropped_comes_back_first_with_a_raised_count() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put_many(["first".to_string(), "second".into()]).unwrap();
    let delivery = jobs.get_delivery().unwrap();
    assert_eq!((delivery.as_str(), delivery.count()), ("first", 1));
    let id = delivery.id();
    drop(delivery);
    let delivery = jobs.get_delivery_timeout(SOON).unwrap();
    assert_eq!(
        jobs.get_delivery_timeout(SOON).unwrap().done().unwrap(),
        if delivery.as_str() == "first" { "second" } else { "first" }
    );
    let first = if delivery.as_str() == "first" { Some(&delivery) } else { None };
    if let Some(first) = first {
        assert_eq!((first.count(), first.id()), (2, id));
    }
    delivery.done().unwrap();
    jobs.join_timeout(SOON).unwrap();
}

#[test]
fn a_value_given_back_is_the_next_one() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put_many(["first".to_string(), "second".into()]).unwrap();
    jobs.get_delivery().unwrap().give_back();
    let delivery = jobs.try_get_delivery().unwrap();
    assert_eq!((delivery.as_str(), delivery.count()), ("first", 2));
    delivery.done().unwrap();
}

#[test]
fn a_value_given_back_for_later_comes_later() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put("job".into()).unwrap();
    let begin = Instant::now();
    jobs.get_delivery().unwrap().give_back_after(Duration::from_millis(700));
    assert!(matches!(jobs.try_get_delivery(), Err(GetError::Empty)));
    jobs.get_delivery_timeout(SOON).unwrap().done().unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(700), "{:?}", begin.elapsed());
}

#[test]
fn an_empty_queue_says_so_at_once_or_at_the_deadline() {
    let server = server!();
    let jobs = queue(&server);
    assert_eq!(jobs.try_get(), Err(GetError::Empty));
    let begin = Instant::now();
    assert_eq!(jobs.get_timeout(Duration::from_millis(300)), Err(GetError::Timeout));
    assert!((Duration::from_millis(300)..Duration::from_millis(900)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
}

#[test]
fn a_full_queue_says_so_and_a_put_waits_for_room() {
    let server = server!();
    let jobs: RemoteQueue<String> = RemoteQueue::builder().bounded(2).connect(&server.url("jobs")).unwrap();
    assert_eq!(jobs.capacity().unwrap(), Some(2));
    jobs.put_many(["a".to_string(), "b".into()]).unwrap();
    match jobs.try_put("c".into()) {
        Err(PutError::Full(value)) => assert_eq!(value, "c"),
        other => panic!("{other:?}"),
    }
    let timed_out = jobs.put_timeout("c".into(), Duration::from_millis(200));
    // The last try may be on its way at the deadline. Then nobody knows what the server said.
    let is_late = |why: &ServerError| *why == ServerError::Unanswered;
    assert!(
        matches!(&timed_out, Err(PutError::Timeout(_)))
            || matches!(&timed_out, Err(PutError::Server { why, .. }) if is_late(why)),
        "{timed_out:?}"
    );
    // In hand counts, too.
    let in_hand = jobs.get_delivery().unwrap();
    assert!(matches!(jobs.try_put("c".into()), Err(PutError::Full(_))));
    let waiting = std::thread::spawn({
        let jobs = jobs.clone();
        move || jobs.put("c".into())
    });
    // Nothing tells that a put goes on waiting.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!waiting.is_finished(), "{:?}", waiting.join());
    in_hand.done().unwrap();
    waiting.join().unwrap().unwrap();
    assert_eq!(jobs.unfinished().unwrap(), 2);
}

#[test]
fn put_many_gives_back_what_does_not_get_in() {
    let server = server!();
    let jobs: RemoteQueue<u32> = RemoteQueue::builder().bounded(300).connect(&server.url("jobs")).unwrap();
    assert_eq!(jobs.put_many(0..300).unwrap(), 300);
    jobs.shutdown().unwrap();
    let mut error = jobs.put_many(0..).unwrap_err();
    assert_eq!(error.put, 0);
    let back: Vec<u32> = error.failed.into_iter().map(PutError::into_inner).collect();
    assert_eq!(back, (0..back.len() as u32).collect::<Vec<_>>());
    assert_eq!(error.rest.next(), Some(back.len() as u32));
    for n in 0..300 {
        assert_eq!(jobs.get_delivery().unwrap().done().unwrap(), n);
    }
}

#[test]
fn a_shutdown_ends_puts_and_then_gets_everywhere() {
    let server = server!();
    let (jobs, elsewhere) = (queue(&server), queue(&server));
    let blocked = std::thread::spawn({
        let elsewhere = elsewhere.clone();
        move || {
            let mut got = 0;
            loop {
                match elsewhere.get_delivery() {
                    Ok(delivery) => drop(delivery.done().map(|_| got += 1)),
                    Err(error) => return (got, error),
                }
            }
        }
    });
    jobs.put("job".into()).unwrap();
    jobs.join_timeout(SOON).unwrap();
    jobs.shutdown().unwrap();
    assert_eq!(blocked.join().unwrap(), (1, GetError::ShutDown));
    assert!(matches!(elsewhere.put("late".into()), Err(PutError::ShutDown(_))));
    assert!(jobs.is_shut_down().unwrap());
    assert_eq!(queue(&server).get(), Err(GetError::ShutDown));
}

#[test]
fn after_a_shutdown_a_get_waits_for_what_others_may_give_back() {
    let server = server!();
    let (jobs, elsewhere) = (queue(&server), queue(&server));
    jobs.put("job".into()).unwrap();
    let in_hand = elsewhere.get_delivery().unwrap();
    jobs.shutdown().unwrap();
    assert_eq!(jobs.get_timeout(Duration::from_millis(500)), Err(GetError::Timeout));
    // Values in the caller's own hands don't count.
    assert!(matches!(elsewhere.get(), Err(GetError::ShutDown)));
    in_hand.give_back();
    jobs.get_delivery_timeout(SOON).unwrap().done().unwrap();
    assert_eq!(jobs.get_timeout(SOON), Err(GetError::ShutDown));
}

#[test]
fn join_waits_until_all_is_done() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put_many((0..20).map(|n| n.to_string())).unwrap();
    assert_eq!(jobs.join_timeout(Duration::from_millis(50)), Err(JoinError::Timeout { unfinished: 20 }));
    let worker = std::thread::spawn({
        let jobs = jobs.clone();
        move || (0..20).for_each(|_| drop(jobs.get_delivery().unwrap().done().unwrap()))
    });
    jobs.join_timeout(SOON).unwrap();
    assert_eq!(jobs.unfinished().unwrap(), 0);
    worker.join().unwrap();
}

#[test]
fn a_value_that_nobody_can_do_becomes_a_dead_letter() {
    let server = server!();
    let jobs: RemoteQueue<String> = RemoteQueue::builder().max_deliveries(2).connect(&server.url("jobs")).unwrap();
    jobs.put("poison".into()).unwrap();
    jobs.get_delivery().unwrap().give_back();
    jobs.get_delivery().unwrap().give_back();
    assert_eq!((jobs.try_get(), jobs.dead_len().unwrap(), jobs.unfinished().unwrap()), (Err(GetError::Empty), 1, 0));
    let listed = jobs.dead_letters(10).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].value.as_deref(), listed[0].count, listed[0].id, listed[0].unreadable), (Ok("poison"), 2, 1, false));
    jobs.try_get_dead().unwrap().leave();
    let letter = jobs.try_get_dead().unwrap();
    assert_eq!((letter.as_str(), letter.count(), letter.id()), ("poison", 2, 1));
    letter.put_back().unwrap();
    let delivery = jobs.get_delivery().unwrap();
    assert_eq!((delivery.as_str(), delivery.count()), ("poison", 1));
    delivery.give_back();
    drop(jobs.get_delivery().unwrap());
    jobs.join_timeout(SOON).unwrap();
    assert_eq!(jobs.try_get_dead().unwrap().into_inner().unwrap(), "poison");
    assert_eq!((jobs.dead_len().unwrap(), jobs.try_get_dead().unwrap_err()), (0, GetError::Empty));
}

#[test]
fn a_message_that_makes_no_value_becomes_a_dead_letter() {
    let server = server!();
    let numbers: RemoteQueue<(u8, u8)> = RemoteQueue::connect(&server.url("jobs")).unwrap();
    numbers.put((1, 2)).unwrap();
    let texts: RemoteQueue<Vec<String>> = RemoteQueue::connect(&server.url("jobs")).unwrap();
    assert!(matches!(texts.get(), Err(GetError::Decode(_))));
    assert!(numbers.dead_letters(9).unwrap()[0].unreadable);
    let letter = numbers.try_get_dead().unwrap();
    assert!(letter.is_unreadable());
    assert_eq!(letter.into_inner().unwrap(), (1, 2));
}

#[test]
fn a_thread_that_ends_gives_back_what_it_has_in_hand() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put("job".into()).unwrap();
    let other = jobs.clone();
    std::thread::spawn(move || other.get().unwrap()).join().unwrap();
    let delivery = jobs.get_delivery_timeout(SOON).unwrap();
    assert_eq!(delivery.count(), 2);
    delivery.done().unwrap();
}

#[test]
fn a_handle_is_refused_at_the_put_and_the_value_comes_back() {
    let server = server!();
    let ends: RemoteQueue<multiproc_queue::Queue<u8>> = RemoteQueue::connect(&server.url("jobs")).unwrap();
    match ends.put(multiproc_queue::Queue::unbounded().unwrap()) {
        Err(PutError::Encode { value, .. }) => value.put(1).unwrap(),
        other => panic!("{other:?}"),
    }
    assert_eq!(ends.unfinished().unwrap(), 0);
}

#[test]
fn a_value_above_the_limit_of_the_server_is_refused_and_comes_back() {
    let server = server!("max_payload: 4096");
    let jobs: RemoteQueue<Vec<u8>> = RemoteQueue::connect(&server.url("jobs")).unwrap();
    match jobs.put(vec![1; 5000]) {
        Err(PutError::TooLong { value, len: 5000, max: 4096 }) => assert_eq!(value, vec![1; 5000]),
        other => panic!("{other:?}"),
    }
    jobs.put(vec![1; 3000]).unwrap();
}

#[test]
fn a_queue_that_is_there_is_refused_with_other_options() {
    let server = server!();
    let builder = || RemoteQueue::<u8>::builder().bounded(5).max_deliveries(3).lease(Duration::from_secs(2));
    builder().connect(&server.url("jobs")).unwrap();
    builder().connect(&server.url("jobs")).unwrap();
    RemoteQueue::<u8>::connect(&server.url("jobs")).unwrap();
    for other in [builder().bounded(6), builder().max_deliveries(4), builder().lease(Duration::from_secs(3))] {
        let error = other.connect(&server.url("jobs")).unwrap_err();
        assert!(matches!(error, ConnectError::Differs { .. }), "{error}");
    }
}

#[test]
fn a_queue_travels_as_its_address() {
    let server = server!();
    let jobs: RemoteQueue<String> = RemoteQueue::builder().bounded(5).connect(&server.url("jobs")).unwrap();
    let parcel = multiproc_travel::pass::encode(&jobs).unwrap();
    let arrived: RemoteQueue<String> = multiproc_travel::pass::decode(&parcel.bytes, Vec::new()).unwrap();
    arrived.put("job".into()).unwrap();
    assert_eq!((jobs.get().unwrap().as_str(), arrived.capacity().unwrap()), ("job", Some(5)));
    jobs.task_done().unwrap();
}

#[test]
fn prefetched_values_go_back_when_the_last_handle_is_dropped() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put_many((0..10).map(|n| n.to_string())).unwrap();
    let ahead: RemoteQueue<String> = RemoteQueue::builder().prefetch(10).connect(&server.url("jobs")).unwrap();
    ahead.get_delivery().unwrap().done().unwrap();
    drop(ahead);
    for _ in 0..9 {
        jobs.get_delivery_timeout(SOON).unwrap().done().unwrap();
    }
    jobs.join_timeout(SOON).unwrap();
}

#[test]
fn prefetched_values_are_got_in_order_until_the_end() {
    let server = server!();
    let jobs: RemoteQueue<u32> = RemoteQueue::builder().prefetch(16).connect(&server.url("jobs")).unwrap();
    jobs.put_many(0..1000).unwrap();
    for n in 0..1000 {
        assert_eq!(jobs.get().unwrap(), n);
        jobs.task_done().unwrap();
    }
    assert_eq!(jobs.get_timeout(Duration::from_millis(100)), Err(GetError::Timeout));
    assert_eq!(jobs.try_get(), Err(GetError::Empty));
    let blocked = std::thread::spawn({
        let jobs = jobs.clone();
        move || jobs.get()
    });
    jobs.shutdown().unwrap();
    assert_eq!(blocked.join().unwrap(), Err(GetError::ShutDown));
}

#[test]
fn futures_run_under_another_runtime_and_a_dropped_get_takes_nothing() {
    let server = server!();
    let url = server.url("jobs");
    smol::block_on(async {
        let jobs = RemoteQueue::<String>::connect_async(&url).await.unwrap();
        let waiting = jobs.get_delivery_async();
        assert!(smol::future::poll_once(waiting).await.is_none());
        jobs.put_async("job".into()).await.unwrap();
        jobs.put_many_async(["more".to_string()]).await.unwrap();
        for _ in 0..2 {
            jobs.get_delivery_async().await.unwrap().done_async().await.unwrap();
        }
        jobs.join_async().await.unwrap();
        jobs.shutdown_async().await.unwrap();
        assert!(matches!(jobs.get_delivery_async().await, Err(GetError::ShutDown)));
    });
}

#[test]
fn a_blocking_call_may_be_made_in_a_task_of_tokio() {
    let server = server!();
    let url = server.url("jobs");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let jobs = RemoteQueue::<u8>::connect(&url).unwrap();
        jobs.put(1).unwrap();
        assert_eq!(jobs.get(), Ok(1));
        jobs.task_done().unwrap();
    });
}

#[test]
fn a_server_without_jetstream_is_named() {
    let Some(_) = server::binary() else { return };
    let port = server::free_port();
    let mut child = std::process::Command::new(server::binary().unwrap());
    let mut child = child.args(["-a", "127.0.0.1", "-p", &port.to_string()]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let error = loop {
        match RemoteQueue::<u8>::connect(&format!("nats://127.0.0.1:{port}/jobs")) {
            Err(ConnectError::Unreachable { .. }) => std::thread::yield_now(),
            other => break other.unwrap_err(),
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(error, ConnectError::NoJetStream { .. }), "{error:?}");
}

#[test]
fn nobody_at_the_address_is_an_error_at_once() {
    let port = server::free_port();
    let error = RemoteQueue::<u8>::connect(&format!("nats://127.0.0.1:{port}/jobs")).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[test]
fn a_stream_deleted_under_us_is_an_error_of_every_call() {
    let server = server!();
    let jobs = queue(&server);
    jobs.put("job".into()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    let blocked = std::thread::spawn({
        let jobs = jobs.clone();
        move || jobs.get()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.url("").trim_end_matches('/')).await.unwrap();
        async_nats::jetstream::new(client).delete_stream("jobs").await.unwrap();
    });
    let gone = || ServerError::Gone { queue: "jobs".into() };
    assert_eq!(blocked.join().unwrap(), Err(GetError::Server(gone())));
    assert!(matches!(jobs.put("more".into()), Err(PutError::Server { why, .. }) if why == gone()));
    assert_eq!(jobs.unfinished(), Err(gone()));
    assert_eq!(jobs.join(), Err(JoinError::Server(gone())));
    in_hand.done().unwrap_err();
    // A new one is another queue.
    let anew = queue(&server);
    anew.put("new".into()).unwrap();
    assert_eq!(jobs.try_get(), Err(GetError::Server(gone())));
    anew.get_delivery().unwrap().done().unwrap();
}
