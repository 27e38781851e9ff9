//! A queue that a cluster of three servers keeps, `replicas(3)`, while servers of it are killed.
//!
//! `MULTIPROC_NATS_AWAY` says for how many seconds two of three are away, 4 by default.

mod server;

use multiproc_nats::{DoneError, GetError, PutError, RemoteQueue, ServerError};
use server::Server;
use server::cluster::Cluster;
use server::crew::{Crew, play};
use server::proxy::{Mode, Proxy};
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_secs(2);
/// A watchdog. An election takes up to 9 seconds.
const SOON: Duration = Duration::from_secs(60);
const PRODUCERS: usize = 2;
const WORKERS: usize = 3;

fn open(url: &str) -> RemoteQueue<String> {
    RemoteQueue::builder().replicas(3).lease(LEASE).connect(url).unwrap()
}

#[test]
fn role() {
    play(open);
}

#[test]
fn a_queue_with_replicas_keeps_its_promises() {
    let Some(cluster) = Cluster::start() else { return };
    let url = cluster.url("jobs");
    let begin = Instant::now();
    let jobs = RemoteQueue::builder().replicas(3).lease(LEASE).bounded(100).connect(&url).unwrap();
    eprintln!("opened after {:?}", begin.elapsed());
    for stream in ["jobs", "jobs-dead", "jobs-claims"] {
        let info = cluster.servers[0].api(&format!("STREAM.INFO.{stream}"), &serde_json::json!({}));
        assert_eq!(info["config"]["num_replicas"], 3, "{info}");
    }
    assert_eq!(jobs.put_many((0..100).map(|n| n.to_string())).unwrap(), 100);
    assert!(matches!(jobs.try_put("more".into()), Err(PutError::Full(_))));
    let back = jobs.get_delivery().unwrap();
    assert_eq!((back.as_str(), back.count()), ("0", 1));
    back.give_back();
    let others = open(&url);
    for n in 0..100 {
        let job = others.get_delivery_timeout(SOON).unwrap();
        assert_eq!((job.as_str(), job.count()), (n.to_string().as_str(), if n == 0 { 2 } else { 1 }));
        job.done().unwrap();
    }
    jobs.join_timeout(SOON).unwrap();
    jobs.shutdown().unwrap();
    assert!(matches!(others.put("late".into()), Err(PutError::ShutDown(_))));
}

#[test]
fn work_goes_on_whichever_server_is_killed() {
    let Some(mut cluster) = Cluster::start() else { return };
    let url = cluster.url("jobs");
    let jobs = open(&url);
    let crew = Crew::begin(&url, PRODUCERS, WORKERS);
    crew.wait_for_more(100, SOON);
    // A lease that is longer than an election.
    let long = RemoteQueue::builder().replicas(3).lease(SOON).connect(&cluster.url("long")).unwrap();
    long.put("long".to_string()).unwrap();
    let in_hand = long.get_delivery().unwrap();
    let leader = cluster.leader_of("jobs");
    // The leader, and then each of the others.
    for n in 0..3 {
        cluster.wait_until_whole("jobs");
        let killed = (leader + n) % 3;
        cluster.servers[killed].kill();
        eprintln!("server {killed} was killed: 100 more were done after {:?}", crew.wait_for_more(100, SOON));
        cluster.servers[killed].restart();
    }
    cluster.wait_until_whole("long");
    assert_eq!(long.try_get(), Err(GetError::Empty));
    in_hand.done().unwrap();
    end("3 kills of a server of three", &jobs, crew);
}

#[test]
fn puts_wait_without_a_majority_and_nothing_is_lost() {
    let Some(mut cluster) = Cluster::start() else { return };
    let url = cluster.url("jobs");
    let away: Option<u64> = std::env::var("MULTIPROC_NATS_AWAY").ok().and_then(|seconds| seconds.parse().ok());
    let version = RemoteQueue::<String>::builder().look(&url).unwrap().version;
    // docs/machines.md has what it lost. By hand it runs with that version, too.
    if away.is_none() && version.starts_with("2.9.") {
        eprintln!(
            "puts_wait_without_a_majority: not run: nats-server {version} may lose what it has when all servers of a cluster are killed"
        );
        return;
    }
    let seconds = away.unwrap_or(4);
    let jobs = open(&url);
    let crew = Crew::begin(&url, PRODUCERS, WORKERS);
    crew.wait_for_more(100, SOON);
    cluster.wait_until_whole("jobs");
    // The leader stays, and takes puts that it can't answer.
    let leader = cluster.leader_of("jobs");
    let away = [(leader + 1) % 3, (leader + 2) % 3];
    away.iter().for_each(|&n| cluster.servers[n].kill());
    crew.try_of_test("never");
    // For longer than a client waits before it asks again.
    let unanswered = jobs.put_timeout("never".into(), Duration::from_secs(seconds)).unwrap_err();
    assert!(matches!(unanswered, PutError::Server { why: ServerError::Unanswered, .. }), "{unanswered:?}");
    cluster.servers[away[1]].restart();
    eprintln!("one came back: 100 more were done after {:?}", crew.wait_for_more(100, SOON));
    cluster.servers[away[0]].restart();
    cluster.wait_until_whole("jobs");
    cluster.servers.iter_mut().for_each(Server::kill);
    cluster.servers.iter_mut().for_each(Server::restart);
    eprintln!("all three came back: 100 more were done after {:?}", crew.wait_for_more(100, SOON));
    end("5 kills of two and of three at once", &jobs, crew);
}

#[test]
fn a_queue_without_replicas_waits_for_its_server_and_a_new_one_for_enough_servers() {
    let Some(mut cluster) = Cluster::start() else { return };
    let jobs = RemoteQueue::connect(&cluster.url("jobs")).unwrap();
    jobs.put("before".to_string()).unwrap();
    let leader = cluster.leader_of("jobs");
    cluster.servers[leader].kill();
    let unanswered = jobs.put_timeout("never".into(), Duration::from_secs(1)).unwrap_err();
    assert!(matches!(unanswered, PutError::Server { why: ServerError::Unanswered, .. }), "{unanswered:?}");
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| jobs.put("during".into()));
        let getter = scope.spawn(|| jobs.get_delivery().map(|job| job.done().unwrap()));
        // There are too few servers for this one.
        let others = cluster.url("others");
        let opener = scope.spawn(move || open(&others));
        cluster.servers[leader].restart();
        opener.join().unwrap();
        putter.join().unwrap().unwrap();
        assert_eq!(getter.join().unwrap(), Ok("before".into()));
    });
}

#[test]
fn claims_and_dead_letters_wait_for_a_leader() {
    let Some(mut cluster) = Cluster::start() else { return };
    drop(open(&cluster.url("jobs")));
    let leader = cluster.leader_of("jobs");
    // A count is forgotten with the server that knows it.
    let killed = (0..3).find(|&n| n != leader && n != cluster.leader_of_workers("jobs")).unwrap();
    cluster.let_lead(killed, "jobs-claims");
    cluster.let_lead(killed, "jobs-dead");
    let proxy = Proxy::to(cluster.servers[leader].port);
    let (jobs, others) = (open(&proxy.url("jobs")), open(&cluster.servers[leader].url("jobs")));
    jobs.put("job".into()).unwrap();
    let in_hand = jobs.get_delivery().unwrap();
    others.put("broken".into()).unwrap();
    let broken = others.get_delivery().unwrap();
    proxy.set(Mode::Stall);
    cluster.servers[killed].kill();
    let elsewhere = others.get_delivery_timeout(SOON).unwrap();
    assert_eq!(elsewhere.count(), 2);
    broken.put_aside().unwrap();
    assert_eq!(others.dead_len(), Ok(1));
    proxy.set(Mode::Pass);
    let lost = in_hand.done();
    assert!(matches!(&lost, Err(DoneError::LeaseLost { .. })), "{lost:?}");
    elsewhere.done().unwrap();
    others.join_timeout(SOON).unwrap();
}

/// Ends the crew once all is done, and looks that every put that returned is done.
fn end(what: &str, jobs: &RemoteQueue<String>, mut crew: Crew) {
    crew.end_producers();
    // It fails after 5 seconds, and a cluster that elects may take longer.
    let begin = Instant::now();
    while let Err(error) = jobs.shutdown() {
        assert!(begin.elapsed() < SOON, "{error}");
    }
    jobs.join_timeout(SOON).unwrap();
    crew.wait(SOON);
    let account = crew.account();
    account.check(what);
    // No worker was killed, so each noted what it had done.
    let missing: Vec<_> = account.put.difference(&account.done).collect();
    assert!(missing.is_empty(), "put and never done: {missing:?}");
}
