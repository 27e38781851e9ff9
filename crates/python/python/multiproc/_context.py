"""A context of ``multiprocessing`` whose queues are those of this package."""

import multiprocessing
from multiprocessing.context import BaseContext

from ._queues import JoinableQueue, Queue, SimpleQueue


class Context(BaseContext):
    """A start method, with the queues of this package. All else is ``multiprocessing``'s."""

    def __init__(self, method=None):
        self._base = multiprocessing.get_context(method)
        self._name = self._base.get_start_method()
        # With no method given, the default context chooses. Its method is fixed from here on, as a concrete context's is.
        self._base = multiprocessing.get_context(self._name)

    @property
    def Process(self):
        """The class of processes that start by this context's method."""
        return self._base.Process

    def Queue(self, maxsize=0):
        """Return a queue."""
        return Queue(maxsize, ctx=self)

    def JoinableQueue(self, maxsize=0):
        """Return a queue that knows which values are done."""
        return JoinableQueue(maxsize, ctx=self)

    def SimpleQueue(self):
        """Return the queue with the fewest methods."""
        return SimpleQueue(ctx=self)

    def Pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        """Return a pool whose workers may die."""
        from ._pool import Pool

        return Pool(processes, initializer, initargs, maxtasksperchild, context=self)

    def get_context(self, method=None):
        """Return this context, or the one of another method."""
        return self if method in (None, self._name) else Context(method)

    def get_start_method(self, allow_none=False):
        """Return the name of the start method."""
        return self._name

    def set_start_method(self, method, force=False):
        """Refuse: a concrete context has one method."""
        raise ValueError("cannot set start method of concrete context")

    def __reduce__(self):
        return Context, (self._name,)

    def __repr__(self):
        return f"<multiproc context {self._name}>"


def get_context(method=None):
    """Return a context whose ``Queue``, ``JoinableQueue`` and ``SimpleQueue`` are those of this package."""
    return Context(method)
