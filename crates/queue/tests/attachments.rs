//! One process is one participant of a queue. A forked copy is another participant, and waits for no lock of its parent's.

use multiproc_process::{Exit, Process};
use multiproc_queue::{GetError, JoinableQueue, OpenError, PutError, Queue, QueueJoinError, SimpleQueue, TaskDoneError};
use multiproc_shm::{AttachError, Flaw};
use multiproc_travel::pass;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::thread;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs a test that changes its whole process in a process of its own.
fn in_a_process(test: fn(()) -> ()) {
    assert_eq!(Process::spawn(test, ()).unwrap().join().unwrap(), Exit::Code(0));
}

/// Receives a value as if another process had sent it.
fn receive<T: Serialize + DeserializeOwned, U: DeserializeOwned>(value: &T) -> Result<U, pass::DecodeError> {
    let parcel = pass::encode(value).unwrap();
    pass::decode(&parcel.bytes, parcel.descriptors)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_queue_that_is_received_2000_times_is_one_participant() {
    in_a_process(|()| {
        // There is one place, and this process has it.
        let q = Queue::<u64>::builder().bounded(4).participants(1).build().unwrap();
        let before = descriptors();
        let received: Vec<Queue<u64>> = (0..2000).map(|_| receive(&q).unwrap()).collect();
        let many: Vec<Queue<u64>> = receive(&vec![q.clone(), received[0].clone(), q.clone()]).unwrap();
        assert_eq!(descriptors(), before);
        received[1999].put(7).unwrap();
        assert_eq!(many[2].get().unwrap(), 7);
        // The first handle is no different from the others.
        drop((q, many));
        received[0].put(8).unwrap();
        assert_eq!(received[1].get().unwrap(), 8);
    });
}

#[test]
fn what_one_handle_got_another_one_finishes() {
    let name = format!("attachments-handles-{}", std::process::id());
    let made: JoinableQueue<u64> = JoinableQueue::builder().bounded(4).participants(1).named(&name).build().unwrap();
    let opened = JoinableQueue::<u64>::open(&name).unwrap();
    multiproc_queue::remove_queue(&name).unwrap();
    let received: JoinableQueue<u64> = receive(&opened).unwrap();
    opened.put_many([1, 2]).unwrap();
    assert_eq!(received.get().unwrap(), 1);
    drop(received);
    made.task_done().unwrap();
    assert_eq!(made.get().unwrap(), 2);
    opened.task_done().unwrap();
    opened.join().unwrap();
}

fn join_by_name(name: String) {
    assert!(matches!(Queue::<u8>::open(&name), Err(OpenError::Join { .. })));
}

#[test]
fn another_process_needs_a_place_of_its_own() {
    let name = format!("attachments-place-{}", std::process::id());
    let q: Queue<u8> = Queue::builder().participants(1).named(&name).build().unwrap();
    assert_eq!(Process::spawn(join_by_name, name.clone()).unwrap().join().unwrap(), Exit::Code(0));
    multiproc_queue::remove_queue(&name).unwrap();
    drop(q);
}

#[test]
fn a_queue_of_another_flavour_is_refused_however_it_comes() {
    let name = format!("attachments-flavour-{}", std::process::id());
    let q: JoinableQueue<u64> = JoinableQueue::builder().bounded(4).named(&name).build().unwrap();
    let opened = Queue::<u64>::open(&name).unwrap_err();
    multiproc_queue::remove_queue(&name).unwrap();
    assert!(matches!(opened, OpenError::Attach(AttachError::Refused { flaw: Flaw::Kind { .. }, .. })), "{opened}");
    for error in [receive::<_, Queue<u64>>(&q).unwrap_err(), receive::<_, SimpleQueue<u64>>(&q).unwrap_err()] {
        assert!(error.to_string().contains("JoinableQueue"), "{error}");
    }
    let again: JoinableQueue<u64> = receive(&q).unwrap();
    again.put(1).unwrap();
    assert_eq!(q.get().unwrap(), 1);
}

#[test]
fn threads_that_open_and_drop_a_queue_at_once_share_its_only_place() {
    let name = format!("attachments-race-{}", std::process::id());
    let q = Queue::<[u8; 20]>::builder().bounded(10_000).participants(1).memory(16 << 20).named(&name).build().unwrap();
    // Each leave goes through these blocks, which takes a while.
    (0..10_000).for_each(|_| q.put([1; 20]).unwrap());
    drop(q);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    drop(Queue::<[u8; 20]>::open(&name).unwrap());
                }
            });
        }
    });
    multiproc_queue::remove_queue(&name).unwrap();
}

/// Runs `child` in a forked copy of this process. The copy ends by a signal if it hangs.
fn fork(child: impl FnOnce()) {
    // SAFETY: the copy uses what libc lets a copy of a process with threads use (it keeps its allocator's locks in order), and
    // ends without unwinding into what it copied.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: sets a timer for this process.
            unsafe { libc::alarm(30) };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).is_ok();
            // SAFETY: ends the copy at once.
            unsafe { libc::_exit(i32::from(!done)) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for our own child; `status` outlives the call.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            assert!(libc::WIFEXITED(status), "the copy hung or crashed: {status:#x}");
            assert_eq!(libc::WEXITSTATUS(status), 0);
        }
    }
}

#[test]
fn a_forked_copy_without_a_place_tells_the_truth_or_an_error() {
    in_a_process(|()| {
        let q = JoinableQueue::<u64>::builder().bounded(3).participants(1).max_deliveries(1).build().unwrap();
        q.put_many([1, 2, 3]).unwrap();
        q.get_delivery().unwrap().give_back();
        let (mut letter, mut delivery) = (Some(q.try_get_dead().unwrap()), Some(q.get_delivery().unwrap()));
        q.put(4).unwrap();
        q.put(5).unwrap();
        let mut loan = Some(q.loan(3).unwrap());
        fork(|| {
            assert_eq!((q.len(), q.is_empty(), q.is_full(), q.capacity()), (3, false, true, Some(3)));
            assert_eq!((q.unfinished(), q.dead_len()), (4, 0));
            assert!(matches!(q.put(1), Err(PutError::Forked { value: 1, .. })));
            assert!(matches!(q.put_many([1]), Err(error) if matches!(error.error, PutError::Forked { value: 1, .. })));
            assert!(matches!(q.get(), Err(GetError::Forked { .. })));
            assert!(matches!(q.get_many(1), Err(error) if matches!(error.error, GetError::Forked { .. })));
            assert!(matches!(q.get_delivery(), Err(GetError::Forked { .. })));
            assert!(matches!(q.try_get_dead(), Err(GetError::Forked { .. })));
            assert!(matches!(q.borrow(), Err(GetError::Forked { .. })));
            assert!(matches!(q.loan(1), Err(PutError::Forked { .. })));
            assert!(matches!(q.join(), Err(QueueJoinError::Forked { .. })));
            assert!(matches!(q.join_timeout(WATCHDOG), Err(QueueJoinError::Forked { .. })));
            assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
            assert!(q.join_thread().is_err());
            // The copy can't put, finish or give back what the original has in hand.
            assert!(matches!(letter.take().unwrap().put_back(), Err(PutError::Inherited(_))));
            assert!(matches!(loan.take().unwrap().send(), Err(PutError::Inherited(()))));
            drop(delivery.take());
            assert_eq!((q.len(), q.unfinished()), (3, 4));
        });
        assert_eq!((q.len(), q.unfinished(), q.dead_len()), (3, 4, 0));
        assert_eq!((delivery.unwrap().done(), letter.unwrap().into_inner()), (2, 1));
    });
}

fn use_it(q: &JoinableQueue<u64>, name: &str) {
    q.put(1).unwrap();
    q.get().unwrap();
    q.task_done().unwrap();
    let again: JoinableQueue<u64> = receive(q).unwrap();
    again.put(2).unwrap();
    again.get_delivery().unwrap().done();
    let named = Queue::<u64>::open(name).unwrap();
    let _ = (named.try_put(1), named.try_get().is_ok());
}

#[test]
fn a_copy_forked_while_other_threads_are_in_every_call_hangs_on_no_lock() {
    in_a_process(|()| {
        let name = format!("attachments-fork-{}", std::process::id());
        let kept: Queue<u64> = Queue::builder().bounded(2).memory(1 << 20).named(&name).build().unwrap();
        let q = JoinableQueue::<u64>::builder().memory(1 << 20).max_message(100).build().unwrap();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = std::sync::Mutex::new(ended);
        thread::scope(|scope| {
            for number in 0..3 {
                let (q, name, ended) = (&q, &name, &ended);
                scope.spawn(move || {
                    while !matches!(ended.lock().unwrap().try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
                        match number {
                            // Attaches to and leaves queues of its own, too.
                            0 => drop(Queue::<u64>::builder().bounded(1).memory(1 << 20).build().unwrap()),
                            _ => use_it(q, name),
                        }
                    }
                });
            }
            for _ in 0..100 {
                fork(|| {
                    use_it(&q, &name);
                    // Copies of copies, and threads of copies.
                    fork(|| use_it(&q, &name));
                    thread::scope(|scope| {
                        [(); 2].map(|()| scope.spawn(|| use_it(&q, &name))).map(|thread| thread.join().unwrap())
                    });
                });
            }
            drop(end);
        });
        drop(kept);
        multiproc_queue::remove_queue(&name).unwrap();
    });
}
