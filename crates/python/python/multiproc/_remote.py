"""``RemoteQueue``: a work queue on a NATS server, past one machine."""

from multiprocessing import context
from queue import Empty, Full

from ._multiproc import RawRemote
from ._queues import DeadLetter, Delivery, _Calls, _timeout, _Work

__all__ = ["RemoteDelivery", "RemoteQueue"]


class RemoteDelivery(Delivery):
    """A value in hand that a server keeps. As a context manager: done at the end of the block, given back if the block raises."""

    __slots__ = ()

    def give_back(self, delay=0.0):
        """Give the value to another consumer, ``delay`` seconds from now."""
        self._raw.give_back(delay)

    def put_aside(self):
        """Make the value a dead letter, however often it was delivered."""
        self._raw.put_aside(0)


class RemoteQueue(_Work, _Calls):
    """A work queue on a NATS server. ``JoinableQueue.connect`` makes one; its methods are those of ``JoinableQueue``.

    The promise is another: a process that the server does not hear of for a lease loses what it had in hand, and another one gets it.
    So each value is done at least once, and ``done`` and ``task_done`` raise ``ConnectionError`` where it is done twice. Each call asks
    the server, and raises ``ConnectionError`` or ``TimeoutError`` where that fails.
    """

    def __init__(self):
        raise TypeError("JoinableQueue.connect(address) opens a queue on a server")

    @classmethod
    def _connect(cls, address, content, choices):
        self = cls.__new__(cls)
        self._content = content
        self._raw = RawRemote.connect(address, content, choices)
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

    def get_delivery(self, block=True, timeout=None):
        """Get the oldest value as a :class:`RemoteDelivery`."""
        return RemoteDelivery(self._raw.get_delivery(_timeout(block, timeout)))

    def put_many(self, values, block=True, timeout=None):
        """Put all values and return their number, 256 of them on their way to the server at once.

        An exception has in ``put`` how many were put. More than one can be on its way, so that values after the one that failed may be
        among them, and after a ``TimeoutError`` some more.
        """
        return self._raw.put_many(values, _timeout(block, timeout))

    def get_many(self, max, block=True, timeout=None):
        """Wait for one object, then return what is there, up to ``max``. An exception has in ``values`` what was got before it."""
        return self._raw.get_many(max, _timeout(block, timeout))

    async def aput(self, obj, timeout=None):
        """Put an object as ``put`` does, without keeping other tasks of ``asyncio`` from running.

        A task that is cancelled meanwhile may have put it.
        """
        from ._aio import finish

        await finish(self._raw.pending_put(obj, timeout), None, Full)

    async def aget(self, timeout=None):
        """Get the oldest object as ``get`` does, without keeping other tasks of ``asyncio`` from running.

        A task that is cancelled meanwhile has taken nothing.
        """
        from ._aio import finish

        return await finish(self._raw.pending_get(False, timeout), None, Empty)

    async def aget_delivery(self, timeout=None):
        """Get the oldest value as ``get_delivery`` does, without keeping other tasks of ``asyncio`` from running.

        To be done with it asks the server: ``await asyncio.to_thread(delivery.done)`` lets other tasks run meanwhile.
        """
        from ._aio import finish

        return RemoteDelivery(await finish(self._raw.pending_get(True, timeout), None, Empty))

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

    def dead(self):
        """Iterate over the dead letters. Each is off the server then."""
        while True:
            letter = self._raw.dead()
            if letter is None:
                return
            yield DeadLetter(*letter, None, None)

    def shutdown(self):
        """End puts for every process, for good. Gets drain what is left, then raise ``ShutDown``."""
        self._raw.shutdown()
