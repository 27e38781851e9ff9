//! A server that is replaced while its clients stay connected, and clients that die.
//!
//! The successor has a stand-by of each client's end. It takes over when the first server is gone, here by SIGKILL.

use multiproc::prelude::*;
use std::thread;

type Failure = Box<dyn std::error::Error>;
/// A server's end: it sends replies and receives requests.
type End = Connection<String, u64>;

/// Answers one client until it is gone. A reply that can't be sent any more is no failure of the server's.
fn serve(client: &End) {
    while let Ok(request) = client.recv() {
        let reply = format!("{} says {}", current_process().name(), request * 2);
        if client.send(&reply).is_err() {
            break;
        }
    }
}

fn server(clients: Vec<End>) {
    thread::scope(|scope| clients.into_iter().for_each(|client| drop(scope.spawn(move || serve(&client)))));
}

fn successor(standbys: Vec<Standby<End>>) {
    let take_over = |standby: Standby<End>| standby.take_over().map(|client| serve(&client));
    thread::scope(|scope| standbys.into_iter().for_each(|standby| drop(scope.spawn(move || take_over(standby)))));
}

/// Asks once, and dies before it reads the reply.
fn die(end: Connection<u64, String>) -> Result<(), Failure> {
    end.send(&1)?;
    std::process::abort()
}

fn main() -> Result<(), Failure> {
    let _main = init();
    let (client, its_server) = Connection::<u64, String>::pair()?;
    let (dying, its_server_too) = Connection::<u64, String>::pair()?;
    let ends = vec![its_server, its_server_too];
    let standbys = ends.iter().map(Connection::standby).collect::<Result<Vec<_>, _>>()?;
    let second = Process::builder().name("the second server").spawn(successor, standbys)?;
    let first = Process::builder().name("the first server").spawn(server, ends)?;
    let dead = Process::spawn(die, dying)?;

    client.send(&20)?;
    println!("{}", client.recv()?);
    println!("a client ended with {}", dead.join()?);
    first.kill()?;
    // This request waits in the pipe until the successor takes over.
    client.send(&21)?;
    println!("{}", client.recv()?);
    drop(client);
    println!("{} ended with {}", second.name(), second.join()?);
    first.join()?;
    Ok(())
}
