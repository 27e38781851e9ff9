//! After a shutdown a get of a `JoinableQueue` ends when no value can come back, and not before. Two gets never wait for each
//! other.

use multiproc_process::Process;
use multiproc_queue::{GetError, JoinableQueue, Queue};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

/// Gets until the end, and finishes every value.
fn drain(q: &JoinableQueue<u64>) -> Vec<u64> {
    let mut got = Vec::new();
    loop {
        match q.get_timeout(WATCHDOG) {
            Ok(value) => {
                got.push(value);
                q.task_done().unwrap();
            }
            Err(GetError::ShutDown) => return got,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_get_with_nothing_in_hand_waits_for_what_others_have_that_wait_themselves() {
    for _ in 0..200 {
        let q = JoinableQueue::unbounded().unwrap();
        q.put_many([1, 2]).unwrap();
        let (has_both, both) = mpsc::channel();
        let batches = {
            let q = q.clone();
            thread::spawn(move || {
                let (first, second) = (q.get().unwrap(), q.get().unwrap());
                q.shutdown();
                has_both.send(()).unwrap();
                // Ends with both values in hand: they come back.
                assert!(matches!(q.get_timeout(WATCHDOG), Err(GetError::ShutDown)));
                first + second
            })
        };
        both.recv().unwrap();
        let others = [0, 1].map(|_| {
            let q = q.clone();
            thread::spawn(move || drain(&q))
        });
        assert_eq!(batches.join().unwrap(), 3);
        let mut got: Vec<_> = others.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        assert_eq!(q.unfinished(), 0);
    }
}

#[test]
fn of_callers_that_wait_with_values_in_hand_one_ends_and_the_others_get_what_it_leaves() {
    for _ in 0..300 {
        let q = JoinableQueue::unbounded().unwrap();
        q.put_many([1, 2]).unwrap();
        let (ready, both) = mpsc::channel();
        let threads = [1, 2].map(|_| {
            let (q, ready) = (q.clone(), ready.clone());
            thread::spawn(move || {
                let mut got = vec![q.get().unwrap()];
                ready.send(()).unwrap();
                while q.unfinished() > 0 && !q.is_empty() {
                    thread::yield_now();
                }
                // The first thread that ends here leaves its value behind, as a killed process does.
                loop {
                    match q.get_timeout(WATCHDOG) {
                        Ok(value) => got.push(value),
                        Err(GetError::ShutDown) => return got,
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        (0..2).for_each(|_| both.recv().unwrap());
        q.shutdown();
        let mut numbers: Vec<_> = threads.map(|thread| thread.join().unwrap().len()).into();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    }
}

#[test]
fn a_delivery_that_another_thread_finishes_is_no_end_for_the_thread_that_got_it() {
    for _ in 0..200 {
        let q = JoinableQueue::unbounded().unwrap();
        q.put_many([1, 2]).unwrap();
        let (deliveries, there) = mpsc::channel();
        let dispatcher = {
            let q = q.clone();
            thread::spawn(move || {
                deliveries.send(q.get_delivery().unwrap()).unwrap();
                drain(&q)
            })
        };
        let theirs = there.recv_timeout(WATCHDOG).unwrap();
        let ours = loop {
            // The dispatcher may have got both by now, in which case there is nothing to see.
            match q.try_get_delivery() {
                Ok(ours) => break Some(ours),
                Err(_) if q.unfinished() < 2 => break None,
                Err(_) => thread::yield_now(),
            }
        };
        q.shutdown();
        let first = theirs.done();
        assert_eq!(first, 1);
        drop(ours);
        assert_eq!(dispatcher.join().unwrap(), [2]);
    }
}

#[test]
fn what_a_pool_of_threads_gives_back_late_is_delivered_again_to_the_thread_that_deals_out() {
    let q = JoinableQueue::unbounded().unwrap();
    q.put_many([1, 2, 3]).unwrap();
    q.shutdown();
    let (deal, dealt) = mpsc::channel::<multiproc_queue::Delivery<u64>>();
    let pool = thread::spawn(move || {
        let mut done = Vec::new();
        for delivery in dealt {
            // The other thread waits for more by now.
            thread::sleep(Duration::from_millis(100));
            if *delivery == 3 && delivery.count() == 1 {
                drop(delivery);
            } else {
                done.push(delivery.done());
            }
        }
        done
    });
    while let Ok(delivery) = q.get_delivery_timeout(WATCHDOG) {
        deal.send(delivery).unwrap();
    }
    drop(deal);
    assert_eq!(pool.join().unwrap(), [1, 2, 3]);
    q.join_timeout(WATCHDOG).unwrap();
}

#[test]
fn a_message_that_is_read_in_place_is_nothing_to_wait_for() {
    let q = JoinableQueue::<u32>::unbounded().unwrap();
    let loan = q.loan(1).unwrap();
    assert!(loan.set(0, 5));
    loan.send().unwrap();
    let message = q.borrow().unwrap();
    q.shutdown();
    assert!(matches!(q.borrow_timeout(WATCHDOG), Err(GetError::ShutDown)));
    assert!(matches!(q.get_timeout(WATCHDOG), Err(GetError::ShutDown)));
    drop(message);
    q.task_done().unwrap();
    q.join().unwrap();
}

fn hold_and_wait((q, told, go): (JoinableQueue<u64>, Queue<()>, Queue<()>)) {
    q.get().unwrap();
    told.put(()).unwrap();
    go.get().unwrap();
    let _ = q.get();
}

#[test]
fn what_a_dead_process_had_that_waited_comes_to_those_who_are_left() {
    for round in 0..20 {
        let (q, told, go) = (JoinableQueue::unbounded().unwrap(), Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
        q.put(1).unwrap();
        let holder = Process::builder().daemon(true).spawn(hold_and_wait, (q.clone(), told.clone(), go.clone())).unwrap();
        told.get_timeout(WATCHDOG).unwrap();
        q.put(2).unwrap();
        assert_eq!(q.get_timeout(WATCHDOG).unwrap(), 2);
        q.shutdown();
        go.put(()).unwrap();
        // The kill hits it on its way into its wait, or in it.
        thread::sleep(Duration::from_micros(200 * round));
        holder.kill().unwrap();
        q.task_done().unwrap();
        assert_eq!(drain(&q), [1]);
        holder.join().unwrap();
        q.join().unwrap();
    }
}
