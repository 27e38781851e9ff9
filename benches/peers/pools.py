"""Seconds per task of multiprocessing.Pool or concurrent.futures.ProcessPoolExecutor.

Arguments: which of them and how (map, imap, apply, executor), the task (empty, 1, 100 or 10000 microseconds, large), workers, and how many tasks.
"""
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pool


def empty(n):
    return n


def spin(microseconds):
    end = time.perf_counter() + microseconds * 1e-6
    while time.perf_counter() < end:
        pass


def one(n):
    spin(1)
    return n


def hundred(n):
    spin(100)
    return n


def ten_thousand(n):
    spin(10_000)
    return n


def large(n):
    return bytes(65536)


TASKS = {"empty": empty, "1": one, "100": hundred, "10000": ten_thousand, "large": large}

if __name__ == "__main__":
    what, task, workers, n = sys.argv[1], TASKS[sys.argv[2]], int(sys.argv[3]), int(sys.argv[4])
    if what == "executor":
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(empty, range(100)))
            begin = time.perf_counter()
            for _ in pool.map(task, range(n)):
                pass
            print((time.perf_counter() - begin) / n)
    else:
        with Pool(workers) as pool:
            pool.map(empty, range(100))
            begin = time.perf_counter()
            if what == "map":
                pool.map(task, range(n))
            elif what == "apply":
                for result in [pool.apply_async(task, (i,)) for i in range(n)]:
                    result.get()
            else:
                for _ in pool.imap(task, range(n)):
                    pass
            print((time.perf_counter() - begin) / n)
