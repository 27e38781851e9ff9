//! Pools whose workers are on other machines. A process of this test stands for a machine.
#![cfg(feature = "pool")]

mod server;

use multiproc_nats::{
    Call, RemoteMapError, RemotePool, RemoteQueue, RemoteSubmitError, RemoteTask, RemoteTaskError, ServeError, Tasks,
};
use multiproc_pool::{JoinPoolError, Pool, TaskError};
use multiproc_process::Exit;
use serde::{Deserialize, Serialize, Serializer};
use server::Server;
use server::proxy::{Mode, Proxy};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(1);

fn square(n: u64) -> u64 {
    n * n
}

fn nothing() {}

fn panics(n: u64) -> u64 {
    panic!("no {n} today")
}

fn ends_itself(_: u64) -> u64 {
    std::process::abort()
}

fn long(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

/// Not served.
fn foreign(n: u64) -> u64 {
    n
}

/// Leaves a file when it has begun, and ends when there is another one.
fn gated(directory: PathBuf) -> u32 {
    fs::write(directory.join(format!("began-{}", std::process::id())), "").unwrap();
    while !directory.join("open").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::id()
}

fn began(directory: &Path) -> usize {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("began-")).count()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < SOON, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn tasks() -> Tasks {
    Tasks::new().with(square).with(nothing).with(panics).with(ends_itself).with(long).with(gated)
}

fn queue(url: &str) -> RemoteQueue<Call> {
    RemoteQueue::builder().lease(LEASE).connect(url).unwrap()
}

#[test]
fn role() {
    let Ok(url) = std::env::var("MULTIPROC_NATS_SERVES") else { return };
    let stop = PathBuf::from(std::env::var_os("MULTIPROC_NATS_STOP").unwrap());
    match std::env::var("MULTIPROC_NATS_ROLE").as_deref() {
        Ok("asks") => {
            let pool = RemotePool::over(queue(&url)).unwrap();
            let _waiting: Vec<_> = (0..50).map(|n| pool.spawn(square, n).unwrap()).collect();
            fs::write(stop, "").unwrap();
            std::thread::sleep(SOON);
        }
        _ => tasks().serve_while(&queue(&url), &Pool::new(2).unwrap(), || !stop.exists()).unwrap(),
    }
}

/// A process that doesn't outlive a test that fails.
struct Machine(Child);

impl Machine {
    fn start(url: &str, role: &str, stop: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "role", "--nocapture"]).stdout(Stdio::null());
        command.env("MULTIPROC_NATS_SERVES", url).env("MULTIPROC_NATS_ROLE", role).env("MULTIPROC_NATS_STOP", stop);
        Self(command.spawn().unwrap())
    }

    fn serve(server: &Server, queue: &str) -> Self {
        Self::start(&server.url(queue), "serves", &server.path("never"))
    }
}

impl Machine {
    fn end(mut self) -> ExitStatus {
        let mut ended = None;
        wait_for("the machine ends", || {
            ended = self.0.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already if all goes well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ended<R: serde::de::DeserializeOwned + std::fmt::Debug>(task: RemoteTask<R>) -> Result<R, RemoteTaskError> {
    task.wait_timeout(SOON).expect("it ends soon")
}

#[test]
fn results_come_from_other_machines_in_the_order_of_the_arguments() {
    let server = server!();
    let url = server.url("squares");
    let pool = RemotePool::over(queue(&url)).unwrap();
    let early = pool.spawn(square, 12).unwrap();
    let _machines = [Machine::serve(&server, "squares"), Machine::serve(&server, "squares")];
    assert_eq!(ended(early), Ok(144));
    assert_eq!(pool.map(square, 0..3000).unwrap(), (0..3000).map(square).collect::<Vec<_>>());
    assert!(pool.map(square, []).unwrap().is_empty());
    // An endless input is taken as its results are.
    assert_eq!(pool.imap(square, 1..).unwrap().nth(2), Some(Ok(9)));
    let mut any: Vec<u64> = pool.imap_unordered(square, 0..100).unwrap().collect::<Result<_, _>>().unwrap();
    any.sort_unstable();
    assert_eq!(any, (0..100).map(square).collect::<Vec<_>>());
    assert_eq!(smol::block_on(async { pool.spawn(nothing, ()).unwrap().await }), Ok(()));
    // Another pool of the same queue.
    let other = RemotePool::connect(&url).unwrap();
    let (ours, theirs) = (pool.spawn(square, 3).unwrap(), other.spawn(square, 4).unwrap());
    assert_eq!((ended(ours), ended(theirs)), (Ok(9), Ok(16)));
}

#[test]
fn what_goes_wrong_with_a_task_is_its_own_error() {
    let server = server!();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let _machine = Machine::serve(&server, "jobs");
    assert_eq!(ended(pool.spawn(panics, 7).unwrap()), Err(TaskError::Panicked { message: "no 7 today".into() }.into()));
    let exit = Exit::Signal(libc_abort());
    assert_eq!(ended(pool.spawn(ends_itself, 1).unwrap()), Err(TaskError::WorkerDied { exit, attempts: 1 }.into()));
    let unknown = ended(pool.spawn(foreign, 1).unwrap()).unwrap_err();
    assert!(matches!(&unknown, RemoteTaskError::Unknown { function } if function == "pool::foreign"), "{unknown:?}");
    let too_long = ended(pool.spawn(long, 2_000_000).unwrap()).unwrap_err();
    assert!(matches!(too_long, RemoteTaskError::Task(TaskError::Result { .. })), "{too_long:?}");
    assert_eq!(ended(pool.spawn(long, 1_000_000).unwrap()).map(|bytes| bytes.len()), Ok(1_000_000));
    let Err(RemoteMapError::Tasks { results }) = pool.map(long, [3, 2_000_000, 4]) else { panic!("one of them failed") };
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    // What is refused here is refused at once.
    assert!(matches!(pool.spawn(|n: u64| n, 1), Err(RemoteSubmitError::Unnamed { .. })));
    assert!(matches!(pool.spawn(taken, vec![0; 2_000_000]), Err(RemoteSubmitError::Put(_))));
    let closure = Tasks::new().with(|n: u64| n).serve(pool.queue(), &Pool::new(1).unwrap());
    assert!(matches!(closure, Err(ServeError::Unnamed { .. })), "{closure:?}");
}

fn taken(bytes: Vec<u8>) -> usize {
    bytes.len()
}

fn libc_abort() -> i32 {
    rustix::process::Signal::ABORT.as_raw()
}

#[test]
fn the_tasks_of_a_machine_that_is_lost_run_on_another_one() {
    let server = server!();
    let gate = tempfile::tempdir().unwrap();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let first = Machine::serve(&server, "jobs");
    let task = pool.spawn(gated, gate.path().to_path_buf()).unwrap();
    wait_for("it begins", || began(gate.path()) == 1);
    drop(first);
    let _second = Machine::serve(&server, "jobs");
    wait_for("it begins again", || began(gate.path()) == 2);
    fs::write(gate.path().join("open"), "").unwrap();
    assert!(ended(task).is_ok());
}

#[test]
fn a_pool_whose_connection_is_cut_gets_its_results_when_it_is_back() {
    let server = server!();
    let (gate, proxy) = (tempfile::tempdir().unwrap(), Proxy::to(server.port));
    let pool = RemotePool::over(queue(&proxy.url("jobs"))).unwrap();
    let _machine = Machine::serve(&server, "jobs");
    let begun = pool.spawn(gated, gate.path().to_path_buf()).unwrap();
    wait_for("it begins", || began(gate.path()) == 1);
    (0..3).for_each(|n| fs::create_dir(gate.path().join(n.to_string())).unwrap());
    let waiting: Vec<_> = (0..3).map(|n| pool.spawn(gated, gate.path().join(n.to_string())).unwrap()).collect();
    proxy.set(Mode::Cut);
    fs::write(gate.path().join("open"), "").unwrap();
    // Longer than a lease, and than what is waited before a call goes back.
    std::thread::sleep(Duration::from_secs(4));
    (0..3).for_each(|n| fs::write(gate.path().join(n.to_string()).join("open"), "").unwrap());
    // It was silent, and now it is slow.
    proxy.set(Mode::Delay(Duration::from_millis(20)));
    assert!(ended(begun).is_ok());
    waiting.into_iter().for_each(|task| assert!(ended(task).is_ok()));
}

#[test]
fn tasks_go_on_when_the_server_is_killed_and_starts_again() {
    let mut server = server!();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let _machine = Machine::serve(&server, "jobs");
    let mut results = pool.imap(square, 0..4000).unwrap();
    assert_eq!(results.next(), Some(Ok(0)));
    server.restart();
    assert_eq!(results.collect::<Result<Vec<_>, _>>(), Ok((1..4000).map(square).collect()));
}

#[test]
fn what_was_cancelled_or_terminated_never_runs_and_a_closed_pool_takes_nothing() {
    let server = server!();
    let gate = tempfile::tempdir().unwrap();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let cancelled = pool.spawn(gated, gate.path().to_path_buf()).unwrap();
    assert!(cancelled.cancel() && !cancelled.cancel() && cancelled.is_ready());
    assert_eq!(ended(cancelled), Err(TaskError::Cancelled.into()));
    let other = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let terminated = other.spawn(gated, gate.path().to_path_buf()).unwrap();
    other.terminate();
    assert!(matches!(ended(terminated), Err(RemoteTaskError::Task(TaskError::Ended { .. }))));
    assert!(matches!(other.spawn(square, 1), Err(RemoteSubmitError::Closed)));
    assert_eq!(other.join(), Ok(()));
    let last = pool.spawn(square, 5).unwrap();
    assert_eq!(pool.join(), Err(JoinPoolError::NotClosed));
    pool.close();
    assert!(matches!(pool.map(square, [1]), Err(RemoteMapError::Submit(RemoteSubmitError::Closed))));
    let _machine = Machine::serve(&server, "jobs");
    assert_eq!((pool.join(), ended(last)), (Ok(()), Ok(25)));
    pool.queue().join_timeout(SOON).unwrap();
    assert_eq!(began(gate.path()), 0);
}

#[test]
fn calls_of_a_pool_that_was_killed_hold_up_no_others() {
    let server = server!();
    let asked = server.path("asked");
    let killed = Machine::start(&server.url("jobs"), "asks", &asked);
    wait_for("the calls are in the queue", || asked.exists());
    drop(killed);
    let _machine = Machine::serve(&server, "jobs");
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    assert_eq!(ended(pool.spawn(square, 6).unwrap()), Ok(36));
}

#[test]
fn tasks_whose_calls_are_gone_end() {
    let server = server!();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let task = pool.spawn(square, 1).unwrap();
    assert!(server.api("STREAM.PURGE.jobs", &serde_json::json!({})).get("error").is_none());
    assert_eq!(ended(task), Err(RemoteTaskError::Lost));
    let task = pool.spawn(square, 1).unwrap();
    assert!(server.api("STREAM.DELETE.jobs", &serde_json::json!({})).get("error").is_none());
    assert_eq!(ended(task), Err(RemoteTaskError::Lost));
}

#[test]
fn serving_ends_when_it_is_told_to_with_what_it_has_in_hand() {
    let server = server!();
    let (gate, stop) = (tempfile::tempdir().unwrap(), server.path("stop"));
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let machine = Machine::start(&server.url("jobs"), "serves", &stop);
    let task = pool.spawn(gated, gate.path().to_path_buf()).unwrap();
    wait_for("it begins", || began(gate.path()) == 1);
    fs::write(stop, "").unwrap();
    let later = pool.spawn(square, 2).unwrap();
    // The other thread of that machine may have been waiting for it.
    let later = later.wait_timeout(Duration::from_secs(3));
    fs::write(gate.path().join("open"), "").unwrap();
    assert!(ended(task).is_ok());
    assert!(machine.end().success());
    drop(later);
    // A shutdown ends it, too.
    let machine = Machine::serve(&server, "jobs");
    pool.queue().shutdown().unwrap();
    assert!(machine.end().success());
}

#[test]
fn every_task_ends_with_its_result_whatever_is_killed() {
    let mut server = server!();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let mut machines: Vec<_> = (0..3).map(|_| Machine::serve(&server, "jobs")).collect();
    let mut results = pool.imap_unordered(square, 0..2000).unwrap();
    let mut came = Vec::new();
    for (kill, results) in (0..10).map(|kill| (kill, results.by_ref().take(150).collect::<Vec<_>>())) {
        came.extend(results);
        if kill % 5 == 4 {
            server.restart();
        } else {
            machines[kill % 3] = Machine::serve(&server, "jobs");
        }
    }
    came.extend(results);
    let mut came: Vec<_> = came.into_iter().collect::<Result<_, _>>().unwrap();
    came.sort_unstable();
    assert_eq!(came, (0..2000).map(square).collect::<Vec<_>>());
    assert!(machines.iter_mut().all(Machine::is_running), "a machine serves no more");
}

/// Can't be encoded a second time.
#[derive(Deserialize)]
struct Rude(u64);

impl Serialize for Rude {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.0 < 3, "no encoding of {}", self.0);
        self.0.serialize(serializer)
    }
}

fn polite(rude: Rude) -> u64 {
    rude.0
}

#[test]
fn arguments_whose_encoding_panics_leave_no_task_behind() {
    let server = server!();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| pool.map(polite, (0..10).map(Rude))));
    assert!(panicked.is_err());
    pool.close();
    assert_eq!(pool.join(), Ok(()));
}

#[test]
fn a_terminated_pool_frees_whoever_waits_to_put_a_call() {
    let server = server!();
    let calls = RemoteQueue::builder().bounded(1).connect(&server.url("jobs")).unwrap();
    let pool = RemotePool::over(calls).unwrap();
    let _first = pool.spawn(square, 1).unwrap();
    let second = std::thread::scope(|scope| {
        let waits = scope.spawn(|| pool.spawn(square, 2).map(RemoteTask::wait));
        std::thread::sleep(Duration::from_millis(100));
        pool.terminate();
        waits.join().unwrap()
    });
    assert!(matches!(second, Ok(Err(RemoteTaskError::Task(TaskError::Ended { .. }))) | Err(RemoteSubmitError::Closed)));
}

#[test]
fn a_forked_copy_is_told_that_the_pool_is_not_its_own() {
    let server = server!();
    let pool = RemotePool::over(queue(&server.url("jobs"))).unwrap();
    let machine = Machine::serve(&server, "jobs");
    let mut begun = pool.imap(square, 1..).unwrap();
    assert_eq!(begun.next(), Some(Ok(1)));
    drop(machine);
    let task = pool.spawn(square, 1).unwrap();
    // SAFETY: the copy asks the pool and ends at once.
    let copy = unsafe { libc::fork() };
    if copy == 0 {
        let refused = matches!(pool.spawn(square, 1), Err(RemoteSubmitError::Put(_)))
            && matches!(pool.map(square, [1]), Err(RemoteMapError::Submit(_)))
            && matches!((begun.next(), begun.next()), (Some(Err(_)), None))
            && task.is_ready()
            && task.wait().is_err()
            && pool.join() == Err(JoinPoolError::Forked);
        drop(pool);
        // SAFETY: ends the copy.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: waits for the copy; `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
    assert_eq!(status, 0);
    let _machine = Machine::serve(&server, "jobs");
    assert_eq!((ended(task), begun.next()), (Ok(1), Some(Ok(4))));
}
