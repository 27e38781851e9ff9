"""``multiprocessing``'s queues on shared memory: faster, and they survive ``kill -9``."""

from queue import Empty, Full

from ._errors import ShutDown
from ._multiproc import remove
from ._queues import DeadLetter, Delivery, JoinableQueue, Queue, SimpleQueue

__version__ = "0.1.0"

__all__ = [
    "DeadLetter",
    "Delivery",
    "Empty",
    "Full",
    "JoinableQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
    "remove",
]
