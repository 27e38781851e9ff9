//! Ordinary messages one way between two processes: as a user writes them, with the default codec.
//!
//! Producers make a new value for each message, and consumers read of each of its cache lines, on all sides. So allocating, filling and
//! freeing a value counts for all of them alike. A queue has room for 1,024, or for 4 where a message has 1 MiB, so that memory stays small.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use crate::scenarios::{large, python};
use anyhow::{Result, anyhow, ensure};
use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use multiproc::{Process, Queue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

pub fn all() -> Vec<Scenario> {
    vec![
        moved::<Text>("String of 20", 20, "str 20"),
        moved::<Order>("struct of u64, f64, String, 3 u32", 40, "dict"),
        moved::<Bytes<32>>("Vec<u8> of 32", 32, "bytes 32"),
        moved::<Bytes<100>>("Vec<u8> of 100", 100, "bytes 100"),
        moved::<Bytes<250>>("Vec<u8> of 250", 250, "bytes 250"),
        copied::<Bytes<1_000>, 1_000>("Vec<u8> of 1,000", 0.7, "bytes 1000"),
        copied::<Bytes<4_000>, 4_000>("Vec<u8> of 4,000", 0.7, "bytes 4000"),
        copied::<Bytes<16_000>, 16_000>("Vec<u8> of 16,000", 0.7, "bytes 16000"),
        copied::<Bytes<MIB>, MIB>("Vec<u8> of 1 MiB, room for 4", 0.7, "bytes 1048576"),
        copied::<Floats, 8_000>("Vec<f64> of 1,000", 0.7, "bytes 8000"),
        copied::<Numbers, 8_000>("Vec<u64> of 1,000", 0.7, "bytes 8000"),
        copied::<Picture, 16_008>("struct of u64, Vec<u8> of 16,000", 0.5, "bytes 16000"),
    ]
}

const MIB: usize = 1 << 20;

/// So many messages of this many bytes take some tenths of a second.
const fn some(size: usize) -> u64 {
    600_000_000 / (size as u64 + 600)
}

fn moved<M: Message>(name: &'static str, size: usize, python: &'static str) -> Scenario {
    let threads = Peer::new("crossbeam-channel (threads)", some(size), crossbeam::<M>, 0.9);
    row::<M>(name, some(size), threads, python)
}

fn copied<M: Message, const SIZE: usize>(name: &'static str, target: f64, python: &'static str) -> Scenario {
    let limit = Peer::new("new values copied in and out", some(SIZE), large::limit::<large::Copied<SIZE, true>>, target);
    row::<M>(name, some(SIZE), limit, python)
}

/// A message beside its first peer and those that a user would pick instead. They are ten and thirty times as slow: fewer messages.
fn row<M: Message>(name: &'static str, operations: u64, first: Peer, message: &'static str) -> Scenario {
    let ipc = Peer::new("ipc-channel", (operations / 10).max(200), ipc_channel::<M>, 5.0).seldom();
    let mut peers = vec![first, ipc];
    peers.extend(python::peer("Queue", message, (operations / 30).max(200), 15.0));
    Scenario::timed(name, operations, queue::<M>, peers)
}

/// A kind of message, and how to make the values and to know them again.
pub trait Message: 'static {
    type Value: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// So many can wait.
    const ROOM: u32 = 1024;

    /// The value of message `i`.
    fn make(i: u64) -> Self::Value;

    /// Whether this is the value of message `i`. Reads of each cache line.
    fn is(value: &Self::Value, i: u64) -> bool;
}

pub struct Word;

impl Message for Word {
    type Value = u64;

    fn make(i: u64) -> u64 {
        i
    }

    fn is(value: &u64, i: u64) -> bool {
        *value == i
    }
}

pub struct Bytes<const SIZE: usize>;

impl<const SIZE: usize> Message for Bytes<SIZE> {
    type Value = Vec<u8>;

    const ROOM: u32 = if SIZE < MIB { 1024 } else { 4 };

    fn make(i: u64) -> Vec<u8> {
        vec![byte(i); SIZE]
    }

    fn is(value: &Vec<u8>, i: u64) -> bool {
        value.len() == SIZE && lines_are(value, byte(i))
    }
}

/// What the bytes of message `i` are. Zeroed memory may come from the allocator in a way of its own.
pub fn byte(i: u64) -> u8 {
    i as u8 | 1
}

/// Whether the first value in each cache line is this, and the last one.
pub fn lines_are<T: PartialEq>(values: &[T], expected: T) -> bool {
    values.iter().step_by(64 / size_of::<T>()).chain(values.last()).all(|value| *value == expected)
}

struct Floats;

impl Message for Floats {
    type Value = Vec<f64>;

    fn make(i: u64) -> Vec<f64> {
        vec![i as f64 + 0.5; 1000]
    }

    fn is(value: &Vec<f64>, i: u64) -> bool {
        value.len() == 1000 && lines_are(value, i as f64 + 0.5)
    }
}

struct Numbers;

impl Message for Numbers {
    type Value = Vec<u64>;

    fn make(i: u64) -> Vec<u64> {
        vec![i + 1; 1000]
    }

    fn is(value: &Vec<u64>, i: u64) -> bool {
        value.len() == 1000 && lines_are(value, i + 1)
    }
}

const TEXTS: [&str; 2] = ["twenty small letters", "another message text"];

struct Text;

impl Message for Text {
    type Value = String;

    fn make(i: u64) -> String {
        TEXTS[i as usize % 2].to_owned()
    }

    fn is(value: &String, i: u64) -> bool {
        value == TEXTS[i as usize % 2]
    }
}

const ARTICLES: [&str; 2] = ["a lamp", "chair"];

#[derive(Serialize, Deserialize)]
struct Order {
    number: u64,
    price: f64,
    article: String,
    parts: u32,
    shelf: u32,
    customer: u32,
}

impl Message for Order {
    type Value = Self;

    fn make(i: u64) -> Self {
        let article = ARTICLES[i as usize % 2].to_owned();
        Self { number: i, price: i as f64 * 0.25, article, parts: i as u32, shelf: 7, customer: !(i as u32) }
    }

    fn is(value: &Self, i: u64) -> bool {
        let Self { number, price, article, parts, shelf, customer } = value;
        let numbers = (*number, *price, *parts, *shelf, *customer) == (i, i as f64 * 0.25, i as u32, 7, !(i as u32));
        numbers && article == ARTICLES[i as usize % 2]
    }
}

#[derive(Serialize, Deserialize)]
struct Picture {
    number: u64,
    pixels: Vec<u8>,
}

impl Message for Picture {
    type Value = Self;

    fn make(i: u64) -> Self {
        Self { number: i, pixels: Bytes::<16_000>::make(i) }
    }

    fn is(value: &Self, i: u64) -> bool {
        value.number == i && Bytes::<16_000>::is(&value.pixels, i)
    }
}

fn put<M: Message>((q, n): (Queue<M::Value>, u64)) {
    pin(1);
    (0..n).for_each(|i| q.put(M::make(i)).unwrap());
}

pub fn queue<M: Message>(n: u64) -> Result<f64> {
    through::<M>(&Queue::bounded(M::ROOM)?, n)
}

/// Seconds per message that another process puts into this queue.
pub fn through<M: Message>(q: &Queue<M::Value>, n: u64) -> Result<f64> {
    let process = Process::spawn(put::<M>, (q.clone(), n + 1))?;
    let cost = receive::<M>(n, || Ok(q.get()?));
    process.join()?;
    cost
}

/// Seconds per message. The first one starts the clock.
pub fn receive<M: Message>(n: u64, mut get: impl FnMut() -> Result<M::Value>) -> Result<f64> {
    pin(0);
    let mut check = |i| -> Result<()> {
        ensure!(M::is(&black_box(get()?), i), "another value came than message {i}");
        Ok(())
    };
    check(0)?;
    let cost = per_operation(n, || (1..=n).try_for_each(check));
    unpin();
    cost
}

pub fn crossbeam<M: Message>(n: u64) -> Result<f64> {
    let (sender, receiver) = crossbeam_channel::bounded(M::ROOM as usize);
    between_threads::<M>(n, move |value| sender.send(value).unwrap(), move || Ok(receiver.recv()?))
}

/// Seconds per message between two threads of this process.
pub fn between_threads<M: Message>(
    n: u64,
    send: impl Fn(M::Value) + Send,
    receive_one: impl FnMut() -> Result<M::Value>,
) -> Result<f64> {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            (0..=n).for_each(|i| send(M::make(i)));
        });
        receive::<M>(n, receive_one)
    })
}

fn ipc_send<M: Message>((name, n): (String, u64)) {
    pin(1);
    let (sender, receiver) = ipc::channel::<M::Value>().unwrap();
    IpcSender::connect(name).unwrap().send(receiver).unwrap();
    (0..n).for_each(|i| sender.send(M::make(i)).unwrap());
}

pub fn ipc_channel<M: Message>(n: u64) -> Result<f64> {
    let (server, name) = IpcOneShotServer::<IpcReceiver<M::Value>>::new()?;
    let process = Process::spawn(ipc_send::<M>, (name, n + 1))?;
    let (_, receiver) = server.accept().map_err(|error| anyhow!("{error:?}"))?;
    let cost = receive::<M>(n, || receiver.recv().map_err(|error| anyhow!("{error:?}")));
    process.join()?;
    cost
}
