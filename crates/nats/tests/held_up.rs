//! A server that forgot, when it was killed, what was done. These tests put back an older one of its files.

mod server;

use multiproc_nats::{Delivery, JoinError, RemoteQueue};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(30);
/// More than the server gets requests in a lease while all workers wait.
const FORGOTTEN: usize = 100;
/// They fill a few of the server's files. It does not list what was in a file that it removed.
const LONG: usize = 200_000;
const WORKERS: usize = 3;
/// The work takes a few leases.
const NEW: usize = 300;
const WORK: Duration = Duration::from_millis(30);

fn open(url: &str) -> RemoteQueue<Vec<u8>> {
    RemoteQueue::builder().lease(LEASE).connect(url).unwrap()
}

#[test]
fn values_that_a_server_forgot_were_done_hold_up_no_others() {
    let mut server = server!();
    let url = server.url("jobs");
    let jobs = open(&url);
    jobs.put_many((0..=FORGOTTEN).map(|_| vec![7; LONG])).unwrap();
    // While the oldest value is in hand, the server does not see by itself that the others are done.
    let oldest = jobs.get_delivery().unwrap();
    let others: Vec<_> = (0..FORGOTTEN).map(|_| jobs.get_delivery().unwrap()).collect();
    // What the server knows of the consumer is on the disk, and the values are not done.
    let state = server.path("store/jetstream/$G/streams/jobs/obs/workers/o.dat");
    server.stop();
    let before = fs::read(&state).unwrap();
    server.restart();
    for value in others {
        value.done().unwrap();
    }
    server.stop();
    fs::write(&state, before).unwrap();
    server.restart();
    jobs.put_many((0..NEW).map(|_| vec![7])).unwrap();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let jobs = open(&url);
                for _ in 0..NEW / WORKERS {
                    let value = jobs.get_delivery_timeout(SOON);
                    let value = value.unwrap_or_else(|error| panic!("{error}: {}", server.consumer("jobs", "workers")));
                    std::thread::sleep(WORK);
                    value.done().unwrap();
                }
            });
        }
    });
    eprintln!("{NEW} values were done in {:?}", begin.elapsed());
    oldest.done().unwrap();
    jobs.join_timeout(SOON).unwrap();
}

fn copy_files(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A queue of six values that are done. The server has the first three again, and takes the last three for undone: as many, so that their
/// numbers agree. Before them come `held` values that stay in hand.
fn confused(server: &mut server::Server, held: usize) -> (RemoteQueue<Vec<u8>>, Vec<Delivery<Vec<u8>>>) {
    let jobs = open(&server.url("jobs"));
    jobs.put_many((0..held + 6).map(|_| vec![7])).unwrap();
    let mut first: Vec<_> = (0..held + 6).map(|_| jobs.get_delivery().unwrap()).collect();
    server.stop();
    let (values, all) = (server.path("store/jetstream/$G/streams/jobs/msgs"), server.path("all"));
    copy_files(&values, &all);
    server.restart();
    let last = first.split_off(held + 3);
    for value in first.split_off(held) {
        value.done().unwrap();
    }
    server.stop();
    let state = server.path("store/jetstream/$G/streams/jobs/obs/workers/o.dat");
    let three_done = fs::read(&state).unwrap();
    copy_files(&all, &values);
    server.restart();
    for value in last {
        value.done().unwrap();
    }
    server.stop();
    fs::write(&state, three_done).unwrap();
    server.restart();
    (jobs, first)
}

fn join(jobs: &RemoteQueue<Vec<u8>>, server: &server::Server) {
    jobs.join_timeout(SOON).unwrap_or_else(|error| panic!("{error}: {}", server.consumer("jobs", "workers")));
}

#[test]
fn a_join_ends_although_the_server_has_values_again_that_were_done() {
    let mut server = server!();
    let (jobs, _) = confused(&mut server, 0);
    let worker = open(&server.url("jobs"));
    let worker = std::thread::spawn(move || while worker.get_delivery().is_ok_and(|value| value.done().is_ok()) {});
    join(&jobs, &server);
    jobs.shutdown().unwrap();
    worker.join().unwrap();
}

#[test]
fn a_join_without_any_worker_ends_although_the_server_has_values_again_that_were_done() {
    let mut server = server!();
    let (jobs, _) = confused(&mut server, 0);
    join(&jobs, &server);
}

#[test]
fn a_join_sees_what_the_server_has_again_once_the_values_before_that_are_done() {
    let mut server = server!();
    let (jobs, held) = confused(&mut server, 2);
    let unfinished = jobs.join_timeout(LEASE * 2);
    assert!(matches!(unfinished, Err(JoinError::Timeout { .. })), "{unfinished:?}");
    held.into_iter().for_each(|value| drop(value.done().unwrap()));
    join(&jobs, &server);
}
