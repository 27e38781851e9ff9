"""``multiprocessing.Pool``'s interface over the workers of :class:`ProcessPoolExecutor`."""

import contextlib
import itertools
import sys
import threading
import time
import traceback
import warnings
from functools import partial
from multiprocessing import TimeoutError
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback
from types import GenericAlias

from ._executor import ProcessPoolExecutor, chunks_of, processors

__all__ = ["AsyncResult", "Pool"]

# Chunks that an imap has handed to the workers and that are not done, for each worker: its input may have no end. As in CPython, results
# that nobody takes are kept.
_AHEAD = 128

_RUN, _CLOSE, _TERMINATE = "RUN", "CLOSE", "TERMINATE"


def _apply(function, arguments):
    return [function(argument) for argument in arguments]


def _apply_star(function, arguments):
    return [function(*each) for each in arguments]


class AsyncResult:
    """What will come of ``apply_async``, ``map_async`` or ``starmap_async``."""

    __class_getitem__ = classmethod(GenericAlias)  # type: ignore

    def __init__(self, pool, count, join, callback, error_callback):
        # The pool lives as long as something is to come of it.
        self._pool = pool
        self._join = join
        self._values = [None] * count
        self._left = count
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._error = None
        self._value = None
        self._callbacks = callback, error_callback
        if count == 0:
            # As CPython's, which calls nobody then.
            self._callbacks = None, None
            self._finish()

    def _set(self, index, future):
        try:
            self._values[index] = future.result()
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
        with self._lock:
            self._left -= 1
            is_last = self._left == 0
        if is_last:
            self._finish()

    def _finish(self):
        if self._error is None:
            self._value = self._join(self._values)
        callback, error_callback = self._callbacks
        call, told = (callback, self._value) if self._error is None else (error_callback, self._error)
        try:
            if call is not None:
                call(told)
        except Exception:
            traceback.print_exc()
        self._values = self._pool = self._callbacks = None
        self._event.set()

    def ready(self):
        """Return whether it is there."""
        return self._event.is_set()

    def successful(self):
        """Return whether it is there without an exception. Raises ``ValueError`` if it is not there."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout=None):
        """Wait until it is there, at most ``timeout`` seconds."""
        self._event.wait(timeout)

    def get(self, timeout=None):
        """Wait as ``wait`` does and return it, or raise its exception. Raises ``multiprocessing.TimeoutError``."""
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value


class _Results:
    """The iterator of an imap: results come while a thread hands out the input."""

    def __init__(self, pool, ordered):
        self._pool = pool
        self._ordered = ordered
        self._changed = threading.Condition()
        self._done = {}
        self._next = 0
        self._number = None
        self._chunk = []
        self._room = threading.Semaphore(_AHEAD * pool._processes)

    def _feed(self, pool, call, function, chunks):
        number = 0
        try:
            for chunk in chunks:
                self._room.acquire()
                pool._submit(call, function, chunk).add_done_callback(partial(self._set, number))
                number += 1
        except BaseException as error:  # The input raises, or the pool has ended.
            self._put(number, None, error)
            number += 1
        finally:
            with self._changed:
                self._number = number
                self._changed.notify_all()
            pool._fed()

    def _set(self, index, future):
        self._room.release()
        try:
            self._put(index, future.result(), None)
        except BaseException as error:
            self._put(index, None, error)

    def _put(self, index, values, error):
        with self._changed:
            self._done[index if self._ordered else len(self._done) + self._next] = values, error
            self._changed.notify_all()

    def __iter__(self):
        return self

    def next(self, timeout=None):
        """Return the next result, or raise its exception. Raises ``multiprocessing.TimeoutError``."""
        while not self._chunk:
            values, error = self._take(timeout)
            if error is not None:
                raise error
            self._chunk = values[::-1]
        return self._chunk.pop()

    __next__ = next

    def _take(self, timeout):
        with self._changed:
            self._changed.wait_for(lambda: self._next in self._done or self._next == self._number, timeout)
            if self._next == self._number:
                self._pool = None
                raise StopIteration
            if self._next not in self._done:
                raise TimeoutError
            done = self._done.pop(self._next)
            self._next += 1
            return done


class Pool:
    """``multiprocessing.Pool`` that survives its workers.

    A killed worker fails only the task that it was in, with :class:`WorkerDied`, and is replaced. With ``retries`` such a task is tried
    again up to that many times.
    """

    def __init__(
        self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None, *, retries=0
    ):
        if processes is None:
            processes = processors()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        self._processes = processes
        self._state = _RUN
        self._lock = threading.Lock()
        self._feeding = 0
        self._executor = ProcessPoolExecutor(
            processes, context, initializer, initargs, max_tasks_per_child=maxtasksperchild, retries=retries
        )
        # The workers end when nobody can reach the pool any more.
        self._executor._shared.begin_for_pool(MaybeEncodingError, RemoteTraceback)

    @property
    def _pool(self):
        # Private, and used all the same.
        return list(self._executor._processes.values())

    def _check_running(self):
        if self._state != _RUN:
            raise ValueError("Pool not running")

    def _submit(self, call, function, arguments):
        return self._executor.submit(call, function, arguments)

    def apply(self, func, args=(), kwds=None):
        """Call ``func(*args, **kwds)`` in a worker and return its result."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds=None, callback=None, error_callback=None):
        """Call ``func(*args, **kwds)`` in a worker; return an :class:`AsyncResult`."""
        self._check_running()
        result = AsyncResult(self, 1, lambda values: values[0], callback, error_callback)
        self._executor.submit(func, *args, **(kwds or {})).add_done_callback(partial(result._set, 0))
        return result

    def map(self, func, iterable, chunksize=None):
        """Return the list of ``func(x)`` for each ``x``. A worker gets ``chunksize`` of them at a time."""
        return self.map_async(func, iterable, chunksize).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """As ``map``; return an :class:`AsyncResult`."""
        return self._map(_apply, func, iterable, chunksize, callback, error_callback)

    def starmap(self, func, iterable, chunksize=None):
        """Return the list of ``func(*arguments)`` for each ``arguments``."""
        return self.starmap_async(func, iterable, chunksize).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """As ``starmap``; return an :class:`AsyncResult`."""
        return self._map(_apply_star, func, iterable, chunksize, callback, error_callback)

    def _map(self, call, func, iterable, chunksize, callback, error_callback):
        self._check_running()
        values = iterable if hasattr(iterable, "__len__") else list(iterable)
        if chunksize is None:
            chunksize = max(1, -(-len(values) // (self._processes * 4)))
        _check_chunksize(chunksize)
        chunks = list(chunks_of(values, chunksize))
        result = AsyncResult(self, len(chunks), lambda done: [*itertools.chain(*done)], callback, error_callback)
        for index, chunk in enumerate(chunks):
            self._submit(call, func, chunk).add_done_callback(partial(result._set, index))
        return result

    def imap(self, func, iterable, chunksize=1):
        """Return an iterator over ``func(x)`` for each ``x``, in order. Its ``next`` takes a time-out."""
        return self._imap(func, iterable, chunksize, True)

    def imap_unordered(self, func, iterable, chunksize=1):
        """As ``imap``, in the order in which results come."""
        return self._imap(func, iterable, chunksize, False)

    def _imap(self, func, iterable, chunksize, ordered):
        self._check_running()
        _check_chunksize(chunksize)
        results = _Results(self, ordered)
        chunks = chunks_of(iterable, chunksize)
        feeder = threading.Thread(target=results._feed, args=(self, _apply, func, chunks), name="multiproc-feed", daemon=True)
        with self._lock:
            self._feeding += 1
        try:
            feeder.start()
        except BaseException:
            self._fed()
            raise
        return results

    def _fed(self):
        """An imap has handed out its whole input."""
        with self._lock:
            self._feeding -= 1
        self._end_if_over()

    def _end_if_over(self):
        with self._lock:
            is_over = self._state != _RUN and self._feeding == 0
        if is_over:
            self._executor._shared.end()

    def close(self):
        """Take no more work. The workers end when all is done."""
        if self._state == _RUN:
            self._state = _CLOSE
        self._end_if_over()

    def terminate(self):
        """End the workers now. What is not done fails."""
        self._state = _TERMINATE
        self._executor._shared.terminate()

    def join(self):
        """Wait until the workers have ended; ``close`` or ``terminate`` comes first."""
        if self._state == _RUN:
            raise ValueError("Pool is still running")
        while self._state == _CLOSE and self._feeding:
            time.sleep(0.005)
        self._executor.shutdown()

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, kind, error, trace):
        self.terminate()

    def __del__(self, _warn=warnings.warn, _finalizing=sys.is_finalizing):
        if getattr(self, "_state", None) == _RUN and not _finalizing():
            with contextlib.suppress(Exception):
                _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def __repr__(self):
        return f"<multiproc.Pool state={self._state} pool_size={self._processes}>"


def _check_chunksize(chunksize):
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
