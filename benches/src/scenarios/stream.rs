//! Small messages one way: a typed, blocking queue or pipe between two processes.

use crate::measure::{Peer, Scenario, per_operation, pin, unpin};
use anyhow::Result;
use ipc_channel::ipc::{IpcOneShotServer, IpcSender};
use multiproc::{Process, Queue, Sender, pipe_oneway};
use std::process::Command;

pub fn all() -> Vec<Scenario> {
    let peer = |name, operations, side, target| Peer { name, operations, side, target, limit: false };
    let mut queue_peers = vec![
        peer("crossbeam-channel (threads)", 3_000_000, crossbeam as fn(u64) -> Result<f64>, 0.5),
        peer("kanal (threads)", 3_000_000, kanal_threads, 0.5),
        peer("iceoryx2 (busy-polling)", 1_000_000, iceoryx, 5.0),
        peer("ipc-channel", 300_000, ipc_channel_u64, 30.0),
    ];
    let mut pipe_peers = vec![peer("ipc-channel", 300_000, ipc_channel_u64 as fn(u64) -> Result<f64>, 50.0)];
    if python_has("multiprocessing") {
        queue_peers.push(peer("CPython mp.Queue", 100_000, |n| python("Queue", n), 60.0));
        pipe_peers.push(peer("CPython Pipe", 100_000, |n| python("Pipe", n), 80.0));
    } else {
        println!("python3 is not here: CPython is not measured");
    }
    if python_has("faster_fifo") {
        queue_peers.push(peer("faster-fifo, one by one", 100_000, |n| python("faster_fifo", n), 60.0));
    } else {
        println!("python3's faster_fifo is not here, and not measured");
    }
    vec![
        Scenario::timed("Queue<u64> bounded(1024), 2 processes", 3_000_000, queue_u64, queue_peers),
        Scenario::timed("Pipe, 8 bytes, 2 processes", 5_000_000, pipe_u64, pipe_peers),
    ]
}

/// Whether python3 is here and has a module.
pub fn python_has(module: &str) -> bool {
    let output = Command::new("python3").args(["-c", &format!("import {module}")]).output();
    output.is_ok_and(|output| output.status.success())
}

fn put_numbers((q, n): (Queue<u64>, u64)) {
    pin(1);
    for i in 0..n {
        q.put(i).unwrap();
    }
}

fn queue_u64(n: u64) -> Result<f64> {
    numbers_through(&Queue::bounded(1024)?, n)
}

/// Seconds per number that comes from another process. The first one starts the clock.
pub fn numbers_through(q: &Queue<u64>, n: u64) -> Result<f64> {
    let process = Process::spawn(put_numbers, (q.clone(), n + 1))?;
    pin(0);
    assert_eq!(q.get()?, 0);
    let result = per_operation(n, || {
        for i in 1..=n {
            assert_eq!(q.get()?, i);
        }
        Ok(())
    });
    unpin();
    process.join()?;
    result
}

fn send_numbers((sender, n): (Sender<u64>, u64)) {
    pin(1);
    for i in 0..n {
        sender.send_bytes(&i.to_le_bytes()).unwrap();
    }
}

fn pipe_u64(n: u64) -> Result<f64> {
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

fn crossbeam(n: u64) -> Result<f64> {
    let (sender, receiver) = crossbeam_channel::bounded(1024);
    threads(n, move |i| sender.send(i).unwrap(), move || receiver.recv().unwrap())
}

fn kanal_threads(n: u64) -> Result<f64> {
    let (sender, receiver) = kanal::bounded(1024);
    threads(n, move |i| sender.send(i).unwrap(), move || receiver.recv().unwrap())
}

fn threads(n: u64, send: impl Fn(u64) + Send, recv: impl Fn() -> u64) -> Result<f64> {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            (0..n).for_each(send);
        });
        pin(0);
        let result = per_operation(n, || {
            (0..n).for_each(|i| assert_eq!(recv(), i));
            Ok(())
        });
        unpin();
        result
    })
}

fn ipc_send((name, n): (String, u64)) {
    pin(1);
    let (sender, receiver) = ipc_channel::ipc::channel::<u64>().unwrap();
    IpcSender::connect(name).unwrap().send(receiver).unwrap();
    for i in 0..n {
        sender.send(i).unwrap();
    }
}

fn ipc_channel_u64(n: u64) -> Result<f64> {
    let (server, name) = IpcOneShotServer::<ipc_channel::ipc::IpcReceiver<u64>>::new()?;
    let process = Process::spawn(ipc_send, (name, n))?;
    let (_, receiver) = server.accept().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    pin(0);
    receiver.recv().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    let result = per_operation(n - 1, || {
        for i in 1..n {
            assert_eq!(receiver.recv().map_err(|error| anyhow::anyhow!("{error:?}"))?, i);
        }
        Ok(())
    });
    unpin();
    process.join()?;
    result
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
            assert_eq!(receive()?, i);
        }
        Ok(())
    });
    unpin();
    process.join()?;
    result
}

/// Seconds per message of a queue for Python, measured by itself.
fn python(what: &str, n: u64) -> Result<f64> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/queues.py");
    let output = Command::new("python3").args([script, what, &n.to_string()]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
