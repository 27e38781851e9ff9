//! A storm: workers, producers and the server are killed, and every value that was put is accounted for.
//!
//! `MULTIPROC_NATS_KILLS` says how many kills, 30 by default.

mod server;

use multiproc_nats::RemoteQueue;
use server::crew::{Crew, play};
use std::time::{Duration, Instant};

const LEASE: Duration = Duration::from_secs(1);
const PRODUCERS: usize = 2;
const WORKERS: usize = 3;

fn open(url: &str) -> RemoteQueue<String> {
    loop {
        // The server may be away just now.
        match RemoteQueue::builder().lease(LEASE).prefetch(4).connect(url) {
            Ok(queue) => return queue,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[test]
fn role() {
    play(open);
}

#[test]
fn every_put_that_returned_is_done_whatever_is_killed() {
    let mut server = server!();
    let kills: u32 = std::env::var("MULTIPROC_NATS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(30);
    let url = server.url("jobs");
    let jobs = open(&url);
    let mut crew = Crew::begin(&url, PRODUCERS, WORKERS);
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut dice = |sides: usize| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance % sides as u64) as usize
    };
    let mut killed = [0; 3];
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(100 + dice(200) as u64));
        match dice(PRODUCERS + WORKERS + 1) {
            place if place < PRODUCERS + WORKERS => {
                killed[usize::from(!crew.is_producer(place))] += 1;
                crew.replace(place);
            }
            _ => {
                killed[2] += 1;
                server.kill();
                std::thread::sleep(Duration::from_millis(dice(300) as u64));
                server.restart();
            }
        }
    }
    crew.end_producers();
    jobs.shutdown().unwrap();
    let last_kill = Instant::now();
    // A watchdog: what is left takes seconds.
    if let Err(error) = jobs.join_timeout(Duration::from_secs(90)) {
        panic!("{error}: {}", server.consumer("jobs", "workers"));
    }
    eprintln!("all is done {:.1} s after the last kill", last_kill.elapsed().as_secs_f64());
    crew.wait(Duration::from_secs(60));
    let account = crew.account();
    let [producers, workers, servers] = killed;
    account.check(&format!("{kills} kills ({producers} of producers, {workers} of workers, {servers} of the server)"));
    let unmarked = account.unmarked();
    assert!(unmarked.is_empty() || servers > 0, "delivered twice with a count of 1: {unmarked:?}");
}
