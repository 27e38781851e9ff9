//! What a supervised group promises: each promise once, with real processes.

use multiproc_pool::{Workers, WorkersError};
use multiproc_process::{Exit, current_process};
use multiproc_queue::{GetError, JoinableQueue, Queue};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

fn signal(pid: u32, signal: i32) {
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Says its process id for each job, and dies at a 0.
fn serve((jobs, results): (JoinableQueue<u32>, Queue<(u32, u32)>)) {
    while let Ok(job) = jobs.get_delivery() {
        if *job == 0 && job.count() == 1 {
            signal(std::process::id(), libc::SIGKILL);
        }
        results.put((std::process::id(), *job)).unwrap();
        job.done();
    }
}

#[test]
fn a_process_that_dies_is_replaced_and_its_job_gets_done() {
    let (jobs, results) = (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let workers = Workers::builder().count(1).spawn(serve, (jobs.clone(), results.clone())).unwrap();
    jobs.put_many([1, 0, 2]).unwrap();
    let got: Vec<(u32, u32)> = (0..3).map(|_| results.get_timeout(WATCHDOG).unwrap()).collect();
    assert_eq!(got.iter().map(|&(_, job)| job).collect::<Vec<_>>(), [1, 0, 2]);
    assert!(got[0].0 != got[1].0 && got[1].0 == got[2].0);
    jobs.shutdown();
    assert_eq!(workers.join_timeout(WATCHDOG), Ok(true));
    let ends: Vec<_> = workers.history().into_iter().map(|end| (end.worker, end.pid, end.exit)).collect();
    assert_eq!(ends, [(0, got[0].0, Exit::Signal(9)), (0, got[1].0, Exit::Code(0))]);
    assert_eq!(workers.replaced(), 1);
    assert!(workers.processes().is_empty());
}

/// Returns the error of the shutdown.
fn serve_or_fail((jobs, began): (JoinableQueue<u32>, Queue<u32>)) -> Result<(), GetError> {
    began.put(std::process::id()).unwrap();
    loop {
        jobs.get_delivery()?.done();
    }
}

#[test]
fn while_it_drains_a_process_that_returns_an_error_is_finished() {
    let (jobs, began) = (JoinableQueue::unbounded().unwrap(), Queue::unbounded().unwrap());
    let workers = Workers::builder().count(2).spawn(serve_or_fail, (jobs.clone(), began.clone())).unwrap();
    jobs.put_many(0..10).unwrap();
    workers.drain();
    jobs.shutdown();
    assert_eq!(workers.join_timeout(WATCHDOG), Ok(true));
    assert_eq!(workers.history().iter().map(|end| end.exit).collect::<Vec<_>>(), [Exit::Code(1); 2]);
    assert_eq!((workers.replaced(), jobs.unfinished()), (0, 0));
}

/// Ignores a polite request, and never ends.
fn be_stubborn(began: Queue<()>) {
    // SAFETY: ignoring a signal runs no code and touches no memory.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
    began.put(()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn terminate_ends_processes_that_would_never_end_even_stubborn_ones() {
    let began = Queue::unbounded().unwrap();
    let workers = Workers::builder().count(2).spawn(be_stubborn, began.clone()).unwrap();
    assert_eq!(workers.join_timeout(Duration::from_millis(1)), Ok(false));
    (0..2).for_each(|_| began.get_timeout(WATCHDOG).unwrap());
    workers.terminate();
    assert_eq!(workers.join_timeout(WATCHDOG), Ok(true));
    assert_eq!(workers.history().iter().map(|end| end.exit).collect::<Vec<_>>(), [Exit::Signal(9); 2]);
}

#[test]
fn a_group_whose_processes_fail_at_once_pauses_and_gives_up_when_it_should() {
    let began = Queue::unbounded().unwrap();
    let fail = |began: Queue<String>| -> Result<(), &'static str> {
        began.put(current_process().name().to_owned()).map_err(|_| "put")?;
        Err("on purpose")
    };
    let workers = Workers::builder().count(1).name("failing").give_up_after(4).spawn(fail, began.clone()).unwrap();
    let Err(WorkersError::GaveUp { why }) = workers.join() else { panic!("it must give up") };
    assert!(why.starts_with("it ended with exit code 1 after "), "{why}");
    assert_eq!(began.try_iter().collect::<Vec<_>>(), ["failing-1", "failing-2", "failing-3", "failing-4"]);
}

#[test]
fn a_function_that_returns_is_finished_and_not_run_again() {
    let began = Queue::unbounded().unwrap();
    let once = |began: Queue<u32>| began.put(std::process::id()).unwrap();
    let workers = Workers::builder().count(3).spawn(once, began.clone()).unwrap();
    assert_eq!(workers.join_timeout(WATCHDOG), Ok(true));
    assert_eq!((began.len(), workers.history().len()), (3, 3));
}
