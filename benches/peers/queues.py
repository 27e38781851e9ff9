"""Seconds per message of multiprocessing's Queue or Pipe, or of faster-fifo's Queue: one process puts, the other gets."""
import sys
import time
from multiprocessing import Pipe, Process, Queue


def put(q, n):
    for i in range(n):
        q.put(i)


def send(conn, n):
    for i in range(n):
        conn.send(i)


if __name__ == "__main__":
    what, n = sys.argv[1], int(sys.argv[2])
    if what == "Queue":
        q = Queue(1024)
        process, get = Process(target=put, args=(q, n)), q.get
    elif what == "faster_fifo":
        from faster_fifo import Queue as FasterQueue

        q = FasterQueue(64 * 1024)
        process, get = Process(target=put, args=(q, n)), q.get
    else:
        ours, theirs = Pipe(duplex=False)
        process, get = Process(target=send, args=(theirs, n)), ours.recv
    process.start()
    get()
    begin = time.perf_counter()
    for _ in range(n - 1):
        get()
    print((time.perf_counter() - begin) / (n - 1))
    process.join()
