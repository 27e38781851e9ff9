//! Processes that put and work, and the account of what they did: each notes what it does in one file, outside of the queue.

use multiproc_nats::{DoneError, GetError, RemoteQueue};
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Each line is in the file before the next step. A killed process loses no line that it wrote.
fn note(log: &mut File, line: String) {
    log.write_all(line.as_bytes()).unwrap();
}

/// What such a process does. Each test file has a test `role` that calls this: it is what a crew runs.
pub(crate) fn play(open: impl Fn(&str) -> RemoteQueue<String>) {
    let Ok(role) = std::env::var("MULTIPROC_NATS_ROLE") else { return };
    let (url, log) = (std::env::var("MULTIPROC_NATS_URL").unwrap(), std::env::var("MULTIPROC_NATS_LOG").unwrap());
    let me = std::process::id();
    let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
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
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        // It has ended already if all goes well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) struct Crew {
    producers: usize,
    members: Vec<Member>,
    url: String,
    directory: tempfile::TempDir,
}

impl Crew {
    pub(crate) fn begin(url: &str, producers: usize, workers: usize) -> Self {
        let mut crew = Self { producers, members: Vec::new(), url: url.into(), directory: tempfile::tempdir().unwrap() };
        crew.members = (0..producers + workers).map(|place| crew.start(place)).collect();
        crew
    }

    pub(crate) fn is_producer(&self, place: usize) -> bool {
        place < self.producers
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn start(&self, place: usize) -> Member {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "role", "--nocapture"]).stdout(Stdio::null());
        command.env("MULTIPROC_NATS_ROLE", if self.is_producer(place) { "producer" } else { "worker" });
        Member(command.env("MULTIPROC_NATS_URL", &self.url).env("MULTIPROC_NATS_LOG", self.log()).spawn().unwrap())
    }

    /// Kills one, and starts another in its place.
    pub(crate) fn replace(&mut self, place: usize) {
        self.members[place] = self.start(place);
    }

    /// Notes a value that the test itself tries to put.
    pub(crate) fn try_of_test(&self, name: &str) {
        note(&mut OpenOptions::new().append(true).open(self.log()).unwrap(), format!("try {name}\n"));
    }

    pub(crate) fn end_producers(&mut self) {
        self.members.drain(..self.producers).for_each(drop);
        self.producers = 0;
    }

    /// Waits until the workers have seen the end.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let begin = Instant::now();
        for mut worker in self.members.drain(self.producers..) {
            while worker.0.try_wait().unwrap().is_none() {
                assert!(begin.elapsed() < limit, "a worker does not see the end");
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(worker.0.wait().unwrap().success());
        }
    }

    /// Waits until so many values more are put and done, and says how long that took.
    pub(crate) fn wait_for_more(&self, values: usize, limit: Duration) -> Duration {
        let begin = Instant::now();
        let counts = || {
            let log = read(&self.log());
            ["put ", "done "].map(|word| log.lines().filter(|line| line.starts_with(word)).count())
        };
        let goals = counts().map(|count| count + values);
        while counts().iter().zip(goals).any(|(count, goal)| *count < goal) {
            assert!(begin.elapsed() < limit, "the crew does not go on: {:?} of {goals:?}", counts());
            std::thread::sleep(Duration::from_millis(50));
        }
        begin.elapsed()
    }

    pub(crate) fn account(&self) -> Account {
        Account::of(&read(&self.log()))
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// What came of all values.
#[derive(Default)]
pub(crate) struct Account {
    tried: HashSet<String>,
    pub(crate) put: HashSet<String>,
    /// The counts of all deliveries.
    pub(crate) worked: HashMap<String, Vec<u16>>,
    pub(crate) done: HashSet<String>,
    lost: usize,
}

impl Account {
    fn of(log: &str) -> Self {
        let mut account = Self::default();
        for line in log.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["try", name] => drop(account.tried.insert(name.into())),
                ["put", name] => drop(account.put.insert(name.into())),
                ["work", name, count] => account.worked.entry(name.into()).or_default().push(count.parse().unwrap()),
                ["done", name, _] => drop(account.done.insert(name.into())),
                ["lost", ..] => account.lost += 1,
                _ => panic!("{line:?}"),
            }
        }
        account
    }

    /// Those that were delivered twice with a count of 1.
    pub(crate) fn unmarked(&self) -> Vec<&String> {
        let is_unmarked = |counts: &[u16]| counts.iter().filter(|count| **count == 1).count() > 1;
        self.worked.iter().filter(|(_, counts)| is_unmarked(counts)).map(|(name, _)| name).collect()
    }

    /// Prints the figures, and fails if a value was never delivered or comes from nowhere.
    pub(crate) fn check(&self, what: &str) {
        let missing: Vec<_> = self.put.iter().filter(|name| !self.worked.contains_key(*name)).collect();
        let invented: Vec<_> = self.worked.keys().filter(|name| !self.tried.contains(*name)).collect();
        eprintln!(
            "{what}: {} puts returned, {} values worked on, {} done, {} more than once, {} leases lost, {} twice without a raised count",
            self.put.len(),
            self.worked.len(),
            self.done.len(),
            self.worked.values().filter(|counts| counts.len() > 1).count(),
            self.lost,
            self.unmarked().len()
        );
        assert!(missing.is_empty(), "put and never delivered: {missing:?}");
        assert!(invented.is_empty(), "delivered and never put: {invented:?}");
    }
}
