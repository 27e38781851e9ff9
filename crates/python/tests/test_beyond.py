"""What multiprocessing has not: batches, deliveries, dead letters, names; and contexts."""

import multiprocessing
import multiprocessing.context
import os
import pickle
import queue
import signal
import uuid

import pytest

import multiproc
from multiproc import Empty, JoinableQueue, Queue, ShutDown


@pytest.fixture
def name():
    name = f"py-{uuid.uuid4()}"
    yield name
    try:
        multiproc.remove(name)
    except FileNotFoundError:
        pass


def echo(inbox, outbox):
    outbox.put((inbox.get(), os.getpid()))


def test_a_context_makes_our_queues(method, finish):
    context = multiproc.get_context(method.get_start_method())
    assert isinstance(context, multiprocessing.context.BaseContext)
    assert context.get_start_method() == method.get_start_method()
    assert context.get_context() is context
    assert pickle.loads(pickle.dumps(context)).get_start_method() == context.get_start_method()
    inbox, outbox = context.Queue(3), context.JoinableQueue()
    assert type(inbox) is Queue and type(outbox) is JoinableQueue
    assert type(context.SimpleQueue()) is multiproc.SimpleQueue
    process = context.Process(target=echo, args=(inbox, outbox))
    process.start()
    inbox.put("x")
    assert outbox.get(timeout=30) == ("x", process.pid)
    finish(process)
    lock, event = context.Lock(), context.Event()
    with lock:
        event.set()
    with context.Pool(1) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]


def test_the_rest_is_multiprocessing():
    assert multiproc.Process is multiprocessing.Process
    assert multiproc.cpu_count() == multiprocessing.cpu_count()
    with pytest.raises(AttributeError):
        multiproc.nothing


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_batches(kind):
    there = kind()
    assert there.put_many(range(100)) == 100
    assert there.get_many(0) == []
    assert there.get_many(10) == list(range(10))
    assert there.get_many(1000) == list(range(10, 100))
    with pytest.raises(Empty):
        there.get_many(1, block=False)


def test_a_batch_that_fails_says_how_far_it_came():
    there = Queue(3)
    with pytest.raises(queue.Full) as caught:
        there.put_many(iter(range(10)), block=False)
    assert caught.value.put == 3
    assert there.get_many(10) == [0, 1, 2]
    with pytest.raises(TypeError):
        there.put_many(1)


def test_a_delivery_is_done_at_the_end_of_its_block():
    jobs = JoinableQueue()
    jobs.put("job")
    with jobs.get_delivery() as delivery:
        assert (delivery.value, delivery.count) == ("job", 1)
        assert jobs.unfinished() == 1
    assert jobs.join(timeout=10)
    with pytest.raises(ValueError):
        delivery.done()


def test_a_delivery_is_given_back_on_an_exception_and_dead_after_the_last():
    jobs = JoinableQueue(max_deliveries=2)
    jobs.put({"job": 1})
    ids = set()
    for count in (1, 2):
        with pytest.raises(ZeroDivisionError), jobs.get_delivery() as delivery:
            assert delivery.count == count
            ids.add(delivery.id)
            1 / 0
    with pytest.raises(Empty):
        jobs.get_nowait()
    assert jobs.dead_len() == 1
    (letter,) = jobs.dead()
    assert (letter.value, letter.count, letter.pid) == ({"job": 1}, 2, None)
    assert ids == {letter.id}
    assert jobs.join(timeout=10)


def test_a_delivery_may_be_done_or_given_back_within_its_block():
    jobs = JoinableQueue()
    jobs.put_many("ab")
    with jobs.get_delivery() as delivery:
        delivery.give_back(note=7)
    with jobs.get_delivery() as delivery:
        assert (delivery.value, delivery.count) == ("a", 2)
        delivery.done()
    with jobs.get_delivery() as delivery:
        delivery.put_aside(9)
    assert [(letter.value, letter.note) for letter in jobs.dead()] == [("b", 9)]


def die(jobs):
    held = jobs.get_delivery()
    assert held.count == 1
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_kills_its_worker_is_a_dead_letter(method):
    jobs = JoinableQueue(max_deliveries=1)
    jobs.put("poison")
    worker = method.Process(target=die, args=(jobs,))
    worker.start()
    worker.join(30)
    assert jobs.join(timeout=10)
    (letter,) = jobs.dead()
    assert (letter.value, letter.pid) == ("poison", worker.pid)


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
@pytest.mark.parametrize(("content", "value"), [(object, {"a": 1}), (bytes, b"\0raw"), (str, "grüße")])
def test_a_named_queue_is_opened_by_its_name(kind, content, value, name):
    made = kind.create(name, 5, content=content)
    again = kind.open(name, content=content)
    again.put(value)
    assert made.get(timeout=10) == value
    with pytest.raises(FileExistsError):
        kind.create(name, 5, content=content, exist_ok=False)
    multiproc.remove(name)
    with pytest.raises(FileNotFoundError):
        kind.open(name, content=content)
    with pytest.raises(FileNotFoundError):
        multiproc.remove(name)


def test_a_named_queue_of_texts_and_of_bytes_are_each_others(name):
    texts = Queue.create(name, content=str)
    raw = Queue.open(name, content=bytes)
    texts.put("ü")
    assert raw.get() == "ü".encode()
    raw.put(bytearray(b"abc"))
    assert texts.get() == "abc"
    with pytest.raises(ValueError, match="UTF-8"):
        raw.put(b"\xff")
    for wrong in (1, None, b"x"):
        with pytest.raises(TypeError, match="carries str"):
            texts.put(wrong)
    with pytest.raises(TypeError, match="carries bytes"):
        raw.put("x")


def test_a_queue_of_another_kind_is_refused(name):
    Queue.create(name)
    with pytest.raises(OSError):
        JoinableQueue.open(name)
    for wrong in ("", "a/b", "x" * 300):
        with pytest.raises(OSError):
            Queue.create(wrong)
    with pytest.raises(ValueError, match="content"):
        Queue.open(name, content=int)


def test_a_message_of_somebody_else_is_an_error(name):
    raw = Queue.create(name, content=bytes)
    objects = Queue.open(name)
    for message in (b"", b"\xff", b"\x03abc", b"\x08", b"\x08" + b"\xff" * 40, b"\x08" + b"\0" * 40, b"\x05\xff", b"\x07junk"):
        raw.put(message)
        with pytest.raises((ValueError, pickle.UnpicklingError, EOFError)):
            objects.get()
    assert raw.empty()


def test_iteration_ends_at_shutdown():
    there = Queue()
    there.put_many(range(3))
    there.shutdown()
    assert list(there) == [0, 1, 2]
    with pytest.raises(ShutDown):
        there.put_many([1])
