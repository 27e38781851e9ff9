//! Ends that go to processes which the user starts, in a descriptor.

use multiproc_pipe::{Connection, DescriptorError, Receiver, RecvError, SendError, Sender, pipe, pipe_oneway};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);
/// Set in a process that a test has started.
const STARTED: &str = "MULTIPROC_PIPE_TEST_CHILD";

/// Starts this program again with `descriptor` as its standard input; there it runs `the_started_process`.
fn start(descriptor: OwnedFd) -> Child {
    let arguments = ["--exact", "the_started_process", "--nocapture"];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments).env(STARTED, "1").stdin(Stdio::from(descriptor)).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn the_started_process() {
    if std::env::var_os(STARTED).is_some() {
        let end = Connection::<u32, String>::from_descriptor(std::io::stdin()).unwrap();
        while let Ok(text) = end.recv() {
            end.send(&text.parse().unwrap()).unwrap();
        }
    }
}

#[test]
fn an_end_goes_to_a_command_of_ones_own_and_its_death_is_the_end_at_once() {
    let (ours, theirs) = Connection::<String, u32>::pair().unwrap();
    ours.send("1").unwrap();
    let mut child = start(theirs.to_descriptor().unwrap());
    assert_eq!(theirs.send(&9), Err(SendError::Moved));
    assert_eq!(ours.recv_timeout(WATCHDOG), Ok(1));
    ours.send("2").unwrap();
    assert_eq!(ours.recv_timeout(WATCHDOG), Ok(2));
    child.kill().unwrap();
    let killed = Instant::now();
    assert_eq!(ours.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
    child.wait().unwrap();
}

#[test]
fn a_command_that_never_takes_the_end_out_closes_it_when_it_ends() {
    let (ours, theirs) = pipe::<u32>().unwrap();
    let mut child = Command::new("true").stdin(Stdio::from(theirs.to_descriptor().unwrap())).spawn().unwrap();
    assert_eq!(ours.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_descriptor_gives_its_end_once_and_only_as_what_it_is() {
    let (ours, theirs) = Connection::<String, u32>::pair().unwrap();
    let descriptor = theirs.to_descriptor().unwrap();
    let error = Connection::<u64, String>::from_descriptor(&descriptor).unwrap_err();
    assert!(matches!(&error, DescriptorError::OtherTypes { found, .. } if found == "Connection<u32, String>"), "{error}");
    let error = Receiver::<(u32, String)>::from_descriptor(&descriptor).unwrap_err();
    assert!(matches!(error, DescriptorError::Decode(_)), "{error}");
    let end = Connection::<u32, String>::from_descriptor(&descriptor).unwrap();
    let again = Connection::<u32, String>::from_descriptor(&descriptor).map(drop);
    assert_eq!(again, Err(DescriptorError::Nothing));
    drop(descriptor);
    ours.send("hello").unwrap();
    assert_eq!(end.recv().unwrap(), "hello");
    end.send(&5).unwrap();
    assert_eq!(ours.recv(), Ok(5));
    let no_end = Sender::<u32>::from_descriptor(File::open("/dev/null").unwrap()).map(drop);
    assert_eq!(no_end, Err(DescriptorError::Nothing));
}

#[test]
fn an_end_that_can_not_leave_is_still_here() {
    let (a, b) = pipe::<u32>().unwrap();
    let (sender, receiver) = a.split();
    assert!(matches!(sender.to_descriptor(), Err(DescriptorError::Encode(_))));
    sender.send(&1).unwrap();
    assert_eq!(b.recv(), Ok(1));
    drop((sender, receiver));
    // An end that left before.
    let (receiver, _sender) = pipe_oneway::<u32>().unwrap();
    drop(receiver.to_descriptor().unwrap());
    assert!(matches!(receiver.to_descriptor(), Err(DescriptorError::Encode(_))));
}

#[test]
fn dropping_a_descriptor_closes_the_end_inside() {
    let (receiver, sender) = pipe_oneway::<u32>().unwrap();
    let descriptor = sender.to_descriptor().unwrap();
    assert_eq!(receiver.try_recv(), Err(RecvError::Empty));
    drop(descriptor);
    assert_eq!(receiver.recv_timeout(WATCHDOG), Err(RecvError::Disconnected));
}

#[test]
fn the_part_of_a_message_that_has_come_goes_along_however_long_it_is() {
    let (a, b) = pipe::<Vec<u8>>().unwrap();
    let message: Vec<u8> = (0..8 << 20).map(|i: u32| (i >> 2) as u8).collect();
    let sent = message.clone();
    let sender = thread::spawn(move || a.send(&sent));
    // What the stream holds at most is taken by each of these calls.
    for _ in 0..100 {
        assert!(b.poll(WATCHDOG).unwrap());
        assert_eq!(b.try_recv(), Err(RecvError::Empty));
    }
    let descriptor = b.to_descriptor().unwrap();
    let end = Connection::<Vec<u8>>::from_descriptor(&descriptor).unwrap();
    assert!(end.recv().unwrap() == message);
    sender.join().unwrap().unwrap();
}
