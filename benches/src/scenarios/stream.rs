//! The smallest messages one way, a number each: a typed, blocking queue or pipe between two processes.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use crate::scenarios::message::{Word, between_threads, crossbeam, ipc_channel, queue, receive};
use crate::scenarios::python;
use anyhow::{Result, ensure};
use multiproc::pipe::Sender;
use multiproc::{JoinableQueue, Process, Queue, pipe_oneway};

pub fn all() -> Vec<Scenario> {
    let mut queue_peers = vec![
        Peer::new("crossbeam-channel (threads)", 3_000_000, crossbeam::<Word>, 0.5),
        Peer::new("kanal (threads)", 3_000_000, kanal, 0.5),
        Peer::new("iceoryx2 (busy-polling)", 1_000_000, iceoryx, 5.0),
        Peer::new("ipc-channel", 300_000, ipc_channel::<Word>, 30.0),
    ];
    queue_peers.extend(python::peer("Queue", "int", 100_000, 60.0));
    queue_peers.extend(python::peer("faster_fifo", "int", 100_000, 60.0));
    let mut pipe_peers = vec![Peer::new("ipc-channel", 300_000, ipc_channel::<Word>, 50.0)];
    pipe_peers.extend(python::peer("Pipe", "int", 100_000, 80.0));
    let queue_alone = Peer::limit("Queue<u64>, get", 3_000_000, queue::<Word>, 2.0);
    let one_by_one = Peer::new("one by one", 3_000_000, queue::<Word>, 3.0);
    vec![
        Scenario::timed("Queue<u64> bounded(1024), 2 processes", 3_000_000, queue::<Word>, queue_peers),
        Scenario::timed("Pipe, 8 bytes, 2 processes", 5_000_000, pipe, pipe_peers),
        Scenario::timed("JoinableQueue<u64>, get and task_done", 1_000_000, joinable, [queue_alone]),
        Scenario::timed("put_many(32), get_many(32) of u64", 3_000_000, batches, [one_by_one]),
    ]
}

fn put_jobs((q, n): (JoinableQueue<u64>, u64)) {
    pin(1);
    (0..n).for_each(|i| q.put(i).unwrap());
}

fn joinable(n: u64) -> Result<f64> {
    let q = JoinableQueue::bounded(1024)?;
    let process = Process::spawn(put_jobs, (q.clone(), n + 1))?;
    let cost = receive::<Word>(n, || {
        let value = q.get()?;
        q.task_done()?;
        Ok(value)
    });
    process.join()?;
    cost
}

const BATCH: u64 = 32;

fn put_batches((q, n): (Queue<u64>, u64)) {
    pin(1);
    (0..n).step_by(BATCH as usize).for_each(|first| _ = q.put_many(first..first + BATCH).unwrap());
}

fn batches(n: u64) -> Result<f64> {
    let q = Queue::bounded(1024)?;
    // The last batch may be longer than what is got.
    let process = Process::spawn(put_batches, (q.clone(), n + BATCH))?;
    let mut got = Vec::new().into_iter();
    let cost = receive::<Word>(n, || {
        loop {
            match got.next() {
                Some(value) => return Ok(value),
                None => got = q.get_many(BATCH as usize)?.into_iter(),
            }
        }
    });
    process.join()?;
    cost
}

fn send_numbers((sender, n): (Sender<u64>, u64)) {
    pin(1);
    for i in 0..n {
        sender.send_bytes(&i.to_le_bytes()).unwrap();
    }
}

fn pipe(n: u64) -> Result<f64> {
    let (receiver, sender) = pipe_oneway()?;
    let process = Process::spawn(send_numbers, (sender, n))?;
    pin(0);
    receiver.recv_bytes()?;
    let mut buffer = [0; 8];
    let result = per_operation(n - 1, || {
        for i in 1..n {
            receiver.recv_bytes_into(&mut buffer)?;
            assert_eq!(u64::from_le_bytes(buffer), i);
        }
        Ok(())
    });
    unpin();
    process.join()?;
    result
}

fn kanal(n: u64) -> Result<f64> {
    let (sender, receiver) = kanal::bounded(1024);
    between_threads::<Word>(n, move |i| sender.send(i).unwrap(), move || Ok(receiver.recv()?))
}

fn iceoryx_send((name, n): (String, u64)) {
    use iceoryx2::prelude::*;
    pin(1);
    let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
    let service = node.service_builder(&name.as_str().try_into().unwrap()).publish_subscribe::<u64>();
    let service = service.enable_safe_overflow(false).subscriber_max_buffer_size(1024).open_or_create().unwrap();
    let publisher = service.publisher_builder().backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
    let publisher = publisher.max_loaned_samples(2).create().unwrap();
    for i in 0..n {
        publisher.loan_uninit().unwrap().write_payload(i).send().unwrap();
    }
    // What was not received is gone once its publisher is dropped.
    std::thread::sleep(std::time::Duration::from_millis(300));
}

fn iceoryx(n: u64) -> Result<f64> {
    use iceoryx2::prelude::*;
    static ROUND: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let round = ROUND.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("multiproc-bench-{}-{round}", std::process::id());
    let node = NodeBuilder::new().create::<ipc::Service>()?;
    let service = node.service_builder(&name.as_str().try_into()?).publish_subscribe::<u64>();
    let service = service.enable_safe_overflow(false).subscriber_max_buffer_size(1024).open_or_create()?;
    let subscriber = service.subscriber_builder().buffer_size(1024).create()?;
    let process = Process::spawn(iceoryx_send, (name, n))?;
    pin(0);
    let receive = || -> Result<u64> {
        loop {
            if let Some(sample) = subscriber.receive()? {
                return Ok(*sample);
            }
            std::hint::spin_loop();
        }
    };
    receive()?;
    let result = per_operation(n - 1, || {
        for i in 1..n {
            let got = receive()?;
            // It does so on a busy machine.
            ensure!(got == i, "message {got} came in place of {i}");
        }
        Ok(())
    });
    unpin();
    if result.is_err() {
        process.kill()?;
    }
    process.join()?;
    result
}
