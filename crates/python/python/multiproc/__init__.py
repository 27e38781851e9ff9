"""``multiprocessing``'s queues on shared memory: faster, and they survive ``kill -9``.

What this package does not have of its own is ``multiprocessing``'s: ``multiproc.Process`` is ``multiprocessing.Process``.
"""

import importlib as _importlib
import multiprocessing as _multiprocessing
from queue import Empty, Full

from ._context import Context, get_context
from ._errors import ShutDown
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
    "Pool",
    "ProcessPoolExecutor",
    "Queue",
    "RemoteQueue",
    "ShutDown",
    "SimpleQueue",
    "WorkerDied",
    "get_context",
    "patch",
    "remove",
]


# Imported when they are first asked for: they need modules that take most of the time of an import.
_LATER = {
    "Connection": "multiprocessing.connection",
    "Pipe": "multiprocessing.connection",
    "Pool": "multiproc._pool",
    "ProcessPoolExecutor": "multiproc._executor",
    "RemoteQueue": "multiproc._remote",
    "WorkerDied": "multiproc._executor",
    "patch": "multiproc._patch",
}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.connection import Connection, Pipe

    from ._executor import ProcessPoolExecutor, WorkerDied
    from ._patch import patch
    from ._pool import Pool
    from ._remote import RemoteQueue


def __getattr__(name):
    if name in _LATER:
        found = getattr(_importlib.import_module(_LATER[name]), name)
        globals()[name] = found
        return found
    if name in _multiprocessing.__all__:
        return getattr(_multiprocessing, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATER, *_multiprocessing.__all__})
