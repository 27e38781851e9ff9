//! Senders and receivers: a side ends when its last handle is gone, by drop or by death, and not before.

use multiproc_pipe::{Connection, pipe};
use multiproc_process::{Exit, Process};
use multiproc_queue::{Queue, Receiver, RecvError, SendError, Sender};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);
/// The promise is 100 ms; the rest is for a machine that is busy with other tests.
const SOON: Duration = Duration::from_millis(400);
/// Long enough for an end that comes by mistake.
const AWHILE: Duration = Duration::from_millis(400);

/// Runs a test that changes its whole process in a process of its own.
fn in_a_process(test: fn(()) -> ()) {
    assert_eq!(Process::spawn(test, ()).unwrap().join().unwrap(), Exit::Code(0));
}

/// Starts a process that ends with this one, even if the test fails.
fn start<A: Serialize + DeserializeOwned + 'static>(work: fn(A), args: A) -> Process {
    Process::builder().daemon(true).spawn(work, args).unwrap()
}

fn bounded(capacity: u32) -> (Sender<u64>, Receiver<u64>) {
    Queue::bounded(capacity).unwrap().split().unwrap()
}

fn kill(process: &Process) -> Instant {
    process.kill().unwrap();
    Instant::now()
}

fn signal(process: &Process, signal: i32) {
    // SAFETY: our own child, not waited for yet.
    assert_eq!(unsafe { libc::kill(process.pid() as i32, signal) }, 0);
}

fn send_three(sender: Sender<u64>) {
    (1..=3).for_each(|value| sender.send(value).unwrap());
}

/// Sends one value and keeps its sender for ever.
fn send_and_stay((sender, value): (Sender<u64>, u64)) {
    sender.send(value).unwrap();
    loop {
        thread::park();
    }
}

fn receive_and_stay(receiver: Receiver<u64>) {
    let _ = receiver.recv();
    loop {
        thread::park();
    }
}

#[test]
fn receivers_drain_what_was_sent_and_end_when_the_last_sender_is_dropped() {
    let (sender, receiver) = bounded(8);
    let process = start(send_three, sender.clone());
    sender.send(0).unwrap();
    drop(sender);
    process.join().unwrap();
    let mut values = receiver.iter();
    let mut got: Vec<u64> = values.by_ref().collect();
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3]);
    assert_eq!(values.end(), Some(&RecvError::Disconnected));
    assert_eq!(receiver.try_recv(), Err(RecvError::Disconnected));
}

#[test]
fn a_blocked_receiver_ends_when_another_thread_drops_the_last_sender() {
    let (sender, receiver) = bounded(8);
    let other = sender.clone();
    let waits = thread::spawn(move || receiver.into_iter().collect::<Vec<_>>());
    other.send(7).unwrap();
    drop((sender, other));
    assert_eq!(waits.join().unwrap(), [7]);
}

#[test]
fn receivers_end_soon_after_the_last_sender_was_killed() {
    let (sender, receiver) = bounded(8);
    let process = start(send_and_stay, (sender, 7));
    assert_eq!(receiver.recv_timeout(WATCHDOG), Ok(7));
    let waits = thread::spawn(move || (receiver.recv_timeout(WATCHDOG), Instant::now()));
    let killed = kill(&process);
    let (end, at) = waits.join().unwrap();
    assert_eq!(end, Err(RecvError::Disconnected));
    println!("after {:?}", at - killed);
    assert!(at - killed < SOON, "{:?}", at - killed);
    process.join().unwrap();
}

#[test]
fn one_of_three_sending_processes_that_is_killed_ends_nothing() {
    let (sender, receiver) = bounded(8);
    let mut processes: Vec<_> = (1..=3).map(|value| start(send_and_stay, (sender.clone(), value))).collect();
    drop(sender);
    let mut got: Vec<u64> = (0..3).map(|_| receiver.recv_timeout(WATCHDOG).unwrap()).collect();
    got.sort_unstable();
    assert_eq!(got, [1, 2, 3]);
    let first = processes.remove(0);
    kill(&first);
    first.join().unwrap();
    assert_eq!(receiver.recv_timeout(AWHILE), Err(RecvError::Timeout));
    processes.iter().for_each(|process| process.kill().unwrap());
    assert_eq!(receiver.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
}

#[test]
fn senders_that_are_blocked_in_a_full_queue_get_their_values_back_when_the_last_receiver_is_killed() {
    let (sender, receiver) = bounded(1);
    sender.send(0).unwrap();
    let process = start(receive_and_stay, receiver);
    sender.send(1).unwrap();
    let blocked = [2, 3].map(|value| {
        let sender = sender.clone();
        thread::spawn(move || (sender.send_timeout(value, WATCHDOG), Instant::now()))
    });
    assert_eq!(sender.send_timeout(4, Duration::from_millis(100)), Err(SendError::Timeout(4)));
    let killed = kill(&process);
    for (blocked, value) in blocked.into_iter().zip([2, 3]) {
        let (end, at) = blocked.join().unwrap();
        assert_eq!(end, Err(SendError::Disconnected(value)));
        println!("after {:?}", at - killed);
        assert!(at - killed < SOON, "{:?}", at - killed);
    }
    process.join().unwrap();
}

#[test]
fn a_send_fails_and_gives_its_value_back_once_the_last_receiver_was_dropped() {
    let (sender, receiver) = bounded(4);
    let other = receiver.clone();
    drop(receiver);
    sender.send(1).unwrap();
    drop(other);
    assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
    assert_eq!(sender.try_send(3).unwrap_err().into_inner(), 3);
}

type Ways = (Connection<Sender<u64>>, Connection<()>);

/// Waits for a sender in a message, and for the word to read it.
fn read_late((senders, words): Ways) {
    words.recv().unwrap();
    let sender = senders.recv().unwrap();
    sender.send(7).unwrap();
    words.recv().unwrap();
}

#[test]
fn a_sender_in_an_unread_message_counts_until_it_is_read_and_dropped() {
    let (sender, receiver) = bounded(4);
    let (ours, theirs) = pipe().unwrap();
    let (words, their_words) = pipe().unwrap();
    let process = start(read_late, (theirs, their_words));
    ours.send(&sender).unwrap();
    drop(sender);
    assert_eq!(receiver.recv_timeout(AWHILE), Err(RecvError::Timeout));
    words.send(&()).unwrap();
    assert_eq!(receiver.recv_timeout(WATCHDOG), Ok(7));
    assert_eq!(receiver.recv_timeout(AWHILE), Err(RecvError::Timeout));
    words.send(&()).unwrap();
    assert_eq!(receiver.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
    process.join().unwrap();
}

#[test]
fn a_sender_in_a_message_that_nobody_can_read_any_more_counts_no_longer() {
    let (sender, receiver) = bounded(4);
    let (ours, theirs) = pipe().unwrap();
    let (_words, their_words) = pipe().unwrap();
    let process = start(read_late, (theirs, their_words));
    ours.send(&sender).unwrap();
    drop(sender);
    let waits = thread::spawn(move || (receiver.recv_timeout(WATCHDOG), Instant::now()));
    // Its message is in the pipe of a process that is killed, and of ours, which closes its end.
    kill(&process);
    process.join().unwrap();
    drop(ours);
    let closed = Instant::now();
    let (end, at) = waits.join().unwrap();
    assert_eq!(end, Err(RecvError::Disconnected));
    println!("after {:?}", at.saturating_duration_since(closed));
    assert!(at.saturating_duration_since(closed) < SOON, "{:?}", at - closed);
}

#[test]
fn a_receiver_counts_on_its_way_too() {
    let (sender, receiver) = bounded(4);
    let (ours, theirs) = pipe::<Receiver<u64>>().unwrap();
    ours.send(&receiver).unwrap();
    drop(receiver);
    sender.send(1).unwrap();
    let receiver = theirs.recv().unwrap();
    assert_eq!(receiver.recv(), Ok(1));
    drop(receiver);
    assert_eq!(sender.send(2), Err(SendError::Disconnected(2)));
}

#[test]
fn a_stopped_process_with_the_only_sender_is_not_gone() {
    let (sender, receiver) = bounded(4);
    let process = start(send_and_stay, (sender, 7));
    assert_eq!(receiver.recv_timeout(WATCHDOG), Ok(7));
    signal(&process, libc::SIGSTOP);
    assert_eq!(receiver.recv_timeout(Duration::from_secs(1)), Err(RecvError::Timeout));
    signal(&process, libc::SIGCONT);
    kill(&process);
    assert_eq!(receiver.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
    process.join().unwrap();
}

/// A copy of this process that was forked and runs `child`.
struct Fork(i32);

impl Fork {
    fn run(child: impl FnOnce()) -> Self {
        // SAFETY: the copy uses what libc lets a copy of a process with threads use, and ends without unwinding into what it copied.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: sets a timer for this process.
                unsafe { libc::alarm(30) };
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).is_ok();
                // SAFETY: ends the copy at once.
                unsafe { libc::_exit(i32::from(!done)) }
            }
            pid => Self(pid),
        }
    }

    fn join(self) {
        let mut status = 0;
        // SAFETY: waits for our own child; `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(self.0, &raw mut status, 0) }, self.0);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the copy hung or crashed: {status:#x}");
    }
}

/// Waits until the other end is closed.
fn wait_for_end(mut end: &UnixStream) {
    assert_eq!(end.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_forked_copy_that_never_used_its_handles_counts_for_nothing() {
    in_a_process(|()| {
        let (sender, receiver) = bounded(4);
        let (end, hold) = UnixStream::pair().unwrap();
        let copy = Fork::run(|| {
            // SAFETY: the copy's own descriptor, which it never uses again.
            unsafe { libc::close(hold.as_raw_fd()) };
            wait_for_end(&end);
        });
        sender.send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(receiver.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
        drop(hold);
        copy.join();
    });
}

#[test]
fn a_forked_copy_counts_once_it_has_sent_and_dropping_it_before_changes_nothing() {
    in_a_process(|()| {
        let (sender, receiver) = bounded(4);
        let (end, hold) = UnixStream::pair().unwrap();
        let mut theirs = Some((sender.clone(), sender.clone()));
        let copy = Fork::run(|| {
            // SAFETY: as above.
            unsafe { libc::close(hold.as_raw_fd()) };
            let (used, unused) = theirs.take().unwrap();
            drop(unused);
            used.send(7).unwrap();
            wait_for_end(&end);
            used.send(8).unwrap();
            drop(used);
        });
        assert_eq!(receiver.recv_timeout(WATCHDOG), Ok(7));
        drop((sender, theirs));
        assert_eq!(receiver.recv_timeout(AWHILE), Err(RecvError::Timeout));
        drop(hold);
        assert_eq!(receiver.recv_timeout(WATCHDOG), Ok(8));
        assert_eq!(receiver.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
        copy.join();
    });
}

type Jobs = (Receiver<u64>, Sender<u64>);

fn square((jobs, results): Jobs) {
    jobs.iter().for_each(|job| results.send(job * job).unwrap());
}

/// Has two workers that ignore interrupts, sends jobs, and then waits for an interrupt.
fn main_process((results, ready): (Sender<u64>, Sender<()>)) {
    let (sender, jobs) = bounded(100);
    for _ in 0..2 {
        Process::builder().ignore_interrupts(true).spawn(square, (jobs.clone(), results.clone())).unwrap();
    }
    (1..=100).for_each(|job| sender.send(job).unwrap());
    ready.send(()).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn workers_that_ignore_ctrl_c_finish_what_is_queued_when_it_ends_their_parent() {
    let (sender, results) = bounded(1);
    let (ready, is_ready) = Queue::bounded(1).unwrap().split().unwrap();
    // No daemon, since it has children of its own.
    let process = Process::spawn(main_process, (sender, ready)).unwrap();
    is_ready.recv_timeout(WATCHDOG).unwrap();
    signal(&process, libc::SIGINT);
    assert_eq!(process.join().unwrap(), Exit::Signal(libc::SIGINT));
    assert_eq!(results.into_iter().sum::<u64>(), (1..=100).map(|job| job * job).sum());
}

#[test]
fn receivers_that_only_ask_now_and_then_and_senders_that_send_now_and_then_learn_of_the_end() {
    let (sender, receiver) = bounded(1000);
    let process = start(send_and_stay, (sender, 7));
    assert_eq!(receiver.recv().unwrap(), 7);
    let killed = kill(&process);
    process.join().unwrap();
    while receiver.try_recv() != Err(RecvError::Disconnected) {
        assert!(killed.elapsed() < Duration::from_secs(5), "it asks in vain");
        thread::sleep(Duration::from_millis(50));
    }
    let (sender, receiver) = bounded(1000);
    let process = start(receive_and_stay, receiver);
    sender.send(1).unwrap();
    let killed = kill(&process);
    process.join().unwrap();
    while sender.send(2).is_ok() {
        assert!(killed.elapsed() < Duration::from_secs(5), "it sends to nobody");
        thread::sleep(Duration::from_millis(50));
    }
}
