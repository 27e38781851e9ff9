//! The best check of all: queues, a pipe and a process are made and used.

use super::Finding;
use super::Mark::{Bad, Ok as Good};
use multiproc::{Process, Queue, pipe, remove_queue};
use std::time::Duration;

pub(super) fn findings() -> Vec<Finding> {
    vec![
        finding(
            "queue",
            "a queue without a name was made, filled and emptied",
            "processes of one program can share queues",
            queue(),
        ),
        finding(
            "named queue",
            "a queue with a name was made, used and removed",
            "programs and terminals can share queues",
            named(),
        ),
        finding("pipe", "a message went through", "two processes can talk directly", talk()),
        finding("process", "a child started, put a message and ended", "programs can start processes of their own", child()),
    ]
}

fn finding(check: &'static str, found: &str, means: &str, trial: Result<(), String>) -> Finding {
    match trial {
        Ok(()) => Finding::new(check, Good, found, means, ""),
        Err(why) => Finding::new(check, Bad, why, "it does not work here", "what is marked above; if nothing is, report it"),
    }
}

const LIMIT: Duration = Duration::from_secs(10);

fn queue() -> Result<(), String> {
    let queue = Queue::bounded(4).map_err(|error| error.to_string())?;
    pass(&queue)
}

fn named() -> Result<(), String> {
    let name = format!("doctor-{}", std::process::id());
    let queue = Queue::builder().named(&name).bounded(4).build().map_err(|error| error.to_string())?;
    let passed = pass(&queue);
    remove_queue(&name).map_err(|error| error.to_string())?;
    passed
}

fn pass(queue: &Queue<u32>) -> Result<(), String> {
    queue.put_timeout(42, LIMIT).map_err(|error| error.to_string())?;
    expect(queue.get_timeout(LIMIT).map_err(|error| error.to_string())?)
}

fn talk() -> Result<(), String> {
    let (ours, theirs) = pipe::<u32>().map_err(|error| error.to_string())?;
    ours.send_timeout(&42, LIMIT).map_err(|error| error.to_string())?;
    expect(theirs.recv_timeout(LIMIT).map_err(|error| error.to_string())?)
}

fn answer(queue: Queue<u32>) {
    let _ = queue.put(42);
}

fn child() -> Result<(), String> {
    let queue = Queue::bounded(4).map_err(|error| error.to_string())?;
    let process = Process::builder().daemon(true).spawn(answer, queue.clone()).map_err(|error| error.to_string())?;
    let got = queue.get_timeout(LIMIT).map_err(|error| format!("no message from the child: {error}"));
    match process.join_timeout(LIMIT).map_err(|error| error.to_string())? {
        Some(exit) if exit.success() => expect(got?),
        Some(exit) => Err(format!("the child ended with {exit}")),
        None => Err("the child does not end".into()),
    }
}

fn expect(got: u32) -> Result<(), String> {
    if got == 42 { Ok(()) } else { Err(format!("42 was put, {got} came out")) }
}
