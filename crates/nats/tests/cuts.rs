//! A connection that is cut for longer than a lease, and workers that take long: what was put is done, and what is doubled says so.
//!
//! `MULTIPROC_NATS_CUT` says for how many seconds it is cut, 4 by default.

mod server;

use multiproc_nats::{DoneError, GetError, RemoteQueue};
use server::proxy::{Mode, Proxy};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread::scope;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(1);
/// A watchdog.
const SOON: Duration = Duration::from_secs(60);

/// What one worker has to do with one value.
struct Work {
    worker: usize,
    name: String,
    count: u16,
    id: u64,
    lost: bool,
}

/// What was done, for others to wait for.
#[derive(Default)]
struct Log {
    work: Mutex<Vec<Work>>,
    changed: Condvar,
}

impl Log {
    fn note(&self, work: Work) {
        self.work.lock().unwrap().push(work);
        self.changed.notify_all();
    }

    /// Waits until this worker has ended so many values more.
    fn wait(&self, worker: usize, more: usize) {
        let all = self.work.lock().unwrap();
        let of_worker = |work: &[Work]| work.iter().filter(|work| work.worker == worker).count();
        let goal = of_worker(&all) + more;
        let waited = self.changed.wait_timeout_while(all, SOON, |all| of_worker(all) < goal).unwrap().1;
        assert!(!waited.timed_out(), "worker {worker} does nothing");
    }
}

fn work_on(worker: usize, jobs: &RemoteQueue<String>, log: &Log) {
    loop {
        match jobs.get_delivery() {
            Ok(job) => {
                let (name, count, id) = (job.clone(), job.count(), job.id());
                let lost = match job.done() {
                    Ok(_) => false,
                    Err(DoneError::LeaseLost { .. }) => true,
                    Err(error) => panic!("{error:?}"),
                };
                log.note(Work { worker, name, count, id, lost });
            }
            Err(GetError::ShutDown) => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Ends the producer and the workers, also where the test fails: it would wait for them.
struct End<'a>(&'a RemoteQueue<String>, &'a Proxy, &'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.1.set(Mode::Pass);
        self.2.store(true, Ordering::Relaxed);
        let _ = self.0.shutdown();
    }
}

/// Two workers and a producer beyond the cut, one worker on this side.
fn workers_go_on_after(mode: Mode) {
    let server = server!();
    let proxy = Proxy::to(server.port);
    let seconds = std::env::var("MULTIPROC_NATS_CUT").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(4);
    let open = |url: String, prefetch| RemoteQueue::builder().lease(LEASE).prefetch(prefetch).connect(&url).unwrap();
    let near = open(server.url("jobs"), 0);
    let far = [4, 0].map(|prefetch| open(proxy.url("jobs"), prefetch));
    let (producer, holder) = (open(proxy.url("jobs"), 0), open(proxy.url("jobs"), 0));
    let (log, stop, put) = (Log::default(), AtomicBool::new(false), Mutex::new(HashSet::new()));
    holder.put("held".to_string()).unwrap();
    let held = holder.get_delivery().unwrap();
    scope(|scope| {
        let end = End(&near, &proxy, &stop);
        for (worker, queue) in [&near, &far[0], &far[1]].into_iter().enumerate() {
            let log = &log;
            scope.spawn(move || work_on(worker, queue, log));
        }
        let producing = scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                // It is refused only after a failure.
                if producer.put(n.to_string()).is_ok() {
                    put.lock().unwrap().insert(n.to_string());
                }
            }
        });
        (0..3).for_each(|worker| log.wait(worker, 20));
        proxy.set(mode);
        std::thread::sleep(Duration::from_secs(seconds));
        proxy.set(Mode::Pass);
        (0..3).for_each(|worker| log.wait(worker, 20));
        let lost = held.done();
        assert!(matches!(&lost, Err(DoneError::LeaseLost { value, .. }) if value == "held"), "{lost:?}");
        stop.store(true, Ordering::Relaxed);
        producing.join().unwrap();
        drop(end);
    });
    near.join_timeout(SOON).unwrap();
    account(&log.work.into_inner().unwrap(), &put.into_inner().unwrap(), seconds);
}

fn account(all: &[Work], put: &HashSet<String>, seconds: u64) {
    let mut of: HashMap<&str, Vec<&Work>> = HashMap::from([("held", Vec::new())]);
    for work in all {
        of.entry(&work.name).or_default().push(work);
    }
    let doubled: Vec<_> = of.iter().filter(|(_, all)| all.len() > 1).collect();
    let losses = all.iter().filter(|work| work.lost).count();
    eprintln!("{seconds} s: {} puts, {} worked on, {} doubled, {losses} leases lost", put.len(), of.len(), doubled.len());
    let missing: Vec<_> =
        put.iter().filter(|name| !of.get(name.as_str()).is_some_and(|all| all.iter().any(|work| !work.lost))).collect();
    assert!(missing.is_empty(), "put and not done: {missing:?}");
    for (name, all) in &of {
        let counts: HashSet<u16> = all.iter().map(|work| work.count).collect();
        assert_eq!(counts.len(), all.len(), "{name} was delivered twice with the same count");
        assert!(all.iter().all(|work| work.id == all[0].id), "{name} was put twice");
    }
    assert!(of["held"].iter().any(|work| work.count > 1 && !work.lost), "the value that was held is not done");
}

#[test]
fn workers_go_on_by_themselves_after_a_cut_and_a_doubled_value_has_a_raised_count() {
    workers_go_on_after(Mode::Cut);
}

#[test]
fn workers_go_on_by_themselves_after_a_silence_and_a_doubled_value_has_a_raised_count() {
    workers_go_on_after(Mode::Stall);
}

#[test]
fn a_slow_worker_keeps_what_it_fetched_in_advance() {
    let server = server!();
    let open = |prefetch| RemoteQueue::<u32>::builder().lease(LEASE).prefetch(prefetch).connect(&server.url("jobs")).unwrap();
    let (slow, others) = (open(5), open(0));
    slow.put_many(0..5).unwrap();
    let first = slow.get_delivery().unwrap();
    // The others are delivered now, too, and wait there.
    while slow.len().unwrap() > 0 {
        std::thread::yield_now();
    }
    let mut next = Some(first);
    scope(|scope| {
        let listening = scope.spawn(|| others.get_timeout(LEASE * 6));
        for n in 0..5 {
            let delivery = next.take().unwrap_or_else(|| slow.get_delivery().unwrap());
            std::thread::sleep(LEASE + LEASE / 5);
            assert_eq!((*delivery, delivery.count()), (n, 1));
            delivery.done().unwrap();
        }
        assert_eq!(listening.join().unwrap(), Err(GetError::Timeout));
    });
    assert_eq!(others.unfinished().unwrap(), 0);
}
