//! The scenarios that run while system calls fail. Each is what a user would write, and its error says what went wrong.

use multiproc::{Exit, JoinableQueue, Process, Queue, SimpleQueue};
use std::time::Duration;

pub(crate) type Scenario = (&'static str, fn() -> Result<(), String>);

/// The last scenario again, with the faults in the process that it starts.
pub(crate) const IN_THE_CHILD: usize = 9;

pub(crate) const SCENARIOS: [Scenario; 10] = [
    ("queue", || {
        let q = Queue::bounded(4).map_err(text)?;
        q.put(1u64).map_err(text)?;
        expect(q.get().map_err(text)?, 1)
    }),
    ("large messages", || {
        let q = Queue::bounded(4).map_err(text)?;
        for len in [100, 5_000, 300_000, 6 << 20] {
            q.put(vec![7u8; len]).map_err(text)?;
            expect(q.get().map_err(text)?.len(), len)?;
        }
        Ok(())
    }),
    ("named queue", || {
        let name = format!("faults-{}", std::process::id());
        let _ = multiproc::remove_queue(&name);
        let q = Queue::builder().bounded(4).named(&name).build().map_err(text)?;
        q.put(1u64).map_err(text)?;
        let done = (|| {
            expect(Queue::<u64>::open(&name).map_err(text)?.get().map_err(text)?, 1)?;
            multiproc::remove_queue(&name).map_err(text)
        })();
        done.inspect_err(|_| drop(multiproc::remove_queue(&name)))
    }),
    ("growing queue", || {
        let q = Queue::unbounded().map_err(text)?;
        for i in 0..2000u64 {
            q.put(i).map_err(text)?;
        }
        for i in 0..2000 {
            expect(q.get_timeout(PATIENCE).map_err(text)?, i)?;
        }
        Ok(())
    }),
    ("waiting", || {
        let q = Queue::<u64>::bounded(1).map_err(text)?;
        let empty = q.get_timeout(SHORT).is_err();
        q.put(1).map_err(text)?;
        let full = q.put_timeout(2, SHORT).is_err();
        if empty && full { Ok(()) } else { Err("a wait found what was not there".into()) }
    }),
    ("joinable queue", || {
        let q = JoinableQueue::bounded(4).map_err(text)?;
        q.put(1u64).map_err(text)?;
        let late = q.join_timeout(SHORT).is_err();
        q.get_delivery().map_err(text)?.give_back();
        q.get_delivery().map_err(text)?.done();
        q.join_timeout(PATIENCE).map_err(text)?;
        if late { Ok(()) } else { Err("joined before it was done".into()) }
    }),
    ("pipe", || {
        let (mut a, b) = multiproc::pipe::<Vec<u8>>().map_err(text)?;
        for len in [10, 200_000] {
            let send = move || a.send(&vec![7; len]).map(|()| a);
            let sender = std::thread::Builder::new().spawn(send).map_err(text)?;
            match b.recv_timeout(PATIENCE) {
                Ok(got) => expect(got.len(), len)?,
                Err(error) => {
                    // Otherwise the sender would wait for a receiver that is still there.
                    drop(b);
                    let _ = sender.join();
                    return Err(text(error));
                }
            }
            a = sender.join().map_err(|_| "the sender panicked".to_owned())?.map_err(text)?;
        }
        let more = b.poll(Duration::from_millis(5)).map_err(text)?;
        drop(a);
        if !more && b.recv().is_err() { Ok(()) } else { Err("a closed pipe gave something".into()) }
    }),
    ("queue through a pipe", || {
        let (a, b) = multiproc::pipe::<Queue<u64>>().map_err(text)?;
        let q = Queue::bounded(4).map_err(text)?;
        q.put(1).map_err(text)?;
        a.send(&q).map_err(text)?;
        expect(b.recv_timeout(PATIENCE).map_err(text)?.get().map_err(text)?, 1)
    }),
    ("process", process),
    ("process, in the child", process),
];

/// Long enough to sleep.
const SHORT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

fn process() -> Result<(), String> {
    let q = SimpleQueue::new().map_err(text)?;
    let process = Process::spawn(put_one, q.clone()).map_err(text)?;
    let exit = process.join_timeout(PATIENCE).map_err(text)?;
    assert!(exit != Some(Exit::Code(101)), "the child panicked");
    if !exit.is_some_and(|exit| exit.success()) {
        let _ = process.kill();
        let _ = process.join();
        return Err(format!("the process did not end well: {exit:?}"));
    }
    expect(q.get().map_err(text)?, 1)
}

fn put_one(q: SimpleQueue<u64>) -> Result<(), String> {
    q.put(1).map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    // A wrong result is worse than any error.
    assert_eq!(found, expected);
    Ok(())
}
