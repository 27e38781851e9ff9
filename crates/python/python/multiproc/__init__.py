"""``multiprocessing``'s queues on shared memory: faster, and they survive ``kill -9``.

What this package does not have of its own is ``multiprocessing``'s: ``multiproc.Process`` is ``multiprocessing.Process``.
"""

import multiprocessing as _multiprocessing
from multiprocessing.connection import Connection, Pipe
from queue import Empty, Full

from ._context import Context, get_context
from ._errors import ShutDown
from ._executor import ProcessPoolExecutor, WorkerDied
from ._multiproc import remove
from ._queues import DeadLetter, Delivery, JoinableQueue, Queue, SimpleQueue

__version__ = "0.1.0"

__all__ = [
    "Connection",
    "Context",
    "DeadLetter",
    "Delivery",
    "Empty",
    "Full",
    "JoinableQueue",
    "Pipe",
    "ProcessPoolExecutor",
    "Queue",
    "ShutDown",
    "SimpleQueue",
    "WorkerDied",
    "get_context",
    "remove",
]


def __getattr__(name):
    if name in _multiprocessing.__all__:
        return getattr(_multiprocessing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_multiprocessing.__all__})
