//! Waiting for many: a selector, and the descriptor of a queue.

use multiproc_process::Process;
use multiproc_queue::{GetError, JoinableQueue, Queue};
use multiproc_sync::{Readable, Selector, Source, Writable, wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);

fn is_readable(descriptor: impl AsFd) -> bool {
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
}

fn becomes_readable(descriptor: impl AsFd) -> bool {
    let limit = Timespec::try_from(WATCHDOG).unwrap();
    poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit)).unwrap() == 1
}

fn put_one((to, value): (Queue<u64>, u64)) {
    to.put(value).unwrap();
}

#[test]
fn a_wait_returns_the_sources_that_are_ready_and_no_others() {
    let (full, empty): (Queue<u64>, Queue<u64>) = (Queue::bounded(1).unwrap(), Queue::bounded(1).unwrap());
    full.put(1).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let socket = Readable(&ours);
    let sources: [&dyn Source; 5] = [&full, &full.room(), &empty, &empty.room(), &socket];
    assert_eq!(wait(&sources, None).unwrap(), [0, 3]);
    theirs.write_all(b"x").unwrap();
    assert_eq!(wait(&sources, None).unwrap(), [0, 3, 4]);
    assert_eq!(wait(&[&full.room(), &empty], Duration::ZERO).unwrap(), []);
}

#[test]
fn a_put_of_another_process_ends_a_wait_for_many() {
    let queues: Vec<Queue<u64>> = (0..5).map(|_| Queue::unbounded().unwrap()).collect();
    let sources: Vec<&dyn Source> = queues.iter().map(|queue| queue as &dyn Source).collect();
    for round in 0..20 {
        let at = round % 5;
        let process = Process::spawn(put_one, (queues[at].clone(), round as u64)).unwrap();
        assert_eq!(wait(&sources, WATCHDOG).unwrap(), [at]);
        assert_eq!(queues[at].try_get().unwrap(), round as u64);
        assert!(process.join().unwrap().success());
    }
}

#[test]
fn a_sleeping_wait_is_ended_by_each_kind_of_source() {
    let (queue, room): (Queue<u64>, Queue<u64>) = (Queue::unbounded().unwrap(), Queue::bounded(1).unwrap());
    let (jobs, over): (JoinableQueue<u64>, Queue<u64>) = (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
    room.put(1).unwrap();
    jobs.put(1).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let work: [&(dyn Fn() + Sync); 5] = [
        &|| queue.put(1).unwrap(),
        &|| assert_eq!(room.get().unwrap(), 1),
        &|| assert_eq!(jobs.get_delivery().unwrap().done(), 1),
        &|| over.shutdown(),
        &|| (&theirs).write_all(b"x").unwrap(),
    ];
    let (all_done, has_room, socket) = (jobs.all_done(), room.room(), Readable(&ours));
    let sources: [&dyn Source; 5] = [&queue, &has_room, &all_done, &over, &socket];
    let mut expected = Vec::new();
    for (at, work) in work.into_iter().enumerate() {
        // Those that were ready stay so, and would end the wait at once: each wait is for one more.
        let rest = &sources[at..];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                work();
            });
            assert_eq!(wait(rest, WATCHDOG).unwrap(), [0], "source {at}");
        });
        expected.push(at);
        assert_eq!(wait(&sources, None).unwrap(), expected);
    }
    theirs.flush().unwrap();
}

#[test]
fn a_wait_keeps_its_deadline_to_the_millisecond_or_so() {
    let (queue, (ours, _theirs)) = (Queue::<u64>::unbounded().unwrap(), UnixStream::pair().unwrap());
    let socket = Readable(&ours);
    for sources in [&[&queue as &dyn Source][..], &[&socket], &[&queue, &socket], &[]] {
        for millis in [0, 1, 30, 150] {
            let (begin, timeout) = (Instant::now(), Duration::from_millis(millis));
            assert!(wait(sources, timeout).unwrap().is_empty());
            let took = begin.elapsed();
            assert!(took >= timeout && took < timeout + Duration::from_millis(500), "{millis} ms took {took:?}");
        }
    }
}

#[test]
fn a_selector_waits_for_hundreds_of_queues_and_sockets() {
    let queues: Vec<Queue<u64>> = (0..300).map(|_| Queue::bounded(2).unwrap()).collect();
    let sockets: Vec<_> = (0..40).map(|_| UnixStream::pair().unwrap()).collect();
    let readable: Vec<_> = sockets.iter().map(|(ours, _)| Readable(ours)).collect();
    let mut selector = Selector::new();
    queues.iter().for_each(|queue| assert!(selector.add(queue) < 300));
    readable.iter().for_each(|socket| assert!(selector.add(socket) >= 300));
    std::thread::scope(|scope| {
        // Behind each answer the next put, so that every one finds a sleeper, or one that is about to sleep.
        let (asks, asked) = std::sync::mpsc::channel();
        let (queues, sockets) = (&queues, &sockets);
        scope.spawn(move || {
            for at in asked {
                match at {
                    0..300 => queues[at].put(at as u64).unwrap(),
                    _ => (&sockets[at - 300].1).write_all(b"x").unwrap(),
                }
            }
        });
        for round in 0..680 {
            let at = round * 7 % 340;
            asks.send(at).unwrap();
            assert_eq!(selector.wait(WATCHDOG).unwrap(), [at]);
            match at {
                0..300 => assert_eq!(queues[at].try_get().unwrap(), at as u64),
                _ => (&sockets[at - 300].0).read_exact(&mut [0]).unwrap(),
            }
        }
    });
}

#[test]
fn a_program_that_serves_only_the_first_ready_source_serves_all_in_turn() {
    let queues: Vec<Queue<u64>> = (0..4).map(|_| Queue::unbounded().unwrap()).collect();
    queues.iter().for_each(|queue| assert_eq!(queue.put_many(0..100).unwrap(), 100));
    let mut selector = Selector::new();
    queues.iter().for_each(|queue| assert!(selector.add(queue) < 4));
    for round in 0..100 {
        let served: Vec<usize> =
            (0..4).map(|_| selector.wait(None).unwrap()[0]).inspect(|&at| assert_eq!(queues[at].get().unwrap(), round)).collect();
        assert_eq!(served, [0, 1, 2, 3]);
    }
}

#[test]
fn of_many_that_wait_for_the_same_queues_each_value_is_got_by_one_and_none_is_left() {
    const VALUES: u64 = 20_000;
    let queues: Vec<Queue<u64>> = (0..3).map(|_| Queue::bounded(4).unwrap()).collect();
    let sum = std::thread::scope(|scope| {
        let mut takers = Vec::new();
        for kind in 0..6 {
            let queues = &queues;
            takers.push(scope.spawn(move || {
                let (mut selector, mut sum, mut count) = (Selector::new(), 0, 0);
                queues.iter().for_each(|queue| assert!(selector.add(queue) < 3));
                'all: loop {
                    // Half of them sleep in a get, beside those that wait for all.
                    if kind % 2 == 0 {
                        let Ok(value) = queues[kind / 2].get() else { break };
                        (sum, count) = (sum + value, count + 1);
                        continue;
                    }
                    let mut ends = 0;
                    for at in selector.wait(WATCHDOG).unwrap() {
                        match queues[at].try_get() {
                            Ok(value) => (sum, count) = (sum + value, count + 1),
                            Err(GetError::ShutDown) => ends += 1,
                            Err(error) => assert_eq!(error, GetError::Empty),
                        }
                        if ends == 3 {
                            break 'all;
                        }
                    }
                }
                (sum, count)
            }));
        }
        (1..=VALUES).for_each(|value| queues[(value % 3) as usize].put(value).unwrap());
        queues.iter().for_each(Queue::shutdown);
        takers.into_iter().map(|taker| taker.join().unwrap()).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    });
    assert_eq!(sum, (VALUES * (VALUES + 1) / 2, VALUES));
}

#[test]
fn the_descriptor_is_readable_while_there_is_something_to_get() {
    let queue = Queue::<u64>::unbounded().unwrap();
    let descriptor = queue.readiness().unwrap();
    assert!(!is_readable(descriptor));
    for round in 0..200 {
        queue.put(round).unwrap();
        queue.put(round).unwrap();
        assert!(becomes_readable(descriptor));
        assert_eq!(queue.get().unwrap(), round);
        assert!(becomes_readable(descriptor), "one value is left");
        assert_eq!(queue.try_get().unwrap(), round);
        // The thread in the background may just be saying that the value was there: then the next get says that it is not.
        assert!(!is_readable(descriptor) || queue.try_get() == Err(GetError::Empty));
        assert!(!is_readable(descriptor));
    }
    queue.shutdown();
    assert!(becomes_readable(descriptor));
    assert_eq!(queue.try_get(), Err(GetError::ShutDown));
    assert!(is_readable(descriptor));
}

#[test]
fn the_descriptor_tells_of_the_puts_of_other_processes_and_of_what_they_took() {
    let queue = Queue::<u64>::unbounded().unwrap();
    for value in 0..10 {
        let process = Process::spawn(put_one, (queue.clone(), value)).unwrap();
        assert!(becomes_readable(queue.readiness().unwrap()));
        assert!(process.join().unwrap().success());
        let taker = Process::spawn(take_one, queue.clone()).unwrap();
        assert!(taker.join().unwrap().success());
        assert_eq!(queue.try_get(), Err(GetError::Empty));
        assert!(!is_readable(queue.readiness().unwrap()));
    }
}

fn take_one(queue: Queue<u64>) {
    queue.try_get().unwrap();
}

fn hold_one((jobs, holding): (JoinableQueue<u64>, Queue<()>)) {
    jobs.get().unwrap();
    holding.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_wait_and_a_descriptor_tell_of_what_a_killed_process_held() {
    let (jobs, holding) = (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
    jobs.put(7u64).unwrap();
    let holder = Process::spawn(hold_one, (jobs.clone(), holding.clone())).unwrap();
    holding.get().unwrap();
    let (quiet, _other) = UnixStream::pair().unwrap();
    let descriptor = jobs.readiness().unwrap();
    assert!(!is_readable(descriptor) && wait(&[&jobs], Duration::ZERO).unwrap().is_empty());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| wait(&[&jobs, &Readable(&quiet)], WATCHDOG).unwrap() == [0]);
        let polls = scope.spawn(|| becomes_readable(descriptor));
        std::thread::sleep(Duration::from_millis(100));
        let begin = Instant::now();
        holder.kill().unwrap();
        assert!(waits.join().unwrap() && polls.join().unwrap());
        assert!(begin.elapsed() < Duration::from_secs(2), "took {:?}", begin.elapsed());
    });
    assert_eq!(jobs.get_delivery().unwrap().count(), 2);
}

#[test]
fn a_queue_whose_descriptor_was_asked_for_can_be_left_and_opened_again() {
    let name = format!("waiting-left-{}", std::process::id());
    for round in 0..20 {
        let queue: Queue<u64> = Queue::builder().named(&name).participants(1).open_or_create().unwrap();
        assert_eq!(is_readable(queue.readiness().unwrap()), round > 0);
        if round > 0 {
            assert_eq!(queue.get().unwrap(), round - 1);
        }
        queue.put(round).unwrap();
    }
    multiproc_queue::remove_queue(&name).unwrap();
}

#[test]
fn a_closed_handle_has_room_since_its_put_does_not_wait() {
    let queue = Queue::<u64>::bounded(1).unwrap();
    queue.put(1).unwrap();
    assert!(wait(&[&queue.room()], Duration::ZERO).unwrap().is_empty());
    queue.close();
    assert_eq!(wait(&[&queue.room()], None).unwrap(), [0]);
}

fn ask_and_be_idle((queue, asked): (Queue<u64>, Queue<()>)) {
    assert!(!is_readable(queue.readiness().unwrap()));
    asked.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_that_asked_for_the_descriptor_and_is_idle_keeps_no_value_from_those_that_sleep() {
    let (queue, asked) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let idle = Process::spawn(ask_and_be_idle, (queue.clone(), asked.clone())).unwrap();
    asked.get().unwrap();
    let longest = (0..30).map(|value| {
        let theirs = queue.clone();
        let sleeper = std::thread::spawn(move || theirs.get().map(|got| (got, Instant::now())));
        std::thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        queue.put(value).unwrap();
        let (got, end) = sleeper.join().unwrap().unwrap();
        assert_eq!(got, value);
        end - begin
    });
    // Without a wake-up the sleeper looks every 80 ms, and later every second.
    let late = longest.filter(|took| *took > Duration::from_millis(70)).count();
    assert!(late < 10, "{late} of 30 were late");
    idle.kill().unwrap();
}

#[test]
fn short_waits_find_what_a_killed_process_held_although_nobody_else_is_there() {
    let (jobs, holding) = (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
    jobs.put(7u64).unwrap();
    let holder = Process::spawn(hold_one, (jobs.clone(), holding.clone())).unwrap();
    holding.get().unwrap();
    holder.kill().unwrap();
    holder.join().unwrap();
    let begin = Instant::now();
    let mut selector = Selector::new();
    selector.add(&jobs);
    for timeout in [Duration::ZERO, Duration::from_millis(10)].into_iter().cycle() {
        if selector.wait(timeout).unwrap() == [0] {
            break;
        }
        assert!(begin.elapsed() < WATCHDOG, "it is never found");
    }
    assert_eq!(jobs.get_delivery().unwrap().count(), 2);
}

#[test]
fn a_socket_is_waited_for_in_both_directions_and_twice() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while (&ours).write(&[0; 4096]).is_ok() {}
    let (reads, writes) = (Readable(&ours), Writable(&ours));
    let mut selector = Selector::new();
    let keys = [selector.add(&reads), selector.add(&writes), selector.add(&reads)];
    assert!(selector.wait(Duration::from_millis(1)).unwrap().is_empty());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            (&theirs).write_all(b"x").unwrap();
        });
        assert_eq!(selector.wait(WATCHDOG).unwrap(), [keys[0], keys[2]]);
    });
    (&ours).read_exact(&mut [0]).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            let mut all = vec![0; 1 << 20];
            while (&theirs).read(&mut all).unwrap() == all.len() {}
        });
        assert_eq!(selector.wait(WATCHDOG).unwrap(), [keys[1]]);
    });
    selector.remove(keys[1]);
    assert!(selector.wait(Duration::ZERO).unwrap().is_empty());
}

#[test]
fn an_unbounded_queue_has_room_however_full_its_ring_is() {
    let queue = Queue::<u64>::unbounded().unwrap();
    for value in 0..5000 {
        assert_eq!(wait(&[&queue.room()], Duration::ZERO).unwrap(), [0], "{value} values");
        queue.try_put(value).unwrap();
    }
}
