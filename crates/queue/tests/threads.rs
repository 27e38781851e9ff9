//! The values that each thread has in hand, and what becomes of them when the thread ends.

use multiproc_process::{Exit, Process};
use multiproc_queue::{DeadLetter, Delivery, GetError, JoinableQueue, Queue, TaskDoneError};
use std::cell::RefCell;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(20);

/// Runs a test that changes or may end its whole process in a process of its own.
fn in_a_process(test: fn(()) -> ()) {
    assert_eq!(Process::spawn(test, ()).unwrap().join().unwrap(), Exit::Code(0));
}

#[test]
fn task_done_finishes_what_its_own_thread_got_and_nothing_else() {
    let q = JoinableQueue::bounded(4).unwrap();
    q.put_many([1, 2]).unwrap();
    assert_eq!(q.get().unwrap(), 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
            assert_eq!(q.get().unwrap(), 2);
            q.task_done().unwrap();
            assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
        });
    });
    assert_eq!(q.unfinished(), 1);
    q.task_done().unwrap();
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    q.join_timeout(WATCHDOG).unwrap();
}

#[test]
fn task_done_finishes_the_oldest_value_of_the_queue_that_it_is_called_for() {
    let (a, b) = (JoinableQueue::bounded(4).unwrap(), JoinableQueue::bounded(4).unwrap());
    a.put_many([1, 2]).unwrap();
    b.put(3).unwrap();
    assert_eq!((a.get().unwrap(), b.get().unwrap(), a.get().unwrap()), (1, 3, 2));
    a.task_done().unwrap();
    assert_eq!((a.unfinished(), b.unfinished()), (1, 1));
    b.task_done().unwrap();
    assert_eq!((a.unfinished(), b.unfinished()), (1, 0));
    // The value 2 stayed in hand.
    drop(a.clone());
    thread::scope(|scope| scope.spawn(|| assert!(matches!(a.try_get(), Err(GetError::Empty)))).join().unwrap());
    a.task_done().unwrap();
    a.join().unwrap();
}

#[test]
fn a_thread_that_ends_gives_back_what_it_has_in_hand() {
    let q = JoinableQueue::bounded(4).unwrap();
    q.put_many([1, 2, 3, 4]).unwrap();
    let other = q.clone();
    let worker = thread::spawn(move || {
        assert_eq!((other.get().unwrap(), other.get().unwrap(), other.get().unwrap()), (1, 2, 3));
        other.task_done().unwrap();
    });
    worker.join().unwrap();
    for expected in [(2, 2), (3, 2), (4, 1)] {
        let delivery = q.get_delivery_timeout(WATCHDOG).unwrap();
        assert_eq!((*delivery, delivery.count()), expected);
        delivery.done();
    }
    q.join_timeout(WATCHDOG).unwrap();
}

#[test]
fn what_a_panicking_worker_thread_has_in_hand_goes_to_another_one_and_join_ends() {
    let q = JoinableQueue::bounded(4).unwrap();
    let worker = |q: JoinableQueue<u32>, panics: bool| {
        thread::spawn(move || {
            while let Ok(value) = q.get() {
                assert!(!panics, "while at work on {value}");
                q.task_done().unwrap();
            }
        })
    };
    let first = worker(q.clone(), true);
    q.put(1).unwrap();
    assert!(first.join().is_err());
    let second = worker(q.clone(), false);
    q.join_timeout(WATCHDOG).unwrap();
    q.shutdown();
    second.join().unwrap();
}

#[test]
fn a_delivery_is_done_on_any_thread() {
    fn is_free<T: Send + 'static>() {}
    is_free::<Delivery<String>>();
    is_free::<DeadLetter<String>>();
    let q = JoinableQueue::bounded(4).unwrap();
    q.put_many(["1".to_string(), "2".to_string()]).unwrap();
    let (first, second) = (q.get_delivery().unwrap(), q.get_delivery().unwrap());
    thread::spawn(move || assert_eq!(first.done(), "1")).join().unwrap();
    assert_eq!(q.unfinished(), 1);
    thread::spawn(move || drop(second)).join().unwrap();
    let again = q.get_delivery().unwrap();
    assert_eq!((again.as_str(), again.count()), ("2", 2));
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    again.done();
    q.join_timeout(WATCHDOG).unwrap();
}

#[test]
fn a_delivery_outlives_every_handle() {
    let name = format!("threads-delivery-{}", std::process::id());
    let q: JoinableQueue<u32> = JoinableQueue::builder().bounded(4).named(&name).build().unwrap();
    q.put_many([1, 2]).unwrap();
    let delivery = q.get_delivery().unwrap();
    assert_eq!(q.get().unwrap(), 2);
    drop(q);
    delivery.done();
    // The last handle of this process is gone, so the value that this thread had in hand came back.
    let q = JoinableQueue::<u32>::open(&name).unwrap();
    multiproc_queue::remove_queue(&name).unwrap();
    assert_eq!(q.task_done(), Err(TaskDoneError::NothingInHand));
    let again = q.get_delivery_timeout(WATCHDOG).unwrap();
    assert_eq!((*again, again.count(), q.unfinished()), (2, 2, 1));
}

#[test]
fn a_forked_copy_of_a_thread_gives_back_nothing_of_what_its_original_has_in_hand() {
    in_a_process(|()| {
        let q = JoinableQueue::bounded(4).unwrap();
        q.put(1).unwrap();
        let (to_main, from_thread) = mpsc::channel();
        let (to_thread, from_main) = mpsc::channel();
        let worker = q.clone();
        let thread = thread::spawn(move || {
            assert_eq!(worker.get().unwrap(), 1);
            // SAFETY: the copy returns from the thread's function, which ends the thread and with it the copy.
            match unsafe { libc::fork() } {
                0 => assert_eq!(worker.task_done(), Err(TaskDoneError::NothingInHand)),
                pid => {
                    to_main.send(pid).unwrap();
                    from_main.recv().unwrap();
                    worker.task_done().unwrap();
                }
            }
        });
        let (pid, mut status) = (from_thread.recv().unwrap(), 0);
        // SAFETY: waits for our own child; `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
        assert_eq!(q.unfinished(), 1);
        assert!(matches!(q.try_get(), Err(GetError::Empty)));
        to_thread.send(()).unwrap();
        thread.join().unwrap();
        q.join_timeout(WATCHDOG).unwrap();
    });
}

type Handles = (Queue<Vec<u8>>, JoinableQueue<u32>);

/// Uses queues when its thread ends.
struct Last(RefCell<Option<Handles>>);

impl Drop for Last {
    fn drop(&mut self) {
        if let Some((q, jobs)) = self.0.take() {
            q.put(vec![9; 100]).unwrap();
            assert_eq!(q.get().unwrap(), [9; 100]);
            q.put(vec![7; 100]).unwrap();
            let job = jobs.get().unwrap();
            jobs.task_done().unwrap();
            jobs.put(job + 1).unwrap();
            assert_eq!(jobs.task_done(), Err(TaskDoneError::NothingInHand));
            jobs.get_delivery().unwrap().give_back();
        }
    }
}

thread_local! {
    static LAST: Last = const { Last(RefCell::new(None)) };
}

/// `used_before`: whether the queues' own thread-locals are older than this one, and so destroyed later.
fn end_a_thread(used_before: bool) {
    let (q, jobs) = (Queue::bounded(4).unwrap(), JoinableQueue::bounded(4).unwrap());
    jobs.put_many([1, 3]).unwrap();
    let last = (q.clone(), jobs.clone());
    let user = last.clone();
    let using = move || {
        user.0.put(vec![1]).unwrap();
        assert_eq!(user.0.get().unwrap(), [1]);
        assert_eq!(user.1.get().unwrap(), 1);
        user.1.task_done().unwrap();
    };
    let thread = thread::spawn(move || {
        if used_before {
            using();
            LAST.with(|cell| cell.0.replace(Some(last)));
        } else {
            LAST.with(|cell| cell.0.replace(Some(last)));
            using();
        }
    });
    thread.join().unwrap();
    assert_eq!(q.get_timeout(WATCHDOG).unwrap(), [7; 100]);
    let job = jobs.get_delivery_timeout(WATCHDOG).unwrap();
    assert_eq!((*job, job.count()), (4, 2));
    job.done();
    jobs.join().unwrap();
}

#[test]
fn put_get_and_task_done_work_while_the_thread_locals_of_a_thread_are_destroyed() {
    in_a_process(|()| end_a_thread(true));
    in_a_process(|()| end_a_thread(false));
}

#[test]
fn a_put_works_while_a_panic_unwinds() {
    struct Report(Queue<String>);
    impl Drop for Report {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.put("it panicked".into()).unwrap();
        }
    }
    let q = Queue::bounded(1).unwrap();
    let report = Report(q.clone());
    let panicked = thread::spawn(move || {
        let _report = report;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!(q.get_timeout(WATCHDOG).unwrap(), "it panicked");
}
