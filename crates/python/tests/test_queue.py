"""Queues as arguments of processes and as inherited globals, with multiprocessing's exceptions."""

import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

from multiproc import JoinableQueue, Queue, ShutDown, SimpleQueue

KINDS = [Queue, JoinableQueue, SimpleQueue]


def double(inbox, outbox):
    outbox.put(inbox.get() * 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_is_an_argument_of_a_process(method, kind, finish):
    inbox, outbox = kind(), kind()
    process = method.Process(target=double, args=(inbox, outbox))
    process.start()
    inbox.put(21)
    assert outbox.get() == 42
    finish(process)


def test_a_process_uses_one_queue_twice(method, finish):
    both = Queue()
    both.put("a")
    process = method.Process(target=double, args=(both, both))
    process.start()
    finish(process)
    assert both.get() == "aa"


inherited = Queue()


def put_inherited():
    inherited.put(os.getpid())


def test_a_forked_process_uses_an_inherited_global(finish):
    process = multiprocessing.get_context("fork").Process(target=put_inherited)
    process.start()
    finish(process)
    assert inherited.get() == process.pid


def put_into_what_comes(connection):
    connection.recv().put("here")


def test_a_queue_goes_through_a_connection(method, finish):
    ours, theirs = method.Pipe()
    process = method.Process(target=put_into_what_comes, args=(theirs,))
    process.start()
    inbox = Queue()
    ours.send(inbox)
    assert inbox.get(timeout=30) == "here"
    finish(process)


@pytest.mark.parametrize("kind", KINDS)
def test_pickle_itself_is_refused(kind):
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(kind())


def test_a_bounded_queue_is_full():
    inbox = Queue(2)
    inbox.put_nowait(1)
    assert not inbox.full()
    inbox.put(2, block=False)
    assert inbox.full() and inbox.qsize() == 2
    with pytest.raises(queue.Full):
        inbox.put_nowait(3)
    begin = time.monotonic()
    with pytest.raises(queue.Full):
        inbox.put(3, timeout=0.12)
    assert time.monotonic() - begin >= 0.12
    assert [inbox.get(), inbox.get()] == [1, 2]


def test_an_empty_queue_raises_empty():
    inbox = Queue()
    assert inbox.empty()
    for get in (inbox.get_nowait, lambda: inbox.get(False), lambda: inbox.get(True, 0.05), lambda: inbox.get(timeout=-1)):
        with pytest.raises(queue.Empty):
            get()
    with pytest.raises(ValueError, match="NaN"):
        inbox.get(timeout=float("nan"))


def test_a_closed_queue_raises_value_error():
    inbox = Queue()
    with pytest.raises(AssertionError):
        inbox.join_thread()
    inbox.close()
    inbox.close()
    inbox.join_thread()
    inbox.cancel_join_thread()
    for use in (lambda: inbox.put(1), inbox.get, inbox.get_nowait):
        with pytest.raises(ValueError, match="is closed"):
            use()


def test_a_closed_simple_queue_raises_os_error():
    inbox = SimpleQueue()
    inbox.close()
    for use in (lambda: inbox.put(1), inbox.get, inbox.empty):
        with pytest.raises(OSError, match="closed"):
            use()


def test_task_done_too_often_raises_value_error():
    jobs = JoinableQueue()
    jobs.put(1)
    with pytest.raises(ValueError, match="too many"):
        jobs.task_done()
    jobs.get()
    jobs.task_done()
    with pytest.raises(ValueError, match="too many"):
        jobs.task_done()
    jobs.join()


def test_any_thread_says_task_done():
    jobs = JoinableQueue()
    for number in range(3):
        jobs.put(number)
    for _ in range(3):
        jobs.get()
    threads = [threading.Thread(target=jobs.task_done) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jobs.join(timeout=10)


def work(jobs):
    while jobs.get() is not None:
        jobs.task_done()
    jobs.task_done()


def test_join_waits_for_workers(method, finish):
    jobs = JoinableQueue()
    workers = [method.Process(target=work, args=(jobs,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range(200):
        jobs.put(number)
    jobs.join()
    assert jobs.unfinished() == 0
    for _ in workers:
        jobs.put(None)
    finish(*workers)


def die_with_a_job(jobs):
    jobs.get()
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_worker_had_in_hand_is_delivered_again(method):
    jobs = JoinableQueue()
    jobs.put("job")
    worker = method.Process(target=die_with_a_job, args=(jobs,))
    worker.start()
    worker.join(30)
    assert worker.exitcode == -signal.SIGKILL
    assert jobs.get(timeout=10) == "job"
    jobs.task_done()
    assert jobs.join(timeout=10)


def inherited_hand(jobs, outbox):
    try:
        jobs.task_done()
    except ValueError as error:
        outbox.put(str(error))


def test_a_forked_copy_has_nothing_in_hand(finish):
    jobs, outbox = JoinableQueue(), Queue()
    jobs.put(1)
    jobs.get()
    process = multiprocessing.get_context("fork").Process(target=inherited_hand, args=(jobs, outbox))
    process.start()
    assert "too many" in outbox.get(timeout=10)
    finish(process)
    jobs.task_done()
    assert jobs.join(timeout=10)


def test_other_threads_run_while_one_waits():
    inbox = Queue()
    got = []
    thread = threading.Thread(target=lambda: got.append(inbox.get()))
    thread.start()
    inbox.put("x")
    thread.join(10)
    assert got == ["x"]


@pytest.mark.parametrize("wait", [lambda q: q.get(), lambda q: [q.put(n) for n in range(2)], lambda q: (q.put(1), q.join())])
def test_ctrl_c_ends_a_wait(wait):
    jobs = JoinableQueue(1)
    # The shell has its background jobs ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            wait(jobs)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_shutdown_ends_gets_and_puts():
    inbox = Queue()
    inbox.put(1)
    inbox.shutdown()
    with pytest.raises(ShutDown):
        inbox.put(2)
    assert list(inbox) == [1]
    with pytest.raises(ShutDown):
        inbox.get()


def test_shutdown_now_drops_what_waits():
    jobs = JoinableQueue()
    jobs.put_many(range(5))
    jobs.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        jobs.get()
    assert jobs.join(timeout=10)


def answer(inbox):
    inbox.get().put("answered")


def test_a_queue_goes_through_a_queue(method, finish):
    inbox, reply = Queue(), Queue()
    process = method.Process(target=answer, args=(inbox,))
    process.start()
    inbox.put(reply)
    assert reply.get(timeout=30) == "answered"
    finish(process)


def test_puts_and_gets_import_nothing():
    # A process that is forked while another thread imports would wait for that import for ever.
    program = """
import multiproc, sys
before = set(sys.modules)
queue = multiproc.Queue()
for value in (1, "text", {"a": 1}, print, bytearray(100_000)):
    queue.put(value)
    assert queue.get() == value
try:
    queue.get(False)
except multiproc.Empty:
    queue.shutdown()
try:
    queue.put(1)
except multiproc.ShutDown:
    print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, stdout=subprocess.PIPE, text=True)
    assert done.stdout == "[]\n"
