//! Which participants are dead: with other pid namespaces, with exec, and with hundreds of processes in a few places.

use multiproc_process::{Exit, Process};
use multiproc_queue::{GetError, JoinableQueue, Queue};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs a test that changes its whole process in a process of its own.
fn in_a_process(test: fn(()) -> ()) {
    assert_eq!(Process::spawn(test, ()).unwrap().join().unwrap(), Exit::Code(0));
}

/// Runs `child` in a forked copy of this process, which must have one thread, until it ends or for ever; returns its pid.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: this process has one thread, so the copy may do anything; it ends without unwinding into what it copied.
    match unsafe { libc::fork() } {
        0 => {
            child();
            // SAFETY: ends the process at once, without running what the parent will run.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    }
}

fn wait(pid: i32) {
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
}

fn hold(q: &JoinableQueue<u64>, ready: &Queue<u64>) {
    ready.put(q.get().unwrap()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_process_in_another_pid_namespace_lives_until_it_is_dead() {
    in_a_process(|()| {
        // SAFETY: this process has one thread.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) }.is_err() {
            println!("not allowed to make a pid namespace");
            return;
        }
        let (q, ready) = (JoinableQueue::bounded(4).unwrap(), Queue::bounded(1).unwrap());
        q.put_many([1, 2]).unwrap();
        // The first process in the new namespace, where it has the number 1.
        let inside = fork(|| hold(&q, &ready));
        assert_eq!(ready.get_timeout(WATCHDOG).unwrap(), 1);
        assert_eq!(q.get_timeout(WATCHDOG).unwrap(), 2);
        // Longer than the time between two looks: neither process takes the other for dead.
        assert!(matches!(q.get_timeout(Duration::from_millis(1500)), Err(GetError::Timeout)));
        // SAFETY: our own child, not waited for yet.
        unsafe { libc::kill(inside, libc::SIGKILL) };
        wait(inside);
        let killed = Instant::now();
        assert_eq!(q.get_timeout(WATCHDOG).unwrap(), 1);
        // The promise is 100 ms; the rest is for a machine that is busy with other tests.
        assert!(killed.elapsed() < Duration::from_millis(500), "{:?}", killed.elapsed());
    });
}

fn put_its_number(q: Queue<u32>) {
    q.put(std::process::id()).unwrap();
}

#[test]
fn a_process_can_be_started_into_a_new_pid_namespace() {
    in_a_process(|()| {
        // SAFETY: this process has one thread.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWPID) }.is_err() {
            println!("not allowed to make a pid namespace");
            return;
        }
        let q = Queue::bounded(1).unwrap();
        let process = Process::spawn(put_its_number, q.clone()).unwrap();
        assert_eq!(q.get_timeout(WATCHDOG).unwrap(), 1);
        assert_eq!(process.join().unwrap(), Exit::Code(0));
    });
}

fn take_and_exec((q, ready): (JoinableQueue<u64>, Queue<u64>)) {
    ready.put(q.get().unwrap()).unwrap();
    let error = Command::new("sleep").arg("60").exec();
    panic!("{error}");
}

#[test]
fn a_process_that_becomes_another_program_has_left() {
    let (q, ready) = (JoinableQueue::bounded(4).unwrap(), Queue::bounded(1).unwrap());
    q.put(1).unwrap();
    let process = Process::spawn(take_and_exec, (q.clone(), ready.clone())).unwrap();
    assert_eq!(ready.get_timeout(WATCHDOG).unwrap(), 1);
    // It runs on under the same pid, without the queue.
    assert_eq!(q.get_timeout(WATCHDOG).unwrap(), 1);
    assert!(process.is_alive());
    process.kill().unwrap();
    process.join().unwrap();
}

#[test]
fn hundreds_of_processes_come_and_die_in_three_places() {
    in_a_process(|()| {
        // More than the 512 epochs that a block remembers of its owner's place.
        const PROCESSES: u64 = 600;
        let q = JoinableQueue::builder().bounded(4).participants(3).memory(1 << 16).max_message(40).build().unwrap();
        for number in 0..PROCESSES {
            q.put(number).unwrap();
            let pid = fork(|| {
                // Each second process ends with the value in hand and without leaving, as a killed one does.
                let value = q.get().unwrap();
                if number % 2 == 0 && value == number {
                    q.task_done().unwrap();
                }
            });
            wait(pid);
            if number % 2 == 1 {
                let delivery = q.get_delivery_timeout(WATCHDOG).unwrap();
                assert_eq!((*delivery, delivery.count()), (number, 2));
                delivery.done();
            }
        }
        q.join_timeout(WATCHDOG).unwrap();
        assert!(q.is_empty() && q.dead_len() == 0);
    });
}
