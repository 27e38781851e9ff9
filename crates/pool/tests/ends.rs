//! Workers end with their parent, however that ends, and with nothing else.

use multiproc_pool::{Pool, Workers};
use multiproc_process::{Exit, Process};
use multiproc_queue::Queue;
use multiproc_travel::Link;
use multiproc_travel::pass::Descriptor;
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

fn signal(pid: u32, signal: i32) {
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(pid as i32, signal) };
}

/// One end of a socket, in the hands of each process that has to end.
#[derive(Serialize, Deserialize)]
struct End(Descriptor);

impl Clone for End {
    fn clone(&self) -> Self {
        Self(Descriptor::from(self.0.as_fd().try_clone_to_owned().unwrap()))
    }
}

static HELD: OnceLock<(End, Queue<u32>)> = OnceLock::new();

fn hold(held: (End, Queue<u32>)) {
    assert!(HELD.set(held).is_ok());
}

/// Says who it is, and never ends.
fn hang(_: u32) -> u32 {
    HELD.get().unwrap().1.put(std::process::id()).unwrap();
    loop {
        std::thread::park();
    }
}

/// Hangs with a pool of its own that hangs.
fn hang_with_a_pool(depth: u32) -> u32 {
    let pool = Pool::builder().workers(1).initializer(hold, HELD.get().unwrap().clone()).build().unwrap();
    let inner = pool.spawn(hang, depth).unwrap();
    HELD.get().unwrap().1.put(std::process::id()).unwrap();
    inner.wait().unwrap()
}

/// How a parent of workers ends.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum How {
    ByASignal,
    Exit,
    Panic,
    Return,
}

/// Has a pool with a worker that has a pool, and a group; ends as it is told.
fn parent((held, how, go): (End, How, Queue<()>), began: Queue<u32>) {
    let pool = Pool::builder().workers(1).initializer(hold, (held.clone(), began.clone())).build().unwrap();
    let _task = pool.spawn(hang_with_a_pool, 1).unwrap();
    let serve = |held: (End, Queue<u32>)| {
        hold(held);
        hang(0);
    };
    let _workers = Workers::builder().count(1).spawn(serve, (held, began)).unwrap();
    go.get().unwrap();
    match how {
        How::ByASignal => loop {
            std::thread::park();
        },
        How::Exit => std::process::exit(3),
        How::Panic => panic!("on purpose"),
        How::Return => {}
    }
}

fn run_parent((arguments, began): ((End, How, Queue<()>), Queue<u32>)) {
    parent(arguments, began);
}

/// Runs `parent`, ends it, and waits until nobody holds the socket. `blow` is dealt to it and to its three processes.
fn all_end_after(how: How, blow: impl Fn(u32, &[u32])) -> Exit {
    let (ours, theirs) = Link::pair().unwrap();
    let (began, go) = (Queue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let held = End(Descriptor::from(OwnedFd::from(theirs)));
    let process = Process::spawn(run_parent, ((held, how, go.clone()), began.clone())).unwrap();
    let pids: Vec<u32> = (0..3).map(|_| began.get_timeout(WATCHDOG).unwrap()).collect();
    assert!(!ours.is_hung_up());
    go.put(()).unwrap();
    blow(process.pid(), &pids);
    let exit = process.join_timeout(WATCHDOG).unwrap().unwrap();
    assert!(ours.wait_readable(WATCHDOG).unwrap() && ours.is_hung_up(), "a process has outlived its parent");
    exit
}

#[test]
fn workers_and_their_own_workers_end_when_the_parent_is_killed() {
    assert_eq!(all_end_after(How::ByASignal, |parent, _| signal(parent, libc::SIGKILL)), Exit::Signal(9));
}

#[test]
fn ctrl_c_ends_the_parent_and_with_it_all_workers() {
    // The terminal sends it to all of them.
    let interrupt = |parent, pids: &[u32]| pids.iter().chain([&parent]).for_each(|&pid| signal(pid, libc::SIGINT));
    assert_eq!(all_end_after(How::ByASignal, interrupt), Exit::Signal(2));
}

#[test]
fn workers_end_when_the_parent_exits_panics_or_returns() {
    assert_eq!(all_end_after(How::Exit, |_, _| ()), Exit::Code(3));
    assert_eq!(all_end_after(How::Panic, |_, _| ()), Exit::Code(101));
    assert_eq!(all_end_after(How::Return, |_, _| ()), Exit::Code(0));
}

#[test]
fn a_worker_takes_no_notice_of_ctrl_c() {
    let pool = Pool::new(2).unwrap();
    let before = pool.pids();
    before.iter().for_each(|&pid| signal(pid, libc::SIGINT));
    assert_eq!(pool.map(|n: u32| n, 0..100).unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!((pool.pids(), pool.replaced()), (before, 0));
}
