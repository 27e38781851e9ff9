//! Sends this process a signal every 100 µs, which makes system calls end early. Nothing fails, and no deadline moves.

use multiproc::{Connection, JoinableQueue, Process, Queue};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Starts the signals: ten thousand a second.
fn begin() {
    let every = libc::timeval { tv_sec: 0, tv_usec: 100 };
    // SAFETY: the handler only adds to an atomic, which a handler may; without SA_RESTART it makes system calls end early.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &libc::itimerval { it_interval: every, it_value: every }, std::ptr::null_mut());
    }
}

type Ends = (Queue<u64>, Queue<u64>, Connection<u64>, JoinableQueue<u64>);

fn answer((there, back, pipe, jobs): Ends) {
    begin();
    while let Ok(value) = there.get() {
        back.put(value).unwrap();
        pipe.send(&value).unwrap();
        jobs.put(value).unwrap();
    }
}

/// Exchanges this many messages each way, over queues, a pipe and a joinable queue.
pub(crate) fn storm(messages: u64) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (there, back, jobs) = (Queue::bounded(1)?, Queue::bounded(1)?, JoinableQueue::bounded(1)?);
    let (ours, theirs) = multiproc::pipe()?;
    begin();
    // Starting a process has to bear the signals, too.
    let process = Process::spawn(answer, (there.clone(), back.clone(), theirs, jobs.clone()))?;
    let begun = Instant::now();
    for value in 0..messages {
        there.put(value)?;
        assert_eq!((back.get()?, ours.recv()?), (value, value));
        assert_eq!(jobs.get_delivery()?.done(), value);
        jobs.join()?;
    }
    let took = begun.elapsed();
    for timeout in [50, 200].map(Duration::from_millis) {
        let begun = Instant::now();
        assert!(back.get_timeout(timeout).is_err() && ours.recv_timeout(timeout).is_err());
        let late = begun.elapsed().saturating_sub(2 * timeout);
        // A wait that began anew at each signal would never end.
        assert!(late < Duration::from_millis(500), "two waits of {timeout:?} took {late:?} longer");
    }
    there.shutdown();
    assert!(process.join()?.success());
    // SAFETY: stops the timer.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &std::mem::zeroed(), std::ptr::null_mut()) };
    let signals = SIGNALS.load(Ordering::Relaxed);
    println!("storm of signals: {messages} messages over four ways in {:.1} s, {signals} signals here", took.as_secs_f64());
    if signals < messages / 100 { Err("there was no storm".into()) } else { Ok((1, 0)) }
}
