//! Whose an end is: moved, split, copied by a fork. With real processes, which die.

mod alone;

use alone::{WATCHDOG, alone, open_descriptors};
use multiproc_pipe::{Connection, RecvError, SendError, StandbyError, pipe, pipe_oneway};
use multiproc_process::Process;
use multiproc_travel::pass;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::os::fd::BorrowedFd;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `child` in a forked copy of this process, which has one thread; returns its pid.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread, so the copy may do anything; it ends without unwinding into what it copied.
    match unsafe { libc::fork() } {
        0 => {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the process at once, without running what the parent will run.
            unsafe { libc::_exit(i32::from(done.is_err())) }
        }
        pid => pid,
    }
}

/// How the child `pid` ended: 0 for success.
fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: waits for our own child, and writes an integer that outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}

// Moved.

fn use_once_then_wait(end: Connection<u32>) {
    end.send(&1).unwrap();
    loop {
        thread::park();
    }
}

fn carry((carrier, answer): (Connection<Connection<u32>>, Connection<u32>)) {
    let end = carrier.recv().unwrap();
    answer.send(&0).unwrap();
    use_once_then_wait(end);
}

#[test]
fn a_sent_end_has_moved_and_the_death_of_its_new_process_is_the_end_at_once() {
    let (a, b) = pipe::<u32>().unwrap();
    a.send(&0).unwrap();
    assert_eq!(b.recv().unwrap(), 0);
    let (carrier, theirs) = pipe().unwrap();
    let (answer, their_answer) = pipe().unwrap();
    let process = Process::spawn(carry, (theirs, their_answer)).unwrap();
    let before = open_descriptors();
    carrier.send(&a).unwrap();
    assert_eq!(open_descriptors(), before - 1, "the socket is open here, too");
    assert_eq!(answer.recv_timeout(WATCHDOG).unwrap(), 0);
    assert!(matches!(a.send(&2), Err(SendError::Moved)) && matches!(a.recv(), Err(RecvError::Moved)));
    assert!(matches!(a.try_recv(), Err(RecvError::Moved)) && matches!(a.poll(None), Err(RecvError::Moved)));
    assert!(matches!(a.standby(), Err(StandbyError::Moved)) && a.readiness().is_err());
    assert_eq!(b.recv_timeout(WATCHDOG).unwrap(), 1);
    let waiter = thread::spawn(move || b.recv_timeout(WATCHDOG));
    process.kill().unwrap();
    let killed = Instant::now();
    assert!(matches!(waiter.join().unwrap(), Err(RecvError::Disconnected)));
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
    process.join().unwrap();
    drop(a);
}

#[test]
fn an_end_is_once_in_a_message_and_stays_if_that_fails() {
    let (carrier, far) = pipe::<Vec<Connection<u32>>>().unwrap();
    let (a, b) = pipe::<u32>().unwrap();
    let (through, _far) = pipe::<Twice>().unwrap();
    #[derive(Deserialize)]
    struct Twice(Connection<u32>);
    impl Serialize for Twice {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (&self.0, &self.0).serialize(serializer)
        }
    }
    let twice = Twice(a);
    assert!(matches!(through.send(&twice), Err(SendError::Encode(_))));
    let a = twice.0;
    a.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    let ends = vec![a];
    carrier.send(&ends).unwrap();
    assert!(matches!(carrier.send(&ends), Err(SendError::Encode(_))));
    assert_eq!(far.recv().unwrap().len(), 1);
}

/// A value that refuses to be encoded after the end inside it was.
#[derive(Deserialize)]
struct Refuses(Connection<u32>);

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeTuple};
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.0)?;
        Err(S::Error::custom("refused"))
    }
}

#[test]
fn an_end_that_could_not_be_sent_is_still_here() {
    let (a, b) = pipe::<u32>().unwrap();
    a.send(&1).unwrap();
    let refuses = Refuses(a);
    let (carrier, _far) = pipe::<Refuses>().unwrap();
    assert!(matches!(carrier.send(&refuses), Err(SendError::Encode(_))));
    let a = refuses.0;
    // The other end of the carrier is gone.
    let (carrier, far) = pipe::<(Connection<u32>, Vec<u8>)>().unwrap();
    drop(far);
    let value = (a, vec![]);
    assert!(matches!(carrier.send(&value), Err(SendError::Disconnected)));
    value.0.send(&2).unwrap();
    assert_eq!((b.recv().unwrap(), b.recv().unwrap()), (1, 2));
}

#[test]
fn a_full_pipe_gives_an_end_back() {
    let (a, b) = pipe::<u32>().unwrap();
    let (carrier, far) = pipe::<(Option<Connection<u32>>, Vec<u8>)>().unwrap();
    let mut value = (Some(a), vec![7; 200_000]);
    assert!(matches!(carrier.send_timeout(&value, Duration::from_millis(5)), Err(SendError::Timeout)));
    while carrier.try_send(&(None, vec![])).is_ok() {}
    assert!(matches!(carrier.try_send(&value), Err(SendError::Full)));
    value.1.truncate(10);
    assert!(matches!(carrier.try_send(&value), Err(SendError::Full)));
    value.0.as_ref().unwrap().send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    while far.try_recv().is_ok() {}
    carrier.try_send(&value).unwrap();
    let (a, bytes) = far.recv().unwrap();
    assert!(bytes == value.1);
    a.unwrap().send(&2).unwrap();
    assert_eq!(b.recv().unwrap(), 2);
    assert!(matches!(value.0.unwrap().send(&3), Err(SendError::Moved)));
}

#[test]
fn an_end_that_is_encoded_for_a_trial_stays() {
    let (a, b) = pipe::<u32>().unwrap();
    a.send(&1).unwrap();
    for _ in 0..3 {
        drop(pass::encode(&a).unwrap());
        assert!(pass::encode_plain(&a, &mut Vec::new()).is_err());
        a.send(&2).unwrap();
    }
    for expected in [1, 2, 2, 2] {
        assert_eq!(b.recv().unwrap(), expected);
    }
    // Dropped while it is away, it is gone.
    let parcel = pass::encode(&a).unwrap();
    drop(a);
    drop(parcel);
    assert!(matches!(b.recv(), Err(RecvError::Disconnected)));
}

thread_local! {
    static USED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static AGAIN: std::cell::RefCell<Option<Connection<Uses>>> = const { std::cell::RefCell::new(None) };
}

/// A value whose encoding uses the very end that it is sent through.
#[derive(Debug)]
struct Uses(u32);

impl Serialize for Uses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        AGAIN.with_borrow(|again| {
            let end = again.as_ref().filter(|_| self.0 == 3);
            // A value is encoded more than once when it is tried out.
            if let (Some(again), 1, false) = (again, self.0, USED.replace(self.0 == 1)) {
                again.send(&Uses(2)).unwrap();
                USED.set(true);
            }
            (self.0, end).serialize(serializer)
        })
    }
}

impl<'de> Deserialize<'de> for Uses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(u32, Option<Connection<Uses>>)>::deserialize(deserializer).map(|(number, _)| Self(number))
    }
}

#[test]
fn a_value_may_use_the_end_that_it_is_sent_through_but_not_send_it() {
    let (a, b) = pipe::<Uses>().unwrap();
    AGAIN.set(Some(a));
    AGAIN.with_borrow(|a| a.as_ref().unwrap().send(&Uses(1))).unwrap();
    assert_eq!((b.recv().unwrap().0, b.recv().unwrap().0), (2, 1));
    let error = AGAIN.with_borrow(|a| a.as_ref().unwrap().send(&Uses(3))).unwrap_err();
    assert!(matches!(error, SendError::ThroughItself), "{error}");
    AGAIN.with_borrow(|a| a.as_ref().unwrap().send(&Uses(4))).unwrap();
    assert_eq!(b.recv().unwrap().0, 4);
    AGAIN.set(None);
}

#[test]
fn what_has_come_of_a_message_moves_with_the_end() {
    let (a, b) = pipe::<Vec<u8>>().unwrap();
    let message: Vec<u8> = (0..1 << 20).map(|i: u32| i as u8).collect();
    let sent = message.clone();
    let sender = thread::spawn(move || a.send(&sent));
    assert!(matches!(b.recv_timeout(Duration::ZERO), Ok(_) | Err(RecvError::Timeout)));
    let (carrier, far) = pipe::<Connection<Vec<u8>>>().unwrap();
    while !b.poll(Duration::from_millis(1)).unwrap() {}
    // In a thread: with what has come of the message, the end may be longer than the carrier holds.
    let receiver = thread::spawn(move || far.recv().unwrap().recv().unwrap());
    carrier.send(&b).unwrap();
    assert!(receiver.join().unwrap() == message);
    sender.join().unwrap().unwrap();
}

#[test]
fn the_descriptor_of_an_end_that_moved_is_readable_and_tells_again_if_it_comes_back() {
    let (receiver, sender) = pipe_oneway::<u32>().unwrap();
    let ready =
        |fd: BorrowedFd<'_>| poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1;
    assert!(!ready(receiver.readiness().unwrap()));
    let parcel = pass::encode(&receiver).unwrap();
    assert!(ready(receiver.readiness().unwrap()), "recv says at once that the end has moved");
    assert!(matches!(receiver.try_recv(), Err(RecvError::Moved)));
    drop(parcel);
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    assert!(!ready(receiver.readiness().unwrap()));
    sender.send(&1).unwrap();
    assert!(ready(receiver.readiness().unwrap()));
    assert_eq!(receiver.recv().unwrap(), 1);
    assert!(!ready(receiver.readiness().unwrap()));
}

// Split.

#[test]
fn the_two_directions_of_an_end_work_in_two_threads_and_close_one_by_one() {
    let (a, b) = pipe::<u32>().unwrap();
    let (sender, receiver) = a.split();
    let waiter = thread::spawn(move || (receiver.recv().unwrap(), receiver));
    sender.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    drop(sender);
    assert!(matches!(b.recv(), Err(RecvError::Disconnected)));
    b.send(&2).unwrap();
    let (got, receiver) = waiter.join().unwrap();
    assert_eq!(got, 2);
    assert!(pass::encode(&receiver).is_err() && matches!(receiver.standby(), Err(StandbyError::Half)));
    b.send(&3).unwrap();
    assert_eq!(receiver.recv().unwrap(), 3);
    drop(receiver);
    assert!(matches!(b.send(&4), Err(SendError::Disconnected)));
}

// Copied by a fork.

fn unused_copy((): ()) {
    let (a, b) = pipe::<u32>().unwrap();
    a.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    let (mut mine, mut its) = (Some(a), Some(b));
    // Copies of ends that are in use here, and of ends that are not.
    let (fresh_a, fresh_b) = pipe::<u32>().unwrap();
    let (mut fresh_mine, mut fresh_its) = (Some(fresh_a), Some(fresh_b));
    assert_eq!(wait(fork(|| drop((mine.take(), its.take(), fresh_mine.take(), fresh_its.take())))), 0);
    for (a, b) in [(mine, its), (fresh_mine, fresh_its)] {
        let (a, b) = (a.unwrap(), b.unwrap());
        a.send(&2).unwrap();
        assert_eq!(b.recv_timeout(WATCHDOG).unwrap(), 2);
        b.send(&3).unwrap();
        assert_eq!(a.recv_timeout(WATCHDOG).unwrap(), 3);
        drop(a);
        assert!(matches!(b.recv_timeout(WATCHDOG), Err(RecvError::Disconnected)));
    }
}

#[test]
fn dropping_a_forked_copy_that_was_never_used_affects_nobody() {
    alone(unused_copy);
}

fn first_user((): ()) {
    let (a, b) = pipe::<u32>().unwrap();
    let (done, its_done) = pipe::<u32>().unwrap();
    let pid = fork(|| {
        a.send(&1).unwrap();
        its_done.send(&1).unwrap();
        its_done.recv().unwrap();
    });
    assert_eq!(done.recv_timeout(WATCHDOG).unwrap(), 1);
    assert!(matches!(a.send(&2), Err(SendError::InUse { pid: user }) if user == pid as u32));
    assert!(matches!(a.try_recv(), Err(RecvError::InUse { .. })));
    assert_eq!(b.recv().unwrap(), 1);
    // SAFETY: our own child, not waited for yet: a user that is dead and still a zombie is dead.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let deadline = Instant::now() + WATCHDOG;
    while matches!(a.send(&3), Err(SendError::InUse { .. })) {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(b.recv().unwrap(), 3);
    wait(pid);
}

#[test]
fn the_first_process_that_uses_a_forked_end_has_it_until_it_dies() {
    alone(first_user);
}

fn hidden_user((): ()) {
    let (a, b) = pipe::<u32>().unwrap();
    a.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    // SAFETY: these calls change this copy's own view of the system, and take constant strings.
    let hide = || unsafe {
        let none = std::ptr::null();
        // Group 0 would see everything.
        libc::mount(c"none".as_ptr(), c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
            && libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 0, c"hidepid=2".as_ptr().cast()) == 0
            && libc::setgroups(0, std::ptr::null()) == 0
            && libc::setgid(65534) == 0
            && libc::setuid(65534) == 0
    };
    let status = wait(fork(|| {
        // SAFETY: changes this copy alone.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 || !hide() {
            eprintln!("skipped: this machine can't mount /proc with hidepid");
            return;
        }
        assert!(!std::path::Path::new("/proc/1/stat").exists());
        assert!(matches!(a.send(&2), Err(SendError::InUse { .. })), "a user that /proc hides was taken for dead");
        assert!(matches!(b.try_recv(), Err(RecvError::InUse { .. })));
    }));
    assert_eq!(status, 0);
    a.send(&3).unwrap();
    assert_eq!(b.recv().unwrap(), 3);
}

#[test]
fn a_user_that_proc_hides_is_not_dead() {
    alone(hidden_user);
}

fn left_behind((): ()) {
    let (a, b) = pipe::<u32>().unwrap();
    let (word, its_word) = pipe::<u32>().unwrap();
    let copy = fork(|| {
        its_word.recv().unwrap();
        assert!(matches!(a.send(&9), Err(SendError::Moved)), "the end is another process's, unused as it is");
    });
    let (carrier, far) = pipe::<Connection<u32>>().unwrap();
    carrier.send(&a).unwrap();
    word.send(&1).unwrap();
    assert_eq!(wait(copy), 0);
    let moved = far.recv().unwrap();
    // A copy of an end that was closed does not open it again.
    let (word, its_word) = pipe::<u32>().unwrap();
    moved.send(&1).unwrap();
    let copy = fork(|| {
        its_word.recv().unwrap();
        assert!(matches!(moved.send(&9), Err(SendError::Moved)));
    });
    drop(moved);
    word.send(&1).unwrap();
    assert_eq!(wait(copy), 0);
    assert_eq!(b.recv().unwrap(), 1);
    assert!(matches!(b.recv(), Err(RecvError::Disconnected)));
}

#[test]
fn a_forked_copy_of_an_end_that_was_sent_or_closed_says_moved() {
    alone(left_behind);
}

fn each_keeps_one((): ()) {
    for dies in [false, true] {
        let (a, b) = pipe::<u32>().unwrap();
        let (mut mine, mut its) = (Some(a), Some(b));
        let child = fork(|| {
            mine.take().unwrap().close();
            let b = its.take().unwrap();
            while let Ok(number) = b.recv() {
                b.send(&(number + 1)).unwrap();
            }
        });
        its.take().unwrap().close();
        let a = mine.take().unwrap();
        a.send(&1).unwrap();
        assert_eq!(a.recv_timeout(WATCHDOG), Ok(2));
        if dies {
            // SAFETY: our own child, not waited for yet.
            unsafe { libc::kill(child, libc::SIGKILL) };
            assert_eq!(a.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
            wait(child);
        } else {
            a.close();
            assert_eq!(wait(child), 0, "the child did not see the end");
        }
    }
}

#[test]
fn after_a_fork_each_process_drops_the_end_it_does_not_need_and_uses_the_other() {
    alone(each_keeps_one);
}
