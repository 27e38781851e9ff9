"""``RemoteQueue``: a work queue on a NATS server, past one machine."""

from multiprocessing import context

from ._errors import ShutDown
from ._multiproc import RawRemote
from ._queues import DeadLetter, Delivery, _content, _timeout

__all__ = ["RemoteDelivery", "RemoteQueue", "connect"]


def connect(address, *, content=object, maxsize=0, max_deliveries=0, lease=None, prefetch=0, replicas=None, **login):
    """Open the queue at an address, or make it: see ``JoinableQueue.connect``."""
    choices = {
        "maxsize": maxsize,
        "max_deliveries": max_deliveries,
        "lease": lease,
        "prefetch": prefetch,
        "replicas": replicas,
        **dict.fromkeys(_LOGIN),
    }
    for name, value in login.items():
        if name not in _LOGIN:
            raise TypeError(f"connect() got an unexpected keyword argument {name!r}")
        choices[name] = value
    content = _content(content)
    return RemoteQueue._over(RawRemote.connect(address, content, choices), content)


_LOGIN = ("credentials_file", "token_file", "password_file", "nkey_file", "root_certificates", "client_certificate")


class RemoteDelivery(Delivery):
    """A value in hand that a server keeps. As a context manager: done at the end of the block, given back if the block raises."""

    __slots__ = ()

    def give_back(self, delay=0.0):
        """Give the value to another consumer, ``delay`` seconds from now."""
        self._raw.give_back(delay)

    def put_aside(self):
        """Make the value a dead letter, however often it was delivered."""
        self._raw.put_aside(0)


class RemoteQueue:
    """A work queue on a NATS server. ``JoinableQueue.connect`` makes one; its methods are those of ``JoinableQueue``.

    The promise is another: a process that the server does not hear of for a lease loses what it had in hand, and another one gets it.
    So each value is done at least once, and ``done`` and ``task_done`` raise ``ConnectionError`` where it is done twice. Each call asks
    the server, and raises ``ConnectionError`` or ``TimeoutError`` where that fails.
    """

    def __init__(self):
        raise TypeError("JoinableQueue.connect(address) opens a queue on a server")

    @classmethod
    def _over(cls, raw, content):
        self = cls.__new__(cls)
        self._raw = raw
        self._content = content
        return self

    def __getstate__(self):
        context.assert_spawning(self)
        return self._content, self._raw.travel()

    def __setstate__(self, state):
        self._content, travel = state
        self._raw = RawRemote.arrive(self._content, travel)

    def __repr__(self):
        return f"<RemoteQueue {self._raw.address()}>"

    def put(self, obj, block=True, timeout=None):
        """Put an object, which the server has when this returns; wait for room if ``block``. Raises ``queue.Full``."""
        self._raw.put(obj, _timeout(block, timeout))

    def get(self, block=True, timeout=None):
        """Get the oldest object; wait for one if ``block``, at most ``timeout`` seconds. Raises ``queue.Empty``."""
        return self._raw.get(_timeout(block, timeout))

    def put_nowait(self, obj):
        """Put an object if there is room now."""
        return self.put(obj, False)

    def get_nowait(self):
        """Get the oldest object if there is one now."""
        return self.get(False)

    def get_delivery(self, block=True, timeout=None):
        """Get the oldest value as a :class:`RemoteDelivery`."""
        return RemoteDelivery(self._raw.get_delivery(_timeout(block, timeout)))

    def task_done(self):
        """Say that the value is done that this process got first of those in hand, whichever thread got it."""
        self._raw.task_done()

    def join(self, timeout=None):
        """Wait until every value that was put is done. With a ``timeout`` in seconds: return whether it is so."""
        joined = self._raw.join(timeout)
        return joined if timeout is not None else None

    def qsize(self):
        """Return how many values wait, about."""
        return self._raw.qsize()

    def empty(self):
        """Return whether nothing waits."""
        return self._raw.qsize() == 0

    def full(self):
        """Return whether a put would have to wait."""
        most = self._raw.capacity()
        return most is not None and self._raw.unfinished() >= most

    def unfinished(self):
        """Return how many values were put and are not done."""
        return self._raw.unfinished()

    def dead(self):
        """Iterate over the dead letters. Each is off the server then."""
        while True:
            letter = self._raw.dead()
            if letter is None:
                return
            yield DeadLetter(*letter, None, None)

    def dead_len(self):
        """Return how many dead letters there are."""
        return self._raw.dead_len()

    def shutdown(self):
        """End puts for every process, for good. Gets drain what is left, then raise ``ShutDown``."""
        self._raw.shutdown()

    def __iter__(self):
        """Iterate over the objects as ``get`` returns them, until the queue is shut down and drained."""
        while True:
            try:
                value = self.get()
            except ShutDown:
                return
            yield value
