"""Seconds per message of multiprocessing's Queue or Pipe, or of faster-fifo's Queue: one process puts, the other gets.

Arguments: which of them, how many messages, and their kind: int, dict (of five), or str or bytes with a size.
"""
import sys
import time
from multiprocessing import Pipe, Process, Queue

MAKE = {
    "int": lambda i, size: i,
    "dict": lambda i, size: {"number": i, "price": i * 0.25, "article": "a lamp", "parts": i, "customer": i + 7},
    "str": lambda i, size: str(i).zfill(size),
    "bytes": lambda i, size: bytes(size),
}


def put(put_one, n, make, size):
    make = MAKE[make]
    for i in range(n):
        put_one(make(i, size))


if __name__ == "__main__":
    what, n, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    size = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    if what == "Queue":
        # As many as a queue of ours has room for.
        q = Queue(1024 if size < 1 << 20 else 4)
        put_one, get = q.put, q.get
    elif what == "faster_fifo":
        from faster_fifo import Queue as FasterQueue

        q = FasterQueue(64 * 1024)
        put_one, get = q.put, q.get
    else:
        ours, theirs = Pipe(duplex=False)
        put_one, get = theirs.send, ours.recv
    process = Process(target=put, args=(put_one, n, kind, size))
    process.start()
    get()
    begin = time.perf_counter()
    for _ in range(n - 1):
        get()
    print((time.perf_counter() - begin) / (n - 1))
    process.join()
