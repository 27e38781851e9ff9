//! What a user would pick instead, by the size of a message: two processes, bytes one way.

use crate::measure::{per_operation, pin, unpin};
use crate::scenarios::python;
use anyhow::{Result, anyhow, ensure};
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcOneShotServer, IpcSender};
use multiproc::{Descriptor, Process};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

/// Seconds per message of so many bytes, over so many messages.
pub type Side = fn(usize, u64) -> Result<f64>;

pub fn peers() -> Vec<(&'static str, Side)> {
    let mut peers: Vec<(&'static str, Side)> = vec![("Unix socket", unix_socket), ("ipc-channel", ipc_channel)];
    if python::is_here("Queue") {
        peers.push(("Python’s Queue", |size, n| python::cost("Queue", &format!("bytes {size}"), n)));
        peers.push(("Python’s Pipe", |size, n| python::cost("Pipe", &format!("bytes {size}"), n)));
    }
    peers
}

fn socket_send((socket, size, n): (Descriptor, usize, u64)) {
    pin(1);
    let mut socket = UnixStream::from(OwnedFd::from(socket));
    let mut message = (size as u64).to_le_bytes().to_vec();
    message.resize(8 + size, 7);
    for _ in 0..n {
        socket.write_all(&message).unwrap();
    }
}

/// A length and so many bytes, as a user of a stream would frame a message.
fn unix_socket(size: usize, n: u64) -> Result<f64> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let process = Process::spawn(socket_send, (Descriptor::from(OwnedFd::from(theirs)), size, n + 1))?;
    pin(0);
    let mut buffer = vec![0; size];
    let mut receive = || -> Result<()> {
        let mut length = [0; 8];
        ours.read_exact(&mut length)?;
        ensure!(u64::from_le_bytes(length) == size as u64, "a message of another length");
        Ok(ours.read_exact(&mut buffer)?)
    };
    receive()?;
    let cost = per_operation(n, || (0..n).try_for_each(|_| receive()));
    unpin();
    process.join()?;
    cost
}

fn ipc_send((name, size, n): (String, usize, u64)) {
    pin(1);
    let (sender, receiver) = ipc::bytes_channel().unwrap();
    IpcSender::connect(name).unwrap().send(receiver).unwrap();
    let message = vec![7; size];
    for _ in 0..n {
        sender.send(&message).unwrap();
    }
}

fn ipc_channel(size: usize, n: u64) -> Result<f64> {
    let (server, name) = IpcOneShotServer::<IpcBytesReceiver>::new()?;
    let process = Process::spawn(ipc_send, (name, size, n + 1))?;
    let (_, receiver) = server.accept().map_err(|error| anyhow!("{error:?}"))?;
    pin(0);
    let receive = || -> Result<()> {
        let message = receiver.recv().map_err(|error| anyhow!("{error:?}"))?;
        ensure!(message.len() == size, "a message of another length");
        Ok(())
    };
    receive()?;
    let cost = per_operation(n, || (0..n).try_for_each(|_| receive()));
    unpin();
    process.join()?;
    cost
}
