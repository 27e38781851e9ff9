//! A storm: workers, producers and the server are killed, and every value that was put is accounted for.
//!
//! `MULTIPROC_NATS_KILLS` says how many kills, 30 by default.

mod server;

use multiproc_nats::{DoneError, GetError, RemoteQueue};
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
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

/// Each line is in the file before the next step. A killed process loses no line that it wrote.
fn note(log: &mut File, line: String) {
    log.write_all(line.as_bytes()).unwrap();
}

#[test]
fn role() {
    let Ok(role) = std::env::var("MULTIPROC_NATS_ROLE") else { return };
    let (url, directory) = (std::env::var("MULTIPROC_NATS_URL").unwrap(), std::env::var("MULTIPROC_NATS_LOGS").unwrap());
    let me = std::process::id();
    let mut log = OpenOptions::new().create(true).append(true).open(Path::new(&directory).join("log")).unwrap();
    let jobs = open(&url);
    match role.as_str() {
        "producer" => {
            for n in 0.. {
                note(&mut log, format!("try {me}-{n}\n"));
                jobs.put(format!("{me}-{n}")).unwrap();
                note(&mut log, format!("put {me}-{n}\n"));
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        _ => loop {
            match jobs.get_delivery() {
                Ok(job) => {
                    let (name, count) = (job.clone(), job.count());
                    note(&mut log, format!("work {name} {count}\n"));
                    std::thread::sleep(Duration::from_millis(2));
                    match job.done() {
                        Ok(_) => note(&mut log, format!("done {name} {count}\n")),
                        Err(DoneError::LeaseLost { .. }) => note(&mut log, format!("lost {name} {count}\n")),
                        Err(error) => panic!("{error:?}"),
                    }
                }
                Err(GetError::ShutDown) => return,
                Err(error) => panic!("{error:?}"),
            }
        },
    }
}

/// A process that doesn't outlive a test that fails.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // It has ended already if all goes well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn begin(role: &str, url: &str, logs: &Path) -> Role {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "role", "--nocapture"]).stdout(Stdio::null());
    command.env("MULTIPROC_NATS_ROLE", role).env("MULTIPROC_NATS_URL", url).env("MULTIPROC_NATS_LOGS", logs);
    Role(command.spawn().unwrap())
}

#[test]
fn every_put_that_returned_is_done_whatever_is_killed() {
    let mut server = server!();
    let kills: u32 = std::env::var("MULTIPROC_NATS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(30);
    let logs = tempfile::tempdir().unwrap();
    let url = server.url("jobs");
    let jobs = open(&url);
    let role_of = |place: usize| if place < PRODUCERS { "producer" } else { "worker" };
    let mut children: Vec<Role> = (0..PRODUCERS + WORKERS).map(|place| begin(role_of(place), &url, logs.path())).collect();
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
            place if place < children.len() => {
                killed[usize::from(place >= PRODUCERS)] += 1;
                let next = begin(role_of(place), &url, logs.path());
                drop(std::mem::replace(&mut children[place], next));
            }
            _ => {
                killed[2] += 1;
                server.kill();
                std::thread::sleep(Duration::from_millis(dice(300) as u64));
                server.restart();
            }
        }
    }
    children.drain(..PRODUCERS).for_each(drop);
    jobs.shutdown().unwrap();
    let last_kill = Instant::now();
    // A watchdog: what is left takes seconds.
    if let Err(error) = jobs.join_timeout(Duration::from_secs(90)) {
        panic!("{error}: {}", server.consumer("jobs", "workers"));
    }
    eprintln!("all is done {:.1} s after the last kill", last_kill.elapsed().as_secs_f64());
    let begin = Instant::now();
    for mut worker in children {
        while worker.0.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(60), "a worker does not see the end");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(worker.0.wait().unwrap().success());
    }
    account(&std::fs::read_to_string(logs.path().join("log")).unwrap(), kills, killed);
}

fn account(log: &str, kills: u32, [producers, workers, servers]: [u32; 3]) {
    let (mut tried, mut put) = (HashSet::new(), HashSet::new());
    let mut worked: HashMap<&str, Vec<u16>> = HashMap::new();
    let (mut done, mut lost) = (0, 0);
    for line in log.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["try", name] => drop(tried.insert(name)),
            ["put", name] => drop(put.insert(name)),
            ["work", name, count] => worked.entry(name).or_default().push(count.parse().unwrap()),
            ["done", ..] => done += 1,
            ["lost", ..] => lost += 1,
            _ => panic!("{line:?}"),
        }
    }
    let missing: Vec<_> = put.iter().filter(|name| !worked.contains_key(*name)).collect();
    let invented: Vec<_> = worked.keys().filter(|name| !tried.contains(*name)).collect();
    let twice: Vec<_> = worked.iter().filter(|(_, counts)| counts.len() > 1).collect();
    let unmarked: Vec<_> = twice.iter().filter(|(_, counts)| counts.iter().filter(|count| **count == 1).count() > 1).collect();
    eprintln!(
        "{kills} kills ({producers} of producers, {workers} of workers, {servers} of the server): {} puts returned, {} values worked on, \
         {done} done, {} more than once, {lost} leases lost, {} twice without a raised count",
        put.len(),
        worked.len(),
        twice.len(),
        unmarked.len()
    );
    assert!(missing.is_empty(), "put and never delivered: {missing:?}");
    assert!(invented.is_empty(), "delivered and never put: {invented:?}");
    assert!(unmarked.is_empty() || servers > 0, "delivered twice with a count of 1: {unmarked:?}");
}
