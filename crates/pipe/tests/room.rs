//! Messages that find no room, and processes with few descriptors.

mod alone;

use alone::{WATCHDOG, alone, open_descriptors};
use multiproc_pipe::{Connection, Receiver, RecvError, SendError, pipe, pipe_oneway};
use multiproc_travel::Wire;
use multiproc_travel::pass::{self, Descriptor};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(60);

#[test]
fn two_ends_that_both_send_a_mebibyte_first_get_out() {
    let (a, b) = pipe::<Vec<u8>>().unwrap();
    let message: Vec<u8> = (0..1 << 20).map(|i: u32| (i >> 3) as u8).collect();
    let large = message.clone();
    let other = thread::spawn(move || {
        let late = b.send_timeout(&large, SHORT);
        (b, late)
    });
    assert!(matches!(a.send_timeout(&message, SHORT), Err(SendError::Timeout)));
    let (b, late) = other.join().unwrap();
    assert!(matches!(late, Err(SendError::Timeout)));
    // Of what was not sent nothing is received, whole or in part.
    assert!(matches!(a.try_recv(), Err(RecvError::Empty)) && matches!(b.try_recv(), Err(RecvError::Empty)));
    // Neither waits, and both have sent.
    a.try_send(&message).unwrap();
    b.try_send(&message).unwrap();
    a.send(&vec![1]).unwrap();
    assert!(a.recv().unwrap() == message && b.recv().unwrap() == message);
    assert_eq!(b.recv().unwrap(), [1]);
}

#[test]
fn try_send_says_full_and_sends_whole_messages_only() {
    let (receiver, sender) = pipe_oneway::<Vec<u8>>().unwrap();
    let sent = (0..100_000u32).take_while(|&i| sender.try_send(&vec![i as u8; 3000]).is_ok()).count();
    assert!((15..30).contains(&sent), "{sent}");
    assert!(matches!(sender.try_send(&vec![0; 3000]), Err(SendError::Full)));
    for i in 0..sent {
        assert!(receiver.recv().unwrap() == vec![i as u8; 3000]);
    }
    assert!(matches!(receiver.try_recv(), Err(RecvError::Empty)));
    for len in [0, 100, 32_000, 32_757, 32_758, 32_760, 40_000, 65_536, 5 << 20] {
        sender.try_send(&vec![7; len]).unwrap();
        assert!(receiver.try_recv().unwrap() == vec![7; len], "{len} bytes");
    }
}

#[test]
fn a_message_that_the_receiver_would_refuse_is_refused_at_the_send() {
    let (a, b) = pipe::<u32>().unwrap();
    let long = vec![0; multiproc_pipe::MAX_MESSAGE + 1];
    assert!(matches!(a.send_bytes(&long), Err(SendError::TooLong { max: multiproc_pipe::MAX_MESSAGE, .. })));
    a.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
}

fn limit_descriptors(soft: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), ..getrlimit(Resource::Nofile) }).unwrap();
}

fn few_descriptors((): ()) {
    limit_descriptors(1024);
    let before = open_descriptors();
    let pipes: Vec<_> = (0..100).map(|_| pipe::<u32>().unwrap()).collect();
    // The process has one more, for ends whose readiness can't be had.
    assert!(open_descriptors() - before <= 4 * 100 + 1, "{} descriptors", open_descriptors() - before);
    for (a, b) in &pipes {
        a.send(&1).unwrap();
        assert_eq!(b.recv().unwrap(), 1);
    }
}

#[test]
fn a_hundred_clients_fit_the_usual_limit_of_descriptors() {
    alone(few_descriptors);
}

/// A message with descriptors meets a process that has no room for them; four small ones follow.
fn in_want_of_room(skip: bool) {
    let (a, b) = pipe::<(u32, Vec<Descriptor>)>().unwrap();
    let file = tempfile::tempfile().unwrap();
    let copies = (0..300).map(|_| file.as_fd().try_clone_to_owned().unwrap().into()).collect();
    let first = (1, copies);
    a.send(&first).unwrap();
    drop(first);
    for number in 2..6 {
        a.send(&(number, vec![])).unwrap();
    }
    let taken: Vec<OwnedFd> = (0..20).map(|_| file.as_fd().try_clone_to_owned().unwrap()).collect();
    // Room for one packet of descriptors and not for the next one.
    limit_descriptors(open_descriptors() as u64 + 220);
    for _ in 0..3 {
        assert!(matches!(b.recv(), Err(RecvError::Descriptors(_))));
        assert!(b.poll(Duration::ZERO).unwrap());
    }
    if skip {
        b.recv_bytes().unwrap();
    } else {
        limit_descriptors(1024);
        let (number, descriptors) = b.recv().unwrap();
        assert_eq!((number, descriptors.len()), (1, 300));
    }
    for number in 2..6 {
        assert_eq!(b.recv().unwrap().0, number);
    }
    drop(taken);
}

fn no_room((): ()) {
    in_want_of_room(false);
}

fn no_room_and_skipped((): ()) {
    in_want_of_room(true);
}

#[test]
fn a_message_whose_descriptors_find_no_room_waits_for_it_and_others_follow() {
    alone(no_room);
}

#[test]
fn the_bytes_of_a_message_whose_descriptors_find_no_room_can_be_received() {
    alone(no_room_and_skipped);
}

/// The socket of an end, as a process that was stopped between the descriptors of a message and the message would use it.
fn wire_of(end: &Connection<u32>) -> Wire {
    let parcel = pass::encode(end).unwrap();
    let copies = parcel.descriptors.iter().map(|fd| fd.try_clone().unwrap());
    copies.into_iter().find_map(|fd| Wire::from_descriptor(fd).ok()).unwrap()
}

#[test]
fn descriptors_without_their_message_neither_wake_nor_stop_a_receiver() {
    let (a, b) = pipe::<u32>().unwrap();
    let file = tempfile::tempfile().unwrap();
    wire_of(&a).send(1, &[file.as_fd()], multiproc_prim::Deadline::NEVER, &mut || true).unwrap();
    let waiter = thread::spawn(move || {
        let used = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let late = b.recv_timeout(Duration::from_millis(300));
        assert!(matches!(late, Err(RecvError::Timeout)));
        let used = used();
        assert!(used.tv_sec == 0 && used.tv_nsec < 150_000_000, "it went round: {used:?}");
        let mut entry = [PollFd::from_borrowed_fd(b.readiness().unwrap(), PollFlags::IN)];
        assert_eq!(poll(&mut entry, Some(&Timespec::default())).unwrap(), 0, "there is nothing to receive");
        b
    });
    let b = waiter.join().unwrap();
    a.send(&1).unwrap();
    let mut entry = [PollFd::from_borrowed_fd(b.readiness().unwrap(), PollFlags::IN)];
    assert_eq!(poll(&mut entry, Some(&Timespec::default())).unwrap(), 1);
    let waiter = thread::spawn(move || (b.recv(), b.recv()));
    a.send(&2).unwrap();
    assert!(matches!(waiter.join().unwrap(), (Ok(1), Ok(2))));
}

/// Waits until a thread of this process sleeps in the system.
fn until_asleep(thread: i32) {
    let stat = format!("/proc/self/task/{thread}/stat");
    while !std::fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().starts_with(" S") {
        thread::yield_now();
    }
}

#[test]
fn a_sender_that_waits_for_room_in_the_socket_learns_that_the_receiving_half_was_dropped() {
    let (a, b) = pipe::<Descriptor>().unwrap();
    let (_keeps_the_socket, receiver) = b.split();
    let file = tempfile::tempfile().unwrap();
    let copy = move || Descriptor::from(file.as_fd().try_clone_to_owned().unwrap());
    while a.try_send(&copy()).is_ok() {}
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        // SAFETY: asks for a number.
        tell.send((unsafe { libc::gettid() }, None)).unwrap();
        tell.send((0, Some(a.send(&copy())))).unwrap();
    });
    until_asleep(told.recv().unwrap().0);
    drop(receiver);
    let (_, result) = told.recv_timeout(WATCHDOG).expect("it waits for ever");
    assert!(matches!(result, Some(Err(SendError::Disconnected))), "{result:?}");
}

#[test]
fn descriptors_that_nobody_will_receive_are_closed_with_the_receiving_half() {
    let (a, b) = pipe::<Receiver<u8>>().unwrap();
    let (_keeps_the_socket, receiver) = b.split();
    let (on_its_way, sender) = pipe_oneway().unwrap();
    a.send(&on_its_way).unwrap();
    sender.send(&1).unwrap();
    drop(receiver);
    let error = std::iter::repeat_with(|| sender.send_timeout(&2, WATCHDOG)).find_map(Result::err).unwrap();
    assert!(matches!(error, SendError::Disconnected), "{error}");
}

#[test]
fn a_deadline_holds_for_a_receiver_whose_sender_is_fast() {
    const LONG: usize = 64 << 20;
    let (receiver, sender) = pipe_oneway::<()>().unwrap();
    let message = vec![0; LONG];
    let sender = thread::spawn(move || sender.send_bytes(&message));
    let mut calls = 1;
    while let Err(error) = receiver.try_recv_bytes() {
        assert!(matches!(error, RecvError::Empty), "{error}");
        calls += 1;
    }
    // Each call takes what is there, and not what comes meanwhile without end.
    assert!(calls > LONG / (128 << 10), "{calls} calls");
    sender.join().unwrap().unwrap();
}
