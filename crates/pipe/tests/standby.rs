//! Stand-bys of ends, with real processes, which die.

use multiproc_pipe::{Connection, Receiver, SendError, Sender, Standby, StandbyError, pipe, pipe_oneway};
use multiproc_process::{Exit, Process};
use std::thread;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(60);

fn serve_one_then_wait(server: Connection<u32>) {
    server.send(&(server.recv().unwrap() + 100)).unwrap();
    loop {
        thread::park();
    }
}

fn succeed((standby, ready): (Standby<Connection<u32>>, Connection<u32>)) {
    assert!(matches!(standby.try_take_over(), Err(StandbyError::InUse)));
    ready.send(&1).unwrap();
    let server = standby.take_over().unwrap();
    assert!(matches!(standby.take_over(), Err(StandbyError::Moved)));
    while let Ok(request) = server.recv() {
        server.send(&(request + 200)).unwrap();
    }
}

#[test]
fn a_stand_by_takes_over_from_a_server_that_was_killed_and_its_client_stays_connected() {
    let (client, server) = pipe::<u32>().unwrap();
    let standby = server.standby().unwrap();
    let (ready, its_ready) = pipe().unwrap();
    let new = Process::spawn(succeed, (standby, its_ready)).unwrap();
    assert_eq!(ready.recv_timeout(WATCHDOG).unwrap(), 1);
    // The stand-by waits while the end is on its way, and while its user is not using it.
    let old = Process::spawn(serve_one_then_wait, server).unwrap();
    client.send(&1).unwrap();
    assert_eq!(client.recv_timeout(WATCHDOG).unwrap(), 101);
    client.send(&2).unwrap();
    client.send(&3).unwrap();
    old.kill().unwrap();
    let killed = Instant::now();
    assert_eq!(client.recv_timeout(WATCHDOG).unwrap(), 202);
    assert!(killed.elapsed() < Duration::from_millis(200), "{:?}", killed.elapsed());
    assert_eq!(client.recv_timeout(WATCHDOG).unwrap(), 203);
    old.join().unwrap();
    drop(client);
    assert_eq!(new.join_timeout(WATCHDOG).unwrap(), Some(Exit::Code(0)));
}

#[test]
fn a_stand_by_takes_over_an_end_that_was_dropped_and_without_one_it_is_closed() {
    let (receiver, sender) = pipe_oneway::<u32>().unwrap();
    sender.send(&1).unwrap();
    let standby: Standby<Receiver<u32>> = receiver.standby().unwrap();
    assert!(matches!(receiver.standby(), Err(StandbyError::Taken)));
    assert!(matches!(standby.take_over_timeout(SHORT), Err(StandbyError::InUse)));
    assert_eq!(receiver.recv().unwrap(), 1);
    drop(receiver);
    sender.send(&2).unwrap();
    let receiver = standby.try_take_over().unwrap();
    assert_eq!(receiver.recv().unwrap(), 2);
    // Again, with a stand-by that moves; then without any.
    let standby = receiver.standby().unwrap();
    let (carrier, far) = pipe::<Standby<Receiver<u32>>>().unwrap();
    carrier.send(&standby).unwrap();
    assert!(matches!(standby.try_take_over(), Err(StandbyError::Moved)));
    drop(receiver);
    sender.send(&3).unwrap();
    let receiver = far.recv().unwrap().take_over().unwrap();
    assert_eq!(receiver.recv().unwrap(), 3);
    drop(receiver.standby().unwrap());
    drop(receiver);
    assert!(matches!(sender.send(&4), Err(SendError::Disconnected)));
}

fn answer_requests(server: Connection<(u32, Sender<u32>)>) {
    let (_, first) = server.recv().unwrap();
    first.send(&1).unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn requests_with_ends_inside_wait_for_the_successor() {
    let (client, server) = pipe::<(u32, Sender<u32>)>().unwrap();
    let standby = server.standby().unwrap();
    let old = Process::spawn(answer_requests, server).unwrap();
    let (receivers, senders): (Vec<Receiver<u32>>, Vec<_>) = (0..3).map(|_| pipe_oneway().unwrap()).unzip();
    for (number, sender) in senders.into_iter().enumerate() {
        client.send(&(number as u32, sender)).unwrap();
    }
    assert_eq!(receivers[0].recv_timeout(WATCHDOG).unwrap(), 1);
    old.kill().unwrap();
    let server = standby.take_over_timeout(WATCHDOG).unwrap();
    for expected in 1..3 {
        let (number, sender) = server.recv().unwrap();
        assert_eq!(number, expected);
        sender.send(&number).unwrap();
        assert_eq!(receivers[number as usize].recv().unwrap(), number);
    }
    old.join().unwrap();
}
