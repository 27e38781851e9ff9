//! What goes wrong between a program and its queue, and what comes of it.

mod server;

use multiproc_nats::{DoneError, PutError, RemoteQueue, ServerError};
use rustix::process::{Pid, Signal, kill_process};
use server::proxy::{Mode, Proxy};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
const ROUNDS: usize = 20;

fn open(url: &str) -> RemoteQueue<String> {
    RemoteQueue::builder().lease(LEASE).connect(url).unwrap()
}

/// Waits until something holds, for as long as a watchdog allows.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < SOON, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn work_longer_than_the_lease_is_not_given_to_others() {
    let server = server!();
    let (jobs, others) = (open(&server.url("jobs")), open(&server.url("jobs")));
    jobs.put_many((0..50).map(|n| n.to_string())).unwrap();
    let in_hand: Vec<_> = (0..50).map(|_| jobs.get_delivery().unwrap()).collect();
    others.get_timeout(LEASE * 4).unwrap_err();
    for delivery in in_hand {
        assert_eq!(delivery.count(), 1);
        delivery.done().unwrap();
    }
    assert_eq!(others.unfinished().unwrap(), 0);
}

#[test]
fn blocked_calls_go_on_when_a_killed_server_is_back() {
    let mut server = server!();
    let jobs = open(&server.url("jobs"));
    jobs.put("before".into()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    let (sender, got) = mpsc::channel();
    let getter = jobs.clone();
    std::thread::spawn(move || {
        while let Ok(delivery) = getter.get_delivery() {
            sender.send(delivery.done().unwrap()).unwrap();
        }
    });
    server.kill();
    let putter = std::thread::spawn({
        let jobs = jobs.clone();
        move || jobs.put("during".into())
    });
    let unanswered = jobs.put_timeout("never".into(), Duration::from_millis(200));
    assert!(matches!(unanswered, Err(PutError::Server { why: ServerError::Unanswered, .. })), "{unanswered:?}");
    server.restart();
    putter.join().unwrap().unwrap();
    let done = in_hand.done();
    let mut came = Vec::new();
    while !came.contains(&"during".to_string()) {
        came.push(got.recv_timeout(SOON).unwrap());
    }
    // The server was away for less than the lease, or for longer: then the other thread had it, and this one was told.
    match done {
        Ok(_) => {}
        Err(DoneError::LeaseLost { .. }) => until("the first value", || {
            came.extend(got.try_recv());
            came.contains(&"before".to_string())
        }),
        Err(error) => panic!("{error:?}"),
    }
    jobs.join_timeout(SOON).unwrap();
    assert!(came.len() <= 3, "{came:?}");
}

#[test]
fn a_cut_shorter_than_the_lease_changes_nothing() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let (jobs, others) =
        (RemoteQueue::builder().lease(LEASE * 4).connect(&proxy.url("jobs")).unwrap(), open_any(&server.url("jobs")));
    jobs.put("job".to_string()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    proxy.set(Mode::Cut);
    others.get_timeout(LEASE / 2).unwrap_err();
    proxy.set(Mode::Pass);
    assert_eq!(in_hand.done().unwrap(), "job");
    others.join_timeout(SOON).unwrap();
}

fn open_any(url: &str) -> RemoteQueue<String> {
    RemoteQueue::connect(url).unwrap()
}

#[test]
fn a_lease_lost_in_a_cut_is_reported_by_done_and_the_other_consumer_keeps_the_value() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let (jobs, others) = (open(&proxy.url("jobs")), open(&server.url("jobs")));
    jobs.put("job".into()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    proxy.set(Mode::Cut);
    let begin = Instant::now();
    let elsewhere = others.get_delivery_timeout(SOON).unwrap();
    assert_eq!(elsewhere.count(), 2);
    assert!(begin.elapsed() < LEASE * 4, "{:?}", begin.elapsed());
    proxy.set(Mode::Pass);
    let lost = in_hand.done();
    assert!(matches!(&lost, Err(DoneError::LeaseLost { value, .. }) if value == "job"), "{lost:?}");
    // The late word did not take the value out of the other's hands.
    assert_eq!(others.unfinished().unwrap(), 1);
    elsewhere.done().unwrap();
    others.join_timeout(SOON).unwrap();
}

#[test]
fn a_lease_that_ran_out_while_nobody_asked_is_no_loss() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let jobs = open(&proxy.url("jobs"));
    jobs.put("job".into()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    proxy.set(Mode::Cut);
    std::thread::sleep(LEASE * 3);
    proxy.set(Mode::Pass);
    assert_eq!(in_hand.done().unwrap(), "job");
    jobs.join_timeout(SOON).unwrap();
}

#[test]
fn a_put_into_a_connection_that_stalls_is_there_once() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let (jobs, others) = (open(&proxy.url("jobs")), open(&server.url("jobs")));
    proxy.set(Mode::Stall);
    let putter = std::thread::spawn({
        let jobs = jobs.clone();
        move || jobs.put_many((0..100).map(|n| n.to_string()))
    });
    // Longer than two questions: the same puts are asked for again and again, and then all of them go through.
    std::thread::sleep(Duration::from_secs(7));
    proxy.set(Mode::Pass);
    assert_eq!(putter.join().unwrap().unwrap(), 100);
    assert_eq!(others.unfinished().unwrap(), 100);
}

#[test]
fn a_slow_connection_loses_nothing_and_doubles_nothing() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let jobs: RemoteQueue<u32> = RemoteQueue::builder().lease(LEASE * 3).prefetch(8).connect(&proxy.url("jobs")).unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(60)));
    assert_eq!(jobs.put_many(0..20).unwrap(), 20);
    for n in 0..20 {
        let delivery = jobs.get_delivery_timeout(SOON).unwrap();
        assert_eq!((*delivery, delivery.count()), (n, 1));
        delivery.done().unwrap();
    }
    assert_eq!(jobs.unfinished().unwrap(), 0);
}

/// Another process that has one value in hand: see `child`.
fn holder(url: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("MULTIPROC_NATS_CHILD", url).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut lines, "in hand");
    (child, lines)
}

fn wait_for(lines: &mut impl BufRead, what: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the child ended before {what:?}");
        if line.contains(what) {
            return line;
        }
    }
}

/// What runs in the other process: it gets a value, and says it is done after three leases.
#[test]
fn child() {
    let Ok(url) = std::env::var("MULTIPROC_NATS_CHILD") else { return };
    let jobs = open(&url);
    let delivery = jobs.get_delivery().unwrap();
    println!("in hand");
    std::thread::sleep(LEASE * 3);
    println!("result {:?}", delivery.done());
}

#[test]
fn what_a_killed_process_had_in_hand_is_got_within_a_lease_and_a_little() {
    let server = server!();
    let jobs = open(&server.url("jobs"));
    jobs.put("job".into()).unwrap();
    let (mut child, _lines) = holder(&server.url("jobs"));
    child.kill().unwrap();
    child.wait().unwrap();
    let begin = Instant::now();
    let delivery = jobs.get_delivery_timeout(SOON).unwrap();
    assert_eq!(delivery.count(), 2);
    assert!(begin.elapsed() < LEASE * 3, "{:?}", begin.elapsed());
    delivery.done().unwrap();
}

#[test]
fn a_process_that_was_stopped_is_told_that_it_lost_its_lease() {
    let server = server!();
    let jobs = open(&server.url("jobs"));
    jobs.put("job".into()).unwrap();
    let (mut child, mut lines) = holder(&server.url("jobs"));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    let delivery = jobs.get_delivery_timeout(SOON).unwrap();
    assert_eq!(delivery.count(), 2);
    kill_process(pid, Signal::CONT).unwrap();
    let result = wait_for(&mut lines, "result");
    assert!(result.contains("LeaseLost"), "{result}");
    child.wait().unwrap();
    assert_eq!(jobs.unfinished().unwrap(), 1);
    delivery.done().unwrap();
}

#[test]
fn a_value_done_late_is_not_handed_out_again() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let (jobs, others) = (open(&proxy.url("jobs")), open(&server.url("jobs")));
    jobs.put("job".into()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    proxy.set(Mode::Stall);
    std::thread::sleep(LEASE * 2);
    proxy.set(Mode::Pass);
    in_hand.done().unwrap();
    others.get_timeout(LEASE * 2).unwrap_err();
}

#[test]
fn a_disk_that_is_full_is_an_error_that_gives_the_value_back() {
    let mut server = server!();
    server.limit_store("1MB");
    let jobs: RemoteQueue<Vec<u8>> = RemoteQueue::connect(&server.url("jobs")).unwrap();
    let mut put = 0;
    let error = loop {
        match jobs.put_timeout(vec![7; 100_000], Duration::from_secs(3)) {
            Ok(()) => put += 1,
            Err(error) => break error,
        }
        assert!(put < 100);
    };
    assert!(put > 3);
    let text = error.to_string();
    assert_eq!(error.into_inner().len(), 100_000, "{text}");
    // What was there is there, and room comes back.
    for _ in 0..put {
        jobs.get_delivery_timeout(SOON).unwrap().done().unwrap();
    }
    until("room", || jobs.put_timeout(vec![7; 100_000], Duration::from_secs(3)).is_ok());
}

#[test]
fn many_that_connect_at_once_make_one_queue() {
    let server = server!();
    // Each round is another queue: the first moments of one are what counts.
    for round in 0..ROUNDS {
        let url = server.url(&format!("jobs-{round}"));
        std::thread::scope(|scope| {
            let openers: Vec<_> = (0..8)
                .map(|n| {
                    scope.spawn({
                        let url = &url;
                        move || open(url).put(n.to_string()).unwrap()
                    })
                })
                .collect();
            openers.into_iter().for_each(|opener| opener.join().unwrap());
        });
        assert_eq!(open(&url).unfinished().unwrap(), 8);
    }
}

#[test]
fn an_open_waits_for_a_stream_that_is_being_made() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    open(&server.url("jobs")).put("job".into()).unwrap();
    proxy.hide_births(2);
    assert_eq!(open(&proxy.url("jobs")).unfinished(), Ok(1));
}

#[test]
fn one_look_that_finds_another_stream_does_not_end_a_queue() {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let jobs = open(&proxy.url("jobs"));
    proxy.hide_births(2);
    assert_eq!(jobs.unfinished(), Ok(0));
}

#[test]
fn a_server_killed_again_and_again_is_found_again_each_time() {
    let mut server = server!();
    let jobs = open(&server.url("jobs"));
    for n in 0..8 {
        server.kill();
        let putter = std::thread::spawn({
            let jobs = jobs.clone();
            move || jobs.put_timeout(n.to_string(), SOON)
        });
        std::thread::sleep(Duration::from_millis(n * 100));
        server.restart();
        putter.join().unwrap().unwrap();
    }
    assert_eq!(jobs.unfinished().unwrap(), 8);
}

#[test]
fn busy_clients_survive_a_server_killed_in_quick_succession() {
    let mut server = server!();
    let url = server.url("jobs");
    let getters: Vec<RemoteQueue<String>> = (0..3).map(|_| open(&url)).collect();
    let putter = open(&url);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        for getter in &getters {
            scope.spawn(move || {
                while let Ok(delivery) = getter.get_delivery() {
                    let _ = delivery.done();
                }
            });
        }
        let putter_thread = scope.spawn(|| {
            let mut put = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                putter.put(put.to_string()).unwrap();
                put += 1;
            }
            put
        });
        for n in 0..12 {
            std::thread::sleep(Duration::from_millis(150 + n * 20));
            server.kill();
            std::thread::sleep(Duration::from_millis(n * 25));
            server.restart();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let count = putter_thread.join().unwrap();
        putter.shutdown().unwrap();
        count
    });
    // Every getter saw the end, so everything is done.
    assert!(count > 0);
    assert_eq!(putter.unfinished().unwrap(), 0);
}
