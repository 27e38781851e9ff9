"""Measures this package beside ``multiprocessing``, ``concurrent.futures``, and faster-fifo and PyTorch where they are installed.

All in one run: values per second, and ours divided by the peer's. A forked child puts, and the parent counts from the first value that
it gets to the last. The best of three rounds counts for each side.
"""

import concurrent.futures
import functools
import importlib
import math
import multiprocessing
import time

import multiproc

FORK = multiprocessing.get_context("fork")
ROUNDS = 3


def installed(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"no {name} here")
        return None


def produce(queue, value, count, all_there):
    # A tensor that was sent once is in shared memory from then on: each needs to be a new one.
    new = getattr(value, "clone", lambda: value)
    for _ in range(count):
        queue.put(new())
    # And its memory comes from this process.
    all_there.wait()


def one_way(make, value, count, **named):
    """Values per second; ``named`` are arguments of ``get``."""
    queue, all_there = make(), FORK.Event()
    child = FORK.Process(target=produce, args=(queue, value, count, all_there))
    child.start()
    queue.get()
    begin = time.perf_counter()
    for _ in range(count - 1):
        queue.get(**named)
    rate = (count - 1) / (time.perf_counter() - begin)
    all_there.set()
    child.join()
    return rate


def tasks(kind, count):
    """Empty tasks per second."""
    with kind(2, mp_context=FORK) as pool:
        pool.submit(math.sqrt, 1).result()
        begin = time.perf_counter()
        for future in [pool.submit(math.sqrt, 4) for _ in range(count)]:
            future.result()
        return count / (time.perf_counter() - begin)


def compare(name, ours, peers):
    """Run each side in turn. ``peers``: pairs of a name and a function that returns a rate."""
    sides = [ours, *(run for _, run in peers)]
    us, *them = (max(rates) for rates in zip(*([run() for run in sides] for _ in range(ROUNDS))))
    for (peer, _), rate in zip(peers, them):
        print(f"{name:<30} {us:>12,.0f}/s  {peer:<20} {rate:>12,.0f}/s {us / rate:>6.1f} x", flush=True)


def main():
    faster_fifo, numpy, torch = installed("faster_fifo"), installed("numpy"), installed("torch")

    def peers(value, count):
        yield "multiprocessing", functools.partial(one_way, FORK.Queue, value, count)
        if faster_fifo:
            make = functools.partial(faster_fifo.Queue, max_size_bytes=64 << 20)
            yield "faster-fifo", functools.partial(one_way, make, value, count)

    values = [
        ("int", 7, 300_000),
        ("dict of five fields", {"a": 1, "b": 2.5, "c": "text", "d": None, "e": True}, 200_000),
        ("bytes, 1 MiB", b"x" * (1 << 20), 1_000),
    ]
    for name, value, count in values:
        compare(name, functools.partial(one_way, multiproc.Queue, value, count), [*peers(value, count)])
    if numpy:
        name, frame, count = "numpy frame, 1920x1080x3", numpy.zeros((1080, 1920, 3), numpy.uint8), 300
        theirs = [*peers(frame, count)]
        if torch:
            tensor = torch.from_numpy(frame)
            theirs.append(("torch, a tensor", functools.partial(one_way, torch.multiprocessing.get_context("fork").Queue, tensor, count)))
        compare(name, functools.partial(one_way, multiproc.Queue, frame, count), theirs)
        compare(f"{name}, view", functools.partial(one_way, multiproc.Queue, frame, count, copy=False), theirs)
    executors = multiproc.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor
    ours, theirs = (functools.partial(tasks, kind, 10_000) for kind in executors)
    compare("executor, empty tasks", ours, [("concurrent.futures", theirs)])


if __name__ == "__main__":
    main()
