//! Requests and replies over pipes: a server process with two clients, one pipe for each.

use multiproc::prelude::*;
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

#[derive(Serialize, Deserialize)]
enum Request {
    Add(i64, i64),
    Divide(i64, i64),
}

/// An error of one request is part of its reply. The connection goes on.
type Reply = Result<i64, String>;

/// Answers one client until it closes its end, or its process dies.
fn serve(client: Connection<Reply, Request>) -> Result<(), Failure> {
    loop {
        let reply = match client.recv() {
            Ok(Request::Add(a, b)) => Ok(a + b),
            Ok(Request::Divide(a, b)) => a.checked_div(b).ok_or(format!("can't divide {a} by {b}")),
            Err(pipe::RecvError::Disconnected) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        client.send(&reply)?;
    }
}

/// Runs in the server process: a thread for each client.
fn server(clients: Vec<Connection<Reply, Request>>) {
    let threads: Vec<_> = clients.into_iter().map(|client| std::thread::spawn(move || serve(client).is_ok())).collect();
    let ended_well = threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|well| *well).count();
    println!("the server served {ended_well} clients");
}

fn main() -> Result<(), Failure> {
    let _main = init();
    // What one end sends the other one receives: requests one way, replies the other.
    let (first, their_first) = Connection::<Request, Reply>::pair()?;
    let (second, their_second) = Connection::<Request, Reply>::pair()?;
    let server = Process::builder().name("server").spawn(server, vec![their_first, their_second])?;
    for (client, request) in [(&first, Request::Add(2, 3)), (&second, Request::Divide(7, 2)), (&second, Request::Divide(1, 0))] {
        client.send(&request)?;
        println!("{:?}", client.recv()?);
    }
    // The server sees both ends closed, and ends.
    drop((first, second));
    server.join()?;
    Ok(())
}
