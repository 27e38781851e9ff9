//! Each promise of pipes once; with a second process where it is about processes.

use multiproc_pipe::{Connection, Receiver, RecvError, RecvIntoError, SendError, Sender, pipe, pipe_oneway};
use multiproc_process::{Exit, Process};
use multiproc_travel::pass::Descriptor;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(60);
const WATCHDOG: Duration = Duration::from_secs(60);

#[test]
fn both_ends_send_and_receive() {
    let (a, b) = pipe::<(i32, String)>().unwrap();
    a.send(&(1, "hello".to_string())).unwrap();
    b.send(&(2, "back".to_string())).unwrap();
    assert_eq!(b.recv().unwrap(), (1, "hello".into()));
    assert_eq!(a.recv().unwrap(), (2, "back".into()));
}

#[test]
fn bytes_of_any_length_pass_whole() {
    let (receiver, sender) = pipe_oneway::<()>().unwrap();
    let lengths = [0, 1, 7, 8, 9, 16_000, 16_384, 16_385, 65_536, 1 << 20, 16 << 20];
    let writer = thread::spawn(move || {
        for len in lengths {
            sender.send_bytes(&(0..len).map(|i| (i * 31 + len) as u8).collect::<Vec<u8>>()).unwrap();
        }
    });
    for len in lengths {
        let got = receiver.recv_bytes().unwrap();
        assert!(got.len() == len && got.iter().enumerate().all(|(i, &byte)| byte == (i * 31 + len) as u8), "{len} bytes");
    }
    writer.join().unwrap();
}

#[test]
fn a_buffer_that_is_too_short_still_gives_the_message() {
    let (a, b) = pipe::<()>().unwrap();
    a.send_bytes(b"hello").unwrap();
    a.send_bytes(b"hi").unwrap();
    let mut buffer = [0; 4];
    let Err(RecvIntoError::TooShort { buffer: 4, message }) = b.recv_bytes_into(&mut buffer) else { panic!("it fitted") };
    assert_eq!(message, b"hello");
    assert_eq!(b.recv_bytes_into(&mut buffer).unwrap(), 2);
    assert_eq!(&buffer[..2], b"hi");
}

#[test]
fn a_buffer_is_filled_at_once_in_time_or_not_at_all() {
    let (a, b) = pipe::<()>().unwrap();
    let mut buffer = [0; 4];
    assert_eq!(b.try_recv_bytes_into(&mut buffer), Err(RecvError::Empty.into()));
    assert_eq!(b.recv_bytes_into_timeout(&mut buffer, SHORT), Err(RecvError::Timeout.into()));
    a.send_bytes(b"one").unwrap();
    assert_eq!(b.try_recv_bytes_into(&mut buffer), Ok(3));
    a.send_bytes(b"four").unwrap();
    assert_eq!(b.recv_bytes_into_timeout(&mut buffer, SHORT), Ok(4));
    assert_eq!(&buffer, b"four");
    drop(a);
    assert_eq!(b.try_recv_bytes_into(&mut buffer), Err(RecvError::Disconnected.into()));
}

#[test]
fn an_error_prints_its_message_when_main_returns_it() {
    let (a, b) = pipe::<u8>().unwrap();
    assert_eq!(format!("{:?}", b.try_recv().unwrap_err()), "RecvError::Empty: no message is there");
    b.close();
    let error = a.send(&1).unwrap_err();
    assert_eq!(format!("{error:?}"), format!("SendError::Disconnected: {error}"));
    assert_ne!(a.try_recv(), Err(RecvError::Empty));
}

#[test]
fn a_message_beyond_the_maximum_is_skipped_and_the_next_one_comes() {
    let (a, b) = pipe::<()>().unwrap();
    let writer = thread::spawn(move || {
        a.send_bytes(&[1; 500_000]).unwrap();
        a.send_bytes(&[2; 10]).unwrap();
        a
    });
    assert!(matches!(b.recv_bytes_max(100, None), Err(RecvError::TooLong { max: 100 })));
    assert_eq!(b.recv_bytes_max(100, None).unwrap(), [2; 10]);
    assert_eq!(b.recv_bytes_max(100, SHORT), Err(RecvError::Timeout));
    drop(writer.join().unwrap());
}

#[test]
fn poll_waits_not_at_all_for_a_while_or_for_ever() {
    let (a, b) = pipe::<u8>().unwrap();
    assert!(!b.poll(Duration::ZERO).unwrap());
    let begin = Instant::now();
    assert!(!b.poll(SHORT).unwrap());
    assert!(begin.elapsed() >= SHORT);
    assert!(matches!(b.try_recv(), Err(RecvError::Empty)));
    assert!(matches!(b.recv_timeout(SHORT), Err(RecvError::Timeout)));
    let writer = thread::spawn(move || {
        a.send(&1).unwrap();
        a
    });
    assert!(b.poll(None).unwrap());
    assert_eq!(b.try_recv().unwrap(), 1);
    drop(writer.join().unwrap());
    assert!(b.poll(Duration::ZERO).unwrap(), "the end is something to receive");
}

#[test]
fn the_end_comes_after_everything_that_was_sent() {
    let (a, b) = pipe::<i32>().unwrap();
    a.send(&1).unwrap();
    drop(a);
    assert_eq!(b.recv().unwrap(), 1);
    assert!(matches!(b.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(b.send(&1), Err(SendError::Disconnected)));
}

#[test]
fn a_message_that_makes_no_value_is_an_error_and_gone() {
    let (a, b) = pipe::<String>().unwrap();
    a.send_bytes(&[200, 1, 2]).unwrap();
    a.send("next").unwrap();
    assert!(matches!(b.recv(), Err(RecvError::Decode(_))));
    assert_eq!(b.recv().unwrap(), "next");
}

#[test]
fn a_time_out_in_the_middle_of_a_message_loses_nothing() {
    let (a, b) = pipe::<Vec<u8>>().unwrap();
    let message = vec![7; 1 << 20];
    let sent = message.clone();
    let writer = thread::spawn(move || a.send(&sent).map(|()| a));
    let got = loop {
        match b.recv_timeout(Duration::from_micros(50)) {
            Err(RecvError::Timeout) => {}
            other => break other.unwrap(),
        }
    };
    assert!(got == message);
    drop(writer.join().unwrap().unwrap());
}

#[test]
fn descriptors_and_connections_travel_in_messages() {
    let (a, b) = pipe::<(Descriptor, Connection<u8>, Vec<Sender<u8>>)>().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    let (ours, theirs) = pipe().unwrap();
    let (receivers, senders): (Vec<_>, Vec<_>) = (0..60).map(|_| pipe_oneway().unwrap()).unzip();
    a.send(&(file.as_fd().try_clone_to_owned().unwrap().into(), theirs, senders)).unwrap();
    let (descriptor, theirs, senders) = b.recv().unwrap();
    std::fs::File::from(OwnedFd::from(descriptor)).write_all(b"x").unwrap();
    file.rewind().unwrap();
    assert_eq!(file.read(&mut [0; 2]).unwrap(), 1);
    theirs.send(&5).unwrap();
    assert_eq!(ours.recv().unwrap(), 5);
    for (i, (sender, receiver)) in senders.iter().zip(&receivers).enumerate() {
        sender.send(&(i as u8)).unwrap();
        assert_eq!(receiver.recv().unwrap(), i as u8);
    }
}

fn readable(connection: &Receiver<u32>) -> bool {
    let mut entry = [PollFd::from_borrowed_fd(connection.readiness().unwrap(), PollFlags::IN)];
    poll(&mut entry, Some(&Timespec::default())).unwrap() == 1
}

#[test]
fn the_descriptor_is_readable_exactly_while_receiving_would_not_wait() {
    let (receiver, sender) = pipe_oneway().unwrap();
    sender.send(&0).unwrap();
    assert!(readable(&receiver), "there was a message before anyone asked");
    assert_eq!(receiver.recv().unwrap(), 0);
    for round in 0..100 {
        assert!(!readable(&receiver));
        sender.send(&round).unwrap();
        sender.send(&round).unwrap();
        assert!(readable(&receiver));
        assert_eq!(receiver.recv().unwrap(), round);
        assert!(readable(&receiver));
        assert_eq!(receiver.recv().unwrap(), round);
    }
    assert!(!readable(&receiver));
    drop(sender);
    assert!(readable(&receiver));
    assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
}

#[test]
fn an_end_is_its_own_descriptor_for_poll() {
    let (receiver, sender) = pipe_oneway::<u32>().unwrap();
    let ready = |end: &Receiver<u32>| poll(&mut [PollFd::new(end, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1;
    assert!(!ready(&receiver));
    sender.send(&1).unwrap();
    assert!(ready(&receiver));
    assert_eq!(receiver.recv(), Ok(1));
    assert!(!ready(&receiver));
    // Without anything to wait for it does not wait, and `epoll` says so.
    let (receiver, _sender) = pipe_oneway::<u32>().unwrap();
    let _moved = receiver.to_descriptor().unwrap();
    assert!(receiver.readiness().is_err() && ready(&receiver));
    let set = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    assert!(epoll::add(&set, &receiver, epoll::EventData::new_u64(0), epoll::EventFlags::IN).is_err());
}

fn send_and_wait(connection: Connection<u32>) {
    connection.send(&1).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_peer_is_the_end_at_once() {
    let (ours, theirs) = pipe().unwrap();
    let process = Process::spawn(send_and_wait, theirs).unwrap();
    assert_eq!(ours.recv_timeout(WATCHDOG).unwrap(), 1);
    let waiter = thread::spawn(move || (ours.recv(), ours.send(&1), ours.try_recv(), ours.poll(None)));
    process.kill().unwrap();
    let killed = Instant::now();
    process.join().unwrap();
    let (received, sent, tried, polled) = waiter.join().unwrap();
    assert!(matches!(received, Err(RecvError::Disconnected)) && matches!(sent, Err(SendError::Disconnected)));
    assert!(matches!(tried, Err(RecvError::Disconnected)) && polled.unwrap());
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
}

#[test]
fn a_sender_that_waits_for_room_learns_of_a_death() {
    let (ours, theirs) = pipe().unwrap();
    let process = Process::spawn(send_and_wait, theirs).unwrap();
    assert_eq!(ours.recv_timeout(WATCHDOG).unwrap(), 1);
    let filler = thread::spawn(move || {
        loop {
            if let Err(error) = ours.send(&1) {
                return error;
            }
        }
    });
    process.kill().unwrap();
    process.join().unwrap();
    assert!(matches!(filler.join().unwrap(), SendError::Disconnected));
}

#[test]
fn once_a_send_has_told_of_a_death_no_later_one_says_that_it_sent() {
    const LONG: [u8; 10_000] = [0; 10_000];
    const SHORT: Duration = Duration::from_micros(300);
    for _ in 0..10 {
        let (ours, theirs) = pipe().unwrap();
        let process = Process::spawn(send_and_wait, theirs).unwrap();
        assert_eq!(ours.recv_timeout(WATCHDOG).unwrap(), 1);
        // Then there is no room for a long one, but for a short one.
        while ours.send_bytes_timeout(&LONG, SHORT).is_ok() {}
        process.kill().unwrap();
        process.join().unwrap();
        let timed_out = |sent: &_| matches!(sent, Err(SendError::Timeout));
        let told = std::iter::repeat_with(|| ours.send_bytes_timeout(&LONG, SHORT)).find(|sent| !timed_out(sent));
        assert!(matches!(told, Some(Err(SendError::Disconnected))));
        assert!(matches!(ours.try_send_bytes(b"x"), Err(SendError::Disconnected)));
    }
}

#[test]
fn rubbish_over_the_stream_is_an_error() {
    let (a, b) = pipe::<u32>().unwrap();
    a.send(&1).unwrap();
    assert_eq!(b.recv().unwrap(), 1);
    // Encoding for a trial shows us the memory, and leaves the end where it is.
    let mut parcel = multiproc_travel::pass::encode(&b).unwrap();
    let descriptors = std::mem::take(&mut parcel.descriptors);
    let segment = descriptors.into_iter().find_map(|fd| multiproc_shm::Segment::attach(fd, multiproc_shm::Kind(*b"PIPE")).ok());
    let segment = segment.unwrap();
    drop(parcel);
    assert!(matches!(b.try_recv(), Err(RecvError::Empty)));
    let words = segment.region().bytes(segment.content_at() + 4096, 2 * (64 << 10)).unwrap();
    // Flags, event counts, positions and records of both ways.
    assert!(words.write(&vec![0x11; words.len()]));
    assert!(matches!(b.recv_timeout(WATCHDOG), Err(RecvError::Corrupt | RecvError::Disconnected)));
    let _ = (a.send(&2), b.try_recv(), a.try_recv(), b.poll(Duration::ZERO));
}

#[test]
fn a_value_that_refuses_is_the_senders_error_and_nothing_is_sent() {
    use serde::{Deserialize, Serialize};
    #[derive(Deserialize)]
    struct Never;
    impl Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let (a, b) = pipe::<Never>().unwrap();
    assert!(matches!(a.send(&Never), Err(SendError::Encode(_))));
    assert!(matches!(b.try_recv(), Err(RecvError::Empty)));
}

fn echo_until_end(connection: Connection<Vec<u8>>) {
    while let Ok(message) = connection.recv() {
        connection.send(&message).unwrap();
    }
}

#[test]
fn messages_of_16_mib_go_to_another_process_and_back() {
    let (ours, theirs) = pipe().unwrap();
    let process = Process::spawn(echo_until_end, theirs).unwrap();
    let message: Vec<u8> = (0..16 << 20).map(|i: u32| (i >> 8) as u8).collect();
    ours.send(&message).unwrap();
    assert!(ours.recv().unwrap() == message);
    drop(ours);
    assert_eq!(process.join().unwrap(), Exit::Code(0));
}

#[test]
fn a_value_beside_an_end_is_compared_and_the_end_stays_if_it_is_refused() {
    fn three() -> Option<u32> {
        Some(3)
    }
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Config {
        #[serde(default = "three", skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    }
    type Message = (Config, Connection<u8>, Sender<u8>, Config);
    let (carrier, far) = pipe::<Message>().unwrap();
    let (a, b) = pipe::<u8>().unwrap();
    let (receiver, sender) = pipe_oneway::<u8>().unwrap();
    let mut message = (Config { limit: Some(1) }, a, sender, Config { limit: None });
    let error = carrier.send(&message).unwrap_err();
    assert!(error.to_string().contains("another value"), "{error}");
    message.1.send(&1).unwrap();
    message.2.send(&2).unwrap();
    message.3.limit = Some(4);
    carrier.send(&message).unwrap();
    let got = far.recv().unwrap();
    assert_eq!((&got.0, &got.3), (&message.0, &message.3));
    got.1.send(&3).unwrap();
    got.2.send(&4).unwrap();
    assert_eq!((b.recv().unwrap(), b.recv().unwrap()), (1, 3));
    assert_eq!((receiver.recv().unwrap(), receiver.recv().unwrap()), (2, 4));
    assert!(message.1.send(&5).is_err(), "the end was moved");
}
