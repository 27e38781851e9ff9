"""Measures this package beside ``multiprocessing`` and ``concurrent.futures``, in one run. Prints values per second and the ratio.

The parent gets what a forked child puts. The best of three rounds counts for each side.
"""

import concurrent.futures
import math
import multiprocessing
import time

import multiproc

FORK = multiprocessing.get_context("fork")


def produce(queue, value, count):
    for _ in range(count):
        queue.put(value)


def one_way(make, value, count):
    queue = make()
    child = FORK.Process(target=produce, args=(queue, value, count))
    begin = time.perf_counter()
    child.start()
    for _ in range(count):
        queue.get()
    rate = count / (time.perf_counter() - begin)
    child.join()
    return rate


def views(make, value, count):
    """As ``one_way``, and the arrays that come are views where that can be asked for."""
    queue = make()
    child = FORK.Process(target=produce, args=(queue, value, count))
    named = {"copy": False} if isinstance(queue, multiproc.Queue) else {}
    begin = time.perf_counter()
    child.start()
    for _ in range(count):
        queue.get(**named)
    rate = count / (time.perf_counter() - begin)
    child.join()
    return rate


def tasks(kind, _value, count):
    with kind(2, mp_context=FORK) as pool:
        pool.submit(math.sqrt, 1).result()
        begin = time.perf_counter()
        for future in [pool.submit(math.sqrt, 4) for _ in range(count)]:
            future.result()
        return count / (time.perf_counter() - begin)


def compare(name, run, ours, theirs, value, count):
    rounds = [(run(ours, value, count), run(theirs, value, count)) for _ in range(3)]
    us, them = (max(side) for side in zip(*rounds))
    print(f"{name:<28} {us:>12,.0f}/s {them:>12,.0f}/s {us / them:>6.1f} x", flush=True)


def main():
    print(f"{'':<28} {'multiproc':>14} {'Python':>14}")
    values = [
        ("int", 7, 100_000),
        ("dict of five fields", {"a": 1, "b": 2.5, "c": "text", "d": None, "e": True}, 50_000),
        ("bytes, 1 MiB", b"x" * (1 << 20), 300),
    ]
    try:
        import numpy
    except ImportError:
        print("no numpy here: no frames")
    else:
        values.append(("numpy frame, 1920x1080x3", numpy.zeros((1080, 1920, 3), numpy.uint8), 60))
    for name, value, count in values:
        compare(name, one_way, multiproc.Queue, FORK.Queue, value, count)
    for name, value, count in values[3:]:
        compare(f"{name}, view", views, multiproc.Queue, FORK.Queue, value, count)
    executors = multiproc.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor
    compare("executor, empty tasks", tasks, *executors, None, 5_000)


if __name__ == "__main__":
    main()
