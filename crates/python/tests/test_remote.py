"""A work queue on a NATS server. The tests start one of their own, where ``NATS_SERVER`` names the program."""

import asyncio
import os
import queue
import signal
import socket
import subprocess
import threading
import time

import pytest

import multiproc
from multiproc import JoinableQueue, RemoteQueue, ShutDown

SERVER = os.environ.get("NATS_SERVER")
pytestmark = pytest.mark.skipif(not SERVER, reason="NATS_SERVER names no program")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = str(tmp_path_factory.mktemp("nats"))
    program = subprocess.Popen(
        [SERVER, "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"nats://127.0.0.1:{port}/"
    deadline = time.monotonic() + 30
    while True:
        try:
            JoinableQueue.connect(address + "first")
            break
        except ConnectionError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
    yield address
    program.kill()
    program.wait()


@pytest.fixture
def address(server, request):
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return server + name[:60]


def work(jobs, results):
    for number in jobs:
        results.put(number * number)
        jobs.task_done()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_every_start_method_do_what_was_put(address, method):
    context = multiproc.get_context(method)
    jobs, results = JoinableQueue.connect(address), context.Queue()
    for number in range(50):
        jobs.put(number)
    workers = [context.Process(target=work, args=(jobs, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert sorted(results.get(timeout=60) for _ in range(50)) == [number * number for number in range(50)]
    assert jobs.join(60) and jobs.unfinished() == 0
    jobs.shutdown()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


def hold(jobs, told):
    told.put(jobs.get())
    signal.pause()


def test_what_a_killed_worker_held_comes_back_with_a_raised_count(address):
    context = multiproc.get_context("fork")
    jobs, told = JoinableQueue.connect(address, lease=1), context.Queue()
    jobs.put({"report": 7})
    worker = context.Process(target=hold, args=(jobs, told))
    worker.start()
    assert told.get(timeout=60) == {"report": 7}
    worker.kill()
    worker.join()
    with jobs.get_delivery(timeout=60) as delivery:
        assert (delivery.value, delivery.count) == ({"report": 7}, 2)
    assert jobs.join(60)


def test_a_delivery_is_done_at_the_end_of_its_block_and_given_back_by_an_exception(address):
    jobs = JoinableQueue.connect(address)
    jobs.put("a")
    with pytest.raises(ZeroDivisionError), jobs.get_delivery(timeout=60):
        1 / 0
    with jobs.get_delivery(timeout=60) as delivery:
        assert (delivery.value, delivery.count) == ("a", 2)
    with pytest.raises(ValueError):
        delivery.done()
    assert jobs.unfinished() == 0


def test_full_empty_and_shut_down_are_those_of_the_queue_module(address):
    jobs = JoinableQueue.connect(address, maxsize=1)
    with pytest.raises(queue.Empty):
        jobs.get_nowait()
    begin = time.monotonic()
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.3)
    assert 0.3 <= time.monotonic() - begin < 20
    jobs.put(1)
    with pytest.raises(queue.Full):
        jobs.put_nowait(2)
    with pytest.raises(queue.Full):
        jobs.put(2, timeout=2)
    assert jobs.full() and jobs.get(timeout=60) == 1
    assert jobs.join(2) is False
    jobs.task_done()
    with pytest.raises(ValueError, match="too many times"):
        jobs.task_done()
    assert jobs.join() is None
    jobs.shutdown()
    with pytest.raises(ShutDown):
        jobs.put(3)
    with pytest.raises(ShutDown):
        jobs.get(timeout=60)
    assert list(jobs) == []


def test_a_value_that_is_never_done_becomes_a_dead_letter(address):
    jobs = JoinableQueue.connect(address, max_deliveries=2)
    jobs.put("poison")
    for _ in range(2):
        jobs.get_delivery(timeout=60).give_back()
    with pytest.raises(queue.Empty):
        jobs.get(timeout=0.5)
    assert jobs.dead_len() == 1
    (letter,) = jobs.dead()
    assert (letter.value, letter.count) == ("poison", 2)
    assert jobs.dead_len() == 0


def test_texts_and_bytes_are_those_of_other_programs_and_other_values_are_refused(address):
    texts = JoinableQueue.connect(address, content=str)
    texts.put("straße")
    with pytest.raises(TypeError):
        texts.put(7)
    assert JoinableQueue.connect(address, content=bytes).get(timeout=60) == "straße".encode()


def test_a_second_opening_that_asks_for_something_else_is_refused(address):
    JoinableQueue.connect(address, maxsize=5)
    JoinableQueue.connect(address)
    with pytest.raises(ValueError, match="5"):
        JoinableQueue.connect(address, maxsize=6)


def test_wrong_addresses_logins_and_arguments_say_so():
    with pytest.raises(ConnectionError, match="no NATS server answers"):
        JoinableQueue.connect("nats://127.0.0.1:1/jobs")
    with pytest.raises(ValueError):
        JoinableQueue.connect("jobs")
    with pytest.raises(OSError, match="no-such-file"):
        JoinableQueue.connect("nats://127.0.0.1:1/jobs", credentials_file="/no-such-file")
    with pytest.raises(TypeError, match="tokn"):
        JoinableQueue.connect("nats://127.0.0.1:1/jobs", tokn="x")
    with pytest.raises(ValueError):
        JoinableQueue.connect("nats://127.0.0.1:1/jobs", content=int)
    with pytest.raises(TypeError, match="connect"):
        RemoteQueue()


def test_ctrl_c_ends_a_wait(address):
    jobs = JoinableQueue.connect(address)
    # It is ignored in what a shell runs in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            jobs.get()
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_many_are_put_and_got_together(address):
    jobs = JoinableQueue.connect(address, maxsize=600)
    assert jobs.put_many({"n": n} for n in range(600)) == 600
    with pytest.raises(queue.Full) as full:
        jobs.put_many([1, 2], block=False)
    assert full.value.put == 0
    with pytest.raises(queue.Full) as full:
        jobs.put_many([1, 2], timeout=0.4)
    assert full.value.put == 0
    got = jobs.get_many(700)
    assert [value["n"] for value in got] == list(range(600))
    assert jobs.get_many(0) == []
    with pytest.raises(queue.Empty):
        jobs.get_many(5, block=False)
    for _ in got:
        jobs.task_done()
    with pytest.raises(Exception) as wrong:
        jobs.put_many([1, 2, lambda: 3])
    assert wrong.value.put == 2 and jobs.get_many(5) == [1, 2]


def test_a_waiting_put_many_gets_in_as_places_come_free(address):
    jobs = JoinableQueue.connect(address, maxsize=5)
    thread = threading.Thread(target=jobs.put_many, args=(range(50),))
    thread.start()
    got = []
    while len(got) < 50:
        got.append(jobs.get(timeout=30))
        jobs.task_done()
    thread.join()
    assert sorted(got) == list(range(50))


def test_asyncio_waits_without_a_thread(address):
    jobs = JoinableQueue.connect(address, maxsize=1)

    async def all_of_it():
        getter = asyncio.ensure_future(jobs.aget())
        await asyncio.sleep(0)
        await jobs.aput("a")
        assert await getter == "a"
        with pytest.raises(queue.Empty):
            await jobs.aget(timeout=0.2)
        cancelled = asyncio.ensure_future(jobs.aget())
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(queue.Full):
            await jobs.aput("b", timeout=0.2)
        jobs.task_done()
        await jobs.aput("c")
        with await jobs.aget_delivery(timeout=30) as delivery:
            assert (delivery.value, delivery.count) == ("c", 1)

    asyncio.run(all_of_it())
    assert jobs.join(30)
