"""Workers of a ``JoinableQueue`` are killed at random times, with this package and with ``multiprocessing``. Says what became of the values.

Each worker writes the number of a value to a log before it says that the value is done. So a value that is not in the log was lost.
"""

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import time

import multiproc

FORK = multiprocessing.get_context("fork")
WORKERS = 4
# How long everything may stand still before the queue counts as stuck, in seconds.
PATIENCE = 10


def work(queue, log):
    while True:
        value = queue.get()
        os.write(log, f"{value}\n".encode())
        queue.task_done()


def storm(make, kills):
    """Return how many values were put, how many kills there were, and the log."""
    with tempfile.TemporaryFile() as file:
        queue, log = make(), file.fileno()
        start = lambda: FORK.Process(target=work, args=(queue, log), daemon=True)  # noqa: E731
        workers = [start() for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        put = killed = still = 0
        size, moved = 0, time.monotonic()
        while killed < kills and not still:
            for _ in range(200):
                queue.put(put)
                put += 1
            time.sleep(random.uniform(0.001, 0.01))
            index = random.randrange(WORKERS)
            os.kill(workers[index].pid, signal.SIGKILL)
            workers[index].join()
            workers[index] = start()
            workers[index].start()
            killed += 1
            if os.fstat(log).st_size != size:
                size, moved = os.fstat(log).st_size, time.monotonic()
            still = time.monotonic() - moved > PATIENCE
        # The workers finish what is left.
        done = time.monotonic()
        while time.monotonic() - done < PATIENCE:
            if os.fstat(log).st_size != size:
                size, done = os.fstat(log).st_size, time.monotonic()
            if os.pread(log, size, 0).count(b"\n") >= put and not multiproc_unfinished(queue):
                break
            time.sleep(0.05)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
        return put, killed, os.pread(log, os.fstat(log).st_size, 0).split()


def multiproc_unfinished(queue):
    return queue.unfinished() if isinstance(queue, multiproc.JoinableQueue) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    kills = parser.parse_args().kills
    print(f"{'':<16} {'kills':>8} {'values put':>12} {'lost or stuck':>14} {'done twice':>12}")
    for name, make in (("multiproc", multiproc.JoinableQueue), ("multiprocessing", FORK.JoinableQueue)):
        put, killed, log = storm(make, kills)
        print(f"{name:<16} {killed:>8,} {put:>12,} {put - len(set(log)):>14,} {len(log) - len(set(log)):>12,}", flush=True)
    # The thread of multiprocessing's queue may wait for ever for a lock of the dead.
    os._exit(0)


if __name__ == "__main__":
    main()
