//! Programs whose processes are in different namespaces.

use crate::make::unshare;
use crate::programs::{PATIENCE, Program, Told, a_while, ended, expect, hold, look, text};
use multiproc::pipe::RecvError;
use multiproc::{Connection, JoinableQueue, Process, Queue, pipe};
use std::time::{Duration, Instant};

pub(crate) const ACROSS_PID: Program = Program { name: "across pid", run: || across(libc::CLONE_NEWPID) };
pub(crate) const ACROSS_TIME: Program = Program { name: "across time", run: || across(libc::CLONE_NEWTIME) };
pub(crate) const DAEMON_PID: Program = Program { name: "daemon", run: || daemon(libc::CLONE_NEWPID) };
pub(crate) const DAEMON_TIME: Program = Program { name: "daemon", run: || daemon(libc::CLONE_NEWTIME) };

/// Processes outside and inside a new namespace have values in hand. They keep them while they live, and other processes get the
/// values of the dead.
fn across(flags: i32) -> Result<String, String> {
    let jobs = JoinableQueue::unbounded().map_err(text)?;
    let told = Told::unbounded().map_err(text)?;
    let next = || told.get_timeout(PATIENCE).map_err(text);
    jobs.put(1).map_err(text)?;
    let outside = Process::spawn(hold, (jobs.clone(), told.clone())).map_err(text)?;
    expect("delivery outside", next()?, (1, 1))?;
    // Children that start from here on are inside the new namespace.
    unshare(flags).map_err(text)?;
    jobs.put(2).map_err(text)?;
    let inside = Process::spawn(hold, (jobs.clone(), told.clone())).map_err(text)?;
    expect("delivery inside", next()?, (2, 1))?;
    let looker = Process::spawn(look, (jobs.clone(), told.clone(), false, a_while())).map_err(text)?;
    expect("what one inside got of living processes", next()?, (0, 0))?;
    ended(&looker)?;
    expect("whether there is more outside", jobs.get_timeout(a_while()).is_ok(), false)?;
    let mut slowest = Duration::ZERO;
    // When the first process of a pid namespace ends, the others in it end, too.
    for (value, process) in [(2, &inside), (1, &outside)] {
        let begin = Instant::now();
        process.kill().map_err(text)?;
        let job = jobs.get_delivery_timeout(PATIENCE).map_err(text)?;
        slowest = slowest.max(begin.elapsed());
        expect("redelivery", (*job, job.count()), (value, 2))?;
        job.done();
        ended(process)?;
    }
    jobs.join_timeout(PATIENCE).map_err(text)?;
    if slowest > Duration::from_secs(1) {
        Err(format!("redelivered after {slowest:?}"))
    } else {
        Ok(format!("{} ms", slowest.as_millis()))
    }
}

/// A daemon lives as long as its parent, and no longer.
pub(crate) fn daemon(flags: i32) -> Result<String, String> {
    let (ours, theirs) = pipe::<u8>().map_err(text)?;
    let parent = Process::spawn(start_a_daemon, (theirs, flags)).map_err(text)?;
    expect("word of the daemon", ours.recv_timeout(PATIENCE).map_err(text)?, 1)?;
    let early = ours.recv_timeout(a_while());
    parent.kill().map_err(text)?;
    ended(&parent)?;
    let late = ours.recv_timeout(PATIENCE);
    match (early, late) {
        (Err(RecvError::Timeout), Err(RecvError::Disconnected)) => Ok(String::new()),
        (early, late) => Err(format!("of a daemon, while its parent lives and afterwards: {early:?}, {late:?}")),
    }
}

fn start_a_daemon((end, flags): (Connection<u8>, i32)) -> Result<(), String> {
    unshare(flags).map_err(text)?;
    let daemon = Process::builder().daemon(true).spawn(say_hello_and_stay, end).map_err(text)?;
    daemon.join().map_err(text)?;
    Err("the daemon ended".into())
}

fn say_hello_and_stay(end: Connection<u8>) -> Result<(), String> {
    end.send(&1).map_err(text)?;
    loop {
        std::thread::park();
    }
}

pub(crate) const RIGHTS_AT_RUN_TIME: Program = Program { name: "rights at run time", run: rights_at_run_time };

/// A program of user 0 acts for another user, and starts a process meanwhile.
fn rights_at_run_time() -> Result<String, String> {
    // SAFETY: numbers only.
    unsafe { libc::seteuid(crate::make::NOBODY) };
    let q = Queue::bounded(1).map_err(text)?;
    let child = Process::spawn(put_one, q.clone()).map_err(text)?;
    expect("value", q.get_timeout(PATIENCE).map_err(text)?, 1)?;
    ended(&child)?;
    Ok(String::new())
}

fn put_one(q: Queue<u8>) -> Result<(), String> {
    q.put(1).map_err(text)
}
