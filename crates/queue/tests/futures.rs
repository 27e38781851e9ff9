//! Waiting in futures: under tokio with one thread and with several, and under smol.

use futures_util::future::{Either, select};
use futures_util::{FutureExt, SinkExt, StreamExt};
use multiproc_prim::{AtomicU64, Ordering};
use multiproc_process::Process;
use multiproc_queue::{GetError, JoinableQueue, PutError, Queue};
use static_assertions::assert_impl_all;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs a body under each runtime.
fn under_each<F: Future<Output = ()> + Send + 'static>(body: fn() -> F) {
    let watched = move || async move { tokio::time::timeout(WATCHDOG, body()).await.expect("it goes on") };
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(watched());
    let several = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_time().build().unwrap();
    several.block_on(several.spawn(watched())).unwrap();
    smol::block_on(async move {
        let timer = smol::Timer::after(WATCHDOG);
        assert!(matches!(select(pin!(body()), pin!(timer)).await, Either::Left(_)), "it goes on");
    });
}

/// A task of the runtime that runs this.
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send {
    match tokio::runtime::Handle::try_current() {
        Ok(tokio) => Either::Left(tokio.spawn(future).map(|done| done.unwrap())),
        Err(_) => Either::Right(smol::spawn(future)),
    }
}

fn put_numbers((to, count): (Queue<u64>, u64)) {
    (0..count).for_each(|number| to.put(number).unwrap());
    to.shutdown();
}

#[test]
fn values_of_another_process_arrive_in_order_until_its_shutdown() {
    under_each(|| async {
        let queue = Queue::bounded(8).unwrap();
        let process = Process::spawn(put_numbers, (queue.clone(), 3000)).unwrap();
        for number in 0..1500 {
            assert_eq!(queue.get_async().await.unwrap(), number);
        }
        let mut stream = queue.stream();
        for number in 1500..3000 {
            assert_eq!(stream.next().await, Some(number));
        }
        assert_eq!((stream.next().await, stream.end()), (None, Some(&GetError::ShutDown)));
        assert!(process.join().unwrap().success());
    });
}

#[test]
fn a_put_waits_for_room_and_fails_at_a_shutdown_with_its_value() {
    under_each(|| async {
        let queue = Queue::bounded(2).unwrap();
        let theirs = queue.clone();
        let puts = spawn(async move {
            for number in 0..500u64 {
                theirs.put_async(number).await.unwrap();
            }
            theirs.put_async(500).await.unwrap();
            theirs.put_async(501).await.unwrap();
            theirs.put_async(502).await
        });
        for number in 0..500 {
            assert_eq!(queue.get_async().await.unwrap(), number);
        }
        while !queue.is_full() {
            std::thread::yield_now();
            spawn(async {}).await;
        }
        queue.shutdown();
        assert!(matches!(puts.await, Err(PutError::ShutDown(502))));
    });
}

#[test]
fn a_put_waits_for_memory() {
    under_each(|| async {
        let queue: Queue<Vec<u8>> = Queue::builder().memory(1 << 20).max_message(1 << 14).build().unwrap();
        let mut put = 0;
        while queue.try_put(vec![7; 10_000]).is_ok() {
            put += 1;
        }
        assert!(queue.put_async(vec![9; 10_000]).now_or_never().is_none(), "there is no memory");
        let theirs = queue.clone();
        let puts = spawn(async move {
            for _ in 0..50 {
                theirs.put_async(vec![8; 10_000]).await.unwrap();
            }
        });
        for at in 0..put + 50 {
            assert_eq!(queue.get_async().await.unwrap(), vec![if at < put { 7 } else { 8 }; 10_000]);
        }
        puts.await;
    });
}

#[test]
fn a_thousand_tasks_that_wait_each_get_one_value() {
    under_each(|| async {
        let queue = Queue::unbounded().unwrap();
        let tasks: Vec<_> =
            (0..1000).map(|_| queue.clone()).map(|queue| spawn(async move { queue.get_async().await.unwrap() })).collect();
        spawn(async {}).await;
        queue.put_many(0..1000u64).unwrap();
        let mut got = Vec::new();
        for task in tasks {
            got.push(task.await);
        }
        got.sort_unstable();
        assert_eq!(got, (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn futures_that_are_dropped_at_any_moment_lose_no_value_and_leave_none_behind() {
    under_each(|| async {
        const VALUES: u64 = 5000;
        let queue = Queue::bounded(3).unwrap();
        let sum = Arc::new(AtomicU64::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let (queue, sum) = (queue.clone(), Arc::clone(&sum));
                spawn(async move {
                    let mut round = task;
                    loop {
                        // Some futures are polled a few times and dropped, and some wait to the end.
                        round += 1;
                        let mut get = pin!(queue.get_async());
                        let mut got = None;
                        for _ in 0..round % 4 {
                            match get.as_mut().now_or_never() {
                                Some(done) => {
                                    got = Some(done);
                                    break;
                                }
                                None => spawn(async {}).await,
                            }
                        }
                        let got = match got {
                            Some(done) => done,
                            None if round % 3 > 0 => continue,
                            None => queue.get_async().await,
                        };
                        match got {
                            Ok(value) => sum.fetch_add(value, Ordering::Relaxed),
                            Err(error) => break assert_eq!(error, GetError::ShutDown),
                        };
                    }
                })
            })
            .collect();
        let sleeper = {
            let (queue, sum) = (queue.clone(), Arc::clone(&sum));
            std::thread::spawn(move || {
                (&queue).into_iter().for_each(|value| assert!(sum.fetch_add(value, Ordering::Relaxed) < u64::MAX))
            })
        };
        for value in 1..=VALUES {
            queue.put_async(value).await.unwrap();
        }
        queue.shutdown();
        for task in tasks {
            task.await;
        }
        sleeper.join().unwrap();
        assert_eq!(sum.load(Ordering::Relaxed), VALUES * (VALUES + 1) / 2);
    });
}

#[test]
fn streams_that_are_kept_and_not_polled_hold_no_value_back() {
    under_each(|| async {
        let queue = Queue::unbounded().unwrap();
        let mut kept: Vec<_> = (0..5).map(|_| queue.stream()).collect();
        for stream in &mut kept {
            assert!(stream.next().now_or_never().is_none());
        }
        for value in 0..3u64 {
            let theirs = queue.clone();
            let gets = spawn(async move { theirs.get_async().await.map(|got| (got, std::time::Instant::now())) });
            spawn(async {}).await;
            std::thread::sleep(Duration::from_millis(5));
            let begin = std::time::Instant::now();
            queue.put(value).unwrap();
            let (got, end) = gets.await.unwrap();
            assert_eq!(got, value);
            // Five that are called one after the other, in vain, would take seconds between two looks of a sleeper.
            assert!(end - begin < Duration::from_secs(1), "after {:?}", end - begin);
        }
    });
}

#[test]
fn a_sink_puts_in_order_and_keeps_one_value_at_most() {
    under_each(|| async {
        let queue = Queue::bounded(1).unwrap();
        let mut sink = queue.sink();
        let gets = spawn({
            let queue = queue.clone();
            async move { queue.stream().take(100).collect::<Vec<u64>>().await }
        });
        for number in 0..100 {
            sink.send(number).await.unwrap();
        }
        sink.close().await.unwrap();
        assert_eq!(gets.await, (0..100).collect::<Vec<_>>());
        sink.feed(1).await.unwrap();
        sink.feed(2).await.unwrap();
        assert!(sink.feed(3).now_or_never().is_none(), "the queue holds one value and the sink another one");
        assert_eq!((queue.get().unwrap(), queue.len()), (1, 0));
    });
}

fn die_with_one((jobs, holding): (JoinableQueue<u64>, Queue<()>)) {
    jobs.get().unwrap();
    holding.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_killed_process_held_is_delivered_to_a_future_and_join_ends() {
    under_each(|| async {
        let (jobs, holding) = (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
        jobs.put_async(5u64).await.unwrap();
        let process = Process::spawn(die_with_one, (jobs.clone(), holding.clone())).unwrap();
        holding.get_async().await.unwrap();
        let joins = spawn({
            let jobs = jobs.clone();
            async move { jobs.join_async().await }
        });
        let gets = spawn({
            let jobs = jobs.clone();
            async move { jobs.get_delivery_async().await }
        });
        spawn(async {}).await;
        process.kill().unwrap();
        let delivery = gets.await.unwrap();
        assert_eq!((*delivery, delivery.count()), (5, 2));
        delivery.done();
        joins.await.unwrap();
        jobs.shutdown();
        assert_eq!(jobs.get_delivery_async().await.unwrap_err(), GetError::ShutDown);
        assert!(jobs.stream().next().await.is_none());
    });
}

#[test]
fn before_the_first_future_that_waits_there_is_no_thread_and_for_many_queues_there_is_one() {
    // A process of its own, since other tests wait, too.
    assert!(Process::spawn(count_threads, ()).unwrap().join().unwrap().success());
}

fn count_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let queues: Vec<Queue<u64>> = (0..50).map(|_| Queue::unbounded().unwrap()).collect();
    let before = threads();
    queues[0].put_async(1).now_or_never().unwrap().unwrap();
    assert_eq!((queues[0].get_async().now_or_never(), threads()), (Some(Ok(1)), before));
    for queue in &queues {
        assert!(queue.get_async().now_or_never().is_none());
    }
    assert_eq!(threads(), before + 1);
}

#[test]
fn futures_go_to_other_threads() {
    fn goes<T: Send>(_: T) {}
    let (queue, jobs) = (Queue::<String>::unbounded().unwrap(), JoinableQueue::<String>::unbounded().unwrap());
    goes((queue.get_async(), queue.put_async(String::new()), jobs.get_delivery_async(), jobs.join_async()));
    assert_impl_all!(multiproc_queue::QueueStream<String>: Send, Unpin);
    assert_impl_all!(multiproc_queue::QueueSink<String>: Send, Unpin);
    assert_impl_all!(multiproc_queue::DeliveryStream<String>: Send, Unpin);
}
