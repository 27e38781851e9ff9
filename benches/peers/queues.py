"""Seconds per message of multiprocessing's Queue or Pipe, or of faster-fifo's Queue: one process puts, the other gets.

Arguments: which of them, how many messages, and how many bytes each has. Without the last one, messages are integers.
"""
import sys
import time
from multiprocessing import Pipe, Process, Queue


def messages(n, size):
    return range(n) if size is None else (bytes(size) for _ in range(n))


def put(q, n, size):
    for message in messages(n, size):
        q.put(message)


def send(conn, n, size):
    for message in messages(n, size):
        conn.send(message)


if __name__ == "__main__":
    what, n = sys.argv[1], int(sys.argv[2])
    size = int(sys.argv[3]) if len(sys.argv) > 3 else None
    if what == "Queue":
        q = Queue(1024)
        process, get = Process(target=put, args=(q, n, size)), q.get
    elif what == "faster_fifo":
        from faster_fifo import Queue as FasterQueue

        q = FasterQueue(64 * 1024)
        process, get = Process(target=put, args=(q, n, size)), q.get
    else:
        ours, theirs = Pipe(duplex=False)
        process, get = Process(target=send, args=(theirs, n, size)), ours.recv
    process.start()
    get()
    begin = time.perf_counter()
    for _ in range(n - 1):
        get()
    print((time.perf_counter() - begin) / (n - 1))
    process.join()
