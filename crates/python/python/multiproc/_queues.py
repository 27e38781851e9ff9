"""``Queue``, ``JoinableQueue`` and ``SimpleQueue`` with the interface of ``multiprocessing``."""

import contextlib
from multiprocessing import context, reduction
from queue import Empty, Full
from types import GenericAlias

# Here, though only a put uses it: a process that is forked while another thread imports waits for that import for ever.
from . import _pickle  # noqa: F401
from ._errors import ShutDown
from ._multiproc import RawQueue

__all__ = ["DeadLetter", "Delivery", "JoinableQueue", "Queue", "SimpleQueue"]

_CONTENTS = {object: "object", bytes: "bytes", str: "str"}


def _content(content):
    try:
        return _CONTENTS[content]
    except (KeyError, TypeError):
        raise ValueError(f"content is object, bytes or str, not {content!r}") from None


class _Base:
    """What the three kinds share: a handle, and its way to another process."""

    _joinable = False
    __class_getitem__ = classmethod(GenericAlias)  # type: ignore

    def _begin(self, raw, content):
        self._raw = raw
        self._content = content
        self._closed = False

    def __getstate__(self):
        context.assert_spawning(self)
        return self._state()

    def _state(self):
        travel, descriptor = self._raw.travel()
        return self._content, travel, reduction.DupFd(descriptor)

    def __setstate__(self, state):
        content, travel, descriptor = state
        self._begin(RawQueue.arrive(self._joinable, content, travel, descriptor.detach()), content)


def _timeout(block, timeout):
    return timeout if block else 0


class _Calls:
    """What a queue on this machine and one on a server have in common, by the other methods."""

    def put_nowait(self, obj):
        """Put an object if there is room now."""
        return self.put(obj, False)

    def get_nowait(self):
        """Get the oldest object if there is one now."""
        return self.get(False)

    def __iter__(self):
        """Iterate over the objects as ``get`` returns them, until the queue is shut down and drained."""
        while True:
            try:
                value = self.get()
            except ShutDown:
                return
            yield value


class _Work:
    """The same of queues that know which values are done."""

    def task_done(self):
        """Say that the value is done that this process got first of those in hand, whichever thread got it."""
        self._raw.task_done()

    def join(self, timeout=None):
        """Wait until every value that was put is done. With a ``timeout`` in seconds: return whether it is so."""
        joined = self._raw.join(timeout)
        return joined if timeout is not None else None

    def dead_len(self):
        """Return how many dead letters there are."""
        return self._raw.dead_len()

    def unfinished(self):
        """Return how many values were put and are not done."""
        return self._raw.unfinished()


class Queue(_Calls, _Base):
    """A queue of any objects between processes, as ``multiprocessing.Queue``.

    A value is in the queue when ``put`` returns: there is no feeder thread. A process that is killed at any moment neither blocks
    nor corrupts the queue for the others.
    """

    def __init__(self, maxsize=0, *, ctx=None, max_message=None):
        self._begin(RawQueue.create(self._joinable, maxsize, max_message=max_message), "object")

    @classmethod
    def create(cls, name, maxsize=0, *, content=object, exist_ok=True, max_message=None):
        """Make the queue of this name, or open it if it is there and ``exist_ok``.

        ``content``: ``object`` for anything; ``bytes`` or ``str`` for messages that Rust programs (``Vec<u8>``, ``String``) and
        the command ``multiproc`` read and write, too.
        """
        return cls._named(name, maxsize, content, exist_ok, max_message=max_message)

    @classmethod
    def _named(cls, name, maxsize, content, exist_ok, **more):
        content = _content(content)
        raw = RawQueue.create(cls._joinable, maxsize, content=content, name=name, exist_ok=exist_ok, **more)
        return cls._over(raw, content)

    @classmethod
    def open(cls, name, *, content=object):
        """Open the queue of this name, which another program made. ``content`` as in ``create``."""
        content = _content(content)
        return cls._over(RawQueue.open(cls._joinable, name, content), content)

    @classmethod
    def _over(cls, raw, content):
        self = cls.__new__(cls)
        self._begin(raw, content)
        return self

    @property
    def _maxsize(self):
        return self._raw.capacity() or 0

    def _check(self):
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")

    def put(self, obj, block=True, timeout=None):
        """Put an object; wait for room if ``block``, at most ``timeout`` seconds. Raises ``queue.Full``."""
        if self._closed:
            self._check()
        self._raw.put(obj, timeout if block else 0)

    def get(self, block=True, timeout=None, *, copy=True):
        """Get the oldest object; wait for one if ``block``, at most ``timeout`` seconds. Raises ``queue.Empty``.

        Without ``copy`` the large buffers of the object are views of the queue's memory that can only be read: an array is a read-only one,
        ``bytes`` come as a ``memoryview``. The memory is in use until they are gone in this process: a forked child must not use them. A
        ``JoinableQueue`` always copies.
        """
        if self._closed:
            self._check()
        if copy:
            return self._raw.get(timeout if block else 0)
        return self._raw.get(timeout if block else 0, False)

    async def aget(self, timeout=None):
        """Get the oldest object as ``get`` does, without keeping other tasks of ``asyncio`` from running.

        A task that is cancelled meanwhile has taken nothing.
        """
        from ._aio import finish

        try:
            return self.get(False)
        except Empty:
            return await finish(self._raw.pending_get(False), timeout, Empty)

    async def aput(self, obj, timeout=None):
        """Put an object as ``put`` does, without keeping other tasks of ``asyncio`` from running.

        A task that is cancelled meanwhile has put nothing.
        """
        from ._aio import finish

        try:
            self.put(obj, False)
        except (Full, MemoryError):
            await finish(self._raw.pending_put(obj), timeout, Full)

    def put_many(self, values, block=True, timeout=None):
        """Put all values in order and return their number. An exception has in ``put`` how many were put before it."""
        self._check()
        return self._raw.put_many(values, _timeout(block, timeout))

    def get_many(self, max, block=True, timeout=None):
        """Wait for one object, then return what is there, up to ``max``. An exception has in ``values`` what was got before it."""
        self._check()
        return self._raw.get_many(max, _timeout(block, timeout))

    def qsize(self):
        """Return how many objects wait."""
        return self._raw.qsize()

    def empty(self):
        """Return whether nothing waits in the queue. Raises ``OSError`` where CPython does: closed after something was put."""
        if self._closed and self._raw.was_used():
            raise OSError(f"Queue {self!r} is closed")
        return self._raw.empty()

    def full(self):
        """Return whether a put would have to wait."""
        return self._raw.full()

    def close(self):
        """End puts and gets through this handle in this process."""
        self._closed = True

    def join_thread(self):
        """Return at once: everything is in the queue when ``put`` returns. ``close`` comes first."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self):
        """Do nothing: no thread keeps this process from ending."""

    def shutdown(self, immediate=False):
        """End puts for every process. Gets drain what is left, then raise ``ShutDown``; with ``immediate`` nothing is left."""
        self._raw.shutdown()
        if immediate:
            self._drain()

    def _drain(self):
        with contextlib.suppress(Empty, ShutDown):
            while True:
                self._raw.skip()


class Delivery:
    """A value in hand. As a context manager: done at the end of the block, given back if the block raises."""

    __slots__ = ("_raw", "value")

    def __init__(self, raw):
        self._raw = raw
        try:
            self.value = raw.value()
        except BaseException:
            # It would come back for ever.
            raw.put_aside(0)
            raise

    @property
    def count(self):
        """Deliveries of this value so far, this one included."""
        return self._raw.count

    @property
    def id(self):
        """The id of the value, the same in all its deliveries."""
        return self._raw.id

    def done(self):
        """Say that the value is done."""
        self._raw.done()

    def give_back(self, note=None):
        """Give the value to another consumer, before new values."""
        self._raw.give_back(note)

    def put_aside(self, note=0):
        """Make the value a dead letter, however often it was delivered."""
        self._raw.put_aside(note)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._raw.is_open():
            if kind is None:
                self._raw.done()
            else:
                self._raw.give_back(None)


class DeadLetter:
    """A value that was put aside: delivered too often and never done."""

    __slots__ = ("count", "id", "note", "pid", "value")

    def __init__(self, value, count, id, pid, note):
        self.value = value
        #: How often it was delivered.
        self.count = count
        self.id = id
        #: The process that died with it in hand at last, if that ended its last delivery.
        self.pid = pid
        #: The note with which it was given back at last, else ``None``.
        self.note = note

    def __repr__(self):
        return f"DeadLetter(value={self.value!r}, count={self.count}, pid={self.pid}, note={self.note})"


class JoinableQueue(_Work, Queue):
    """A queue that knows which values are done, as ``multiprocessing.JoinableQueue``.

    What a killed process had got and not said to be done is delivered to another one.
    """

    _joinable = True

    def __init__(self, maxsize=0, *, ctx=None, max_message=None, max_deliveries=0):
        raw = RawQueue.create(True, maxsize, max_message=max_message, max_deliveries=max_deliveries)
        self._begin(raw, "object")

    @classmethod
    def create(cls, name, maxsize=0, *, content=object, exist_ok=True, max_message=None, max_deliveries=0):
        """As ``Queue.create``. A value that was delivered ``max_deliveries`` times and never done is put aside; 0: no limit."""
        return cls._named(name, maxsize, content, exist_ok, max_message=max_message, max_deliveries=max_deliveries)

    @staticmethod
    def connect(
        address,
        *,
        content=object,
        maxsize=0,
        max_deliveries=0,
        lease=None,
        prefetch=0,
        replicas=None,
        credentials_file=None,
        token_file=None,
        password_file=None,
        nkey_file=None,
        root_certificates=None,
        client_certificate=None,
    ):
        """Open the queue at ``nats://host:port/name`` as a ``RemoteQueue``, or make it. Workers on other machines open the same.

        ``content``, ``maxsize`` and ``max_deliveries`` as in ``create``. ``lease``: seconds after which a process that the server does not
        hear of loses what it has in hand (5). ``prefetch``: values fetched ahead (0). ``replicas``: servers of a cluster that keep each value
        (1). What is left out is as the server has it.

        A login is a file: ``credentials_file``, ``token_file``, ``nkey_file``, ``password_file=(user, path)``; encryption is by
        ``root_certificates`` and ``client_certificate=(certificate, key)``, files too.
        """
        choices = dict(locals())
        from ._remote import RemoteQueue

        return RemoteQueue._connect(choices.pop("address"), _content(choices.pop("content")), choices)

    def get_delivery(self, block=True, timeout=None):
        """Get the oldest value as a :class:`Delivery`."""
        self._check()
        return Delivery(self._raw.get_delivery(_timeout(block, timeout)))

    async def aget_delivery(self, timeout=None):
        """Get the oldest value as ``get_delivery`` does, without keeping other tasks of ``asyncio`` from running."""
        from ._aio import finish

        self._check()
        return Delivery(await finish(self._raw.pending_get(True), timeout, Empty))

    def dead(self):
        """Iterate over the dead letters. Each is out of the queue then."""
        while True:
            letter = self._raw.dead()
            if letter is None:
                return
            yield DeadLetter(*letter)


class SimpleQueue(_Base):
    """The queue with the fewest methods, as ``multiprocessing.SimpleQueue``. A put never waits for a reader."""

    def __init__(self, *, ctx=None):
        self._begin(RawQueue.create(False, 0), "object")

    def _check(self):
        if self._closed:
            raise OSError("handle is closed")

    def put(self, obj):
        """Put an object."""
        if self._closed:
            self._check()
        self._raw.put(obj, None)

    def empty(self):
        """Return whether nothing waits in the queue."""
        self._check()
        return self._raw.empty()

    def get(self):
        """Get the oldest object; wait while there is none."""
        if self._closed:
            self._check()
        return self._raw.get(None)

    def close(self):
        """End puts and gets through this handle in this process."""
        self._closed = True


def _rebuild(kind, state):
    queue = kind.__new__(kind)
    queue.__setstate__(state)
    return queue


def _reduce(queue):
    return _rebuild, (type(queue), queue._state())


for _kind in (Queue, JoinableQueue, SimpleQueue):
    # Only ForkingPickler asks this table: arguments of processes and connections. pickle asks __getstate__.
    reduction.ForkingPickler.register(_kind, _reduce)
