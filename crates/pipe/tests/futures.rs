//! Waiting for a pipe in futures.

use futures_util::{FutureExt, SinkExt, StreamExt};
use multiproc_pipe::{Connection, Receiver, RecvError, SendError, Sender, pipe, pipe_oneway};
use multiproc_process::Process;
use multiproc_sync::{Source, wait};
use std::pin::pin;
use std::time::Duration;

/// For waits that must end much sooner.
const WATCHDOG: Duration = Duration::from_secs(60);

fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(WATCHDOG, body).await.expect("it goes on") });
}

fn echo(connection: Connection<Vec<u8>>) {
    while let Ok(message) = connection.recv() {
        connection.send(&message).unwrap();
    }
}

#[test]
fn messages_of_every_length_go_to_another_process_and_back() {
    run(async {
        let (mut ours, theirs) = pipe::<Vec<u8>>().unwrap();
        let process = Process::spawn(echo, theirs).unwrap();
        for length in [0, 1, 100, 16_000, 16_385, 70_000, 3_000_000] {
            let message = vec![length as u8; length];
            ours.send_async(&message).await.unwrap();
            assert!(ours.recv_async().await.unwrap() == message, "{length} bytes");
        }
        drop(ours);
        assert!(process.wait_async().await.unwrap().success());
    });
}

fn send_slowly(sender: Sender<u64>) {
    (0..20_000).for_each(|number| sender.send(&number).unwrap());
}

#[test]
fn a_stream_gives_every_message_and_ends_with_the_sender() {
    run(async {
        let (mut receiver, sender) = pipe_oneway::<u64>().unwrap();
        let process = Process::spawn(send_slowly, sender).unwrap();
        let mut stream = receiver.stream();
        for number in 0..20_000 {
            assert_eq!(stream.next().await, Some(number));
        }
        assert_eq!(stream.next().await, None);
        assert!(matches!(stream.end(), Some(RecvError::Disconnected)));
        assert!(process.wait_async().await.unwrap().success());
    });
}

fn receive_slowly(receiver: Receiver<Vec<u8>>) {
    (0..200).for_each(|number| assert_eq!(receiver.recv().unwrap(), vec![number; 5000]));
}

#[test]
fn a_send_waits_for_room_and_fails_when_the_receiver_is_gone() {
    run(async {
        let (receiver, mut sender) = pipe_oneway::<Vec<u8>>().unwrap();
        let process = Process::spawn(receive_slowly, receiver).unwrap();
        let mut sink = sender.sink();
        for number in 0..200 {
            sink.send(vec![number; 5000]).await.unwrap();
        }
        assert!(process.wait_async().await.unwrap().success());
        let refused = loop {
            if let Err(error) = sender.send_async(&vec![0; 5000]).await {
                break error;
            }
        };
        assert!(matches!(refused, SendError::Disconnected), "{refused:?}");
    });
}

fn sleep(_receiver: Receiver<Vec<u8>>) {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_send_that_waits_for_room_ends_when_the_receiver_is_killed() {
    run(async {
        let (receiver, mut sender) = pipe_oneway::<Vec<u8>>().unwrap();
        let process = Process::spawn(sleep, receiver).unwrap();
        let message = vec![0; 5000];
        while sender.send_async(&message).now_or_never().is_some() {}
        let mut send = pin!(sender.send_async(&message));
        assert!(send.as_mut().now_or_never().is_none(), "it waits");
        process.kill().unwrap();
        assert!(matches!(send.await, Err(SendError::Disconnected)));
        assert_eq!(process.wait_async().await.unwrap().signal(), Some(9));
    });
}

#[test]
fn a_receive_that_is_dropped_loses_no_message() {
    run(async {
        let (mut receiver, sender) = pipe_oneway::<Vec<u8>>().unwrap();
        let sends = std::thread::spawn(move || (0..500u32).for_each(|n| sender.send(&vec![n as u8; 40_000]).unwrap()));
        for number in 0..500u32 {
            let message = loop {
                // Dropped in the middle of a message, as often as not.
                if let Some(done) = receiver.recv_async().now_or_never() {
                    break done;
                }
                tokio::task::yield_now().await;
            };
            assert!(message.unwrap() == vec![number as u8; 40_000]);
        }
        sends.join().unwrap();
    });
}

#[test]
fn a_wait_for_many_sees_messages_and_the_end_of_processes() {
    let (ours, theirs) = pipe::<Vec<u8>>().unwrap();
    let process = Process::spawn(echo, theirs).unwrap();
    let sources: [&dyn Source; 2] = [&ours, &process];
    assert!(wait(&sources, Duration::from_millis(1)).unwrap().is_empty());
    ours.send(&vec![1]).unwrap();
    assert_eq!(wait(&sources, WATCHDOG).unwrap(), [0]);
    assert_eq!(ours.recv().unwrap(), [1]);
    process.kill().unwrap();
    assert_eq!(wait(&[&process], WATCHDOG).unwrap(), [0]);
    assert_eq!(wait(&sources, WATCHDOG).unwrap(), [0, 1]);
}

#[test]
fn futures_of_an_end_go_to_other_threads() {
    fn goes<T: Send>(_: T) {}
    let (mut ours, mut theirs) = pipe::<String>().unwrap();
    goes((ours.send_async("a"), theirs.recv_async()));
}
