"""Measures this package beside ``multiprocessing``, ``concurrent.futures``, and faster-fifo and PyTorch where they are installed.

All in one run: values per second, and ours divided by the peer's. A forked child puts, and the parent counts from the first value that
it gets to the last. The best of three rounds counts for each side. Large values go through queues with room for four.
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

    def peers(value, count, room):
        yield "multiprocessing", functools.partial(one_way, functools.partial(FORK.Queue, room), value, count)
        if faster_fifo:
            make = functools.partial(faster_fifo.Queue, max_size_bytes=64 << 20)
            yield "faster-fifo", functools.partial(one_way, make, value, count)

    def ours(value, count, room, **named):
        return functools.partial(one_way, functools.partial(multiproc.Queue, room), value, count, **named)

    values = [
        ("int", 7, 300_000, 0),
        ("dict of five fields", {"a": 1, "b": 2.5, "c": "text", "d": None, "e": True}, 200_000, 0),
        ("bytes, 1 MiB", b"x" * (1 << 20), 1_000, 4),
    ]
    for name, *rest in values:
        compare(name, ours(*rest), [*peers(*rest)])
    if numpy:
        name, rest = "numpy frame, 1920x1080x3", (numpy.zeros((1080, 1920, 3), numpy.uint8), 300, 4)
        theirs = [*peers(*rest)]
        if torch:
            make = functools.partial(torch.multiprocessing.get_context("fork").Queue, 4)
            theirs.append(("torch, a tensor", functools.partial(one_way, make, torch.from_numpy(rest[0]), 300)))
        compare(name, ours(*rest), theirs)
        compare(f"{name}, view", ours(*rest, copy=False), theirs)
    executors = multiproc.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor
    run, theirs = (functools.partial(tasks, kind, 10_000) for kind in executors)
    compare("executor, empty tasks", run, [("concurrent.futures", theirs)])


if __name__ == "__main__":
    main()
