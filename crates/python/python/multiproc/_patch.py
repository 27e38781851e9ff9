"""``multiprocessing`` with the classes of this package, for programs that can't be changed."""

import concurrent.futures
import copy
import multiprocessing
from multiprocessing import context, forkserver, managers, queues, spawn

from ._executor import ProcessPoolExecutor
from ._pool import Pool
from ._queues import JoinableQueue, Queue, SimpleQueue

_KINDS = {"Queue": Queue, "JoinableQueue": JoinableQueue, "SimpleQueue": SimpleQueue}
_PATCHED_CHILD = "import multiproc.patched; from multiprocessing.spawn import spawn_main"
_CHILD = "from multiprocessing.spawn import spawn_main"
_command_line = spawn.get_command_line
_their_queue = queues.SimpleQueue
# Where a process that is spawned finds it, once its own name is another class's.
_their_queue.__module__, _their_queue.__qualname__ = __name__, "_their_queue"


def patch():
    """Replace ``multiprocessing``'s ``Queue``, ``JoinableQueue``, ``SimpleQueue`` and ``Pool``, and the ``ProcessPoolExecutor`` of
    ``concurrent.futures``, with those of this package.

    It reaches names that are looked up from then on, in this process and those that it starts: call it first.
    """
    for name, kind in _KINDS.items():
        setattr(queues, name, kind)
        setattr(context.BaseContext, name, _maker(kind))
        setattr(multiprocessing, name, _maker(kind).__get__(multiprocessing.context._default_context))
    context.BaseContext.Pool = _pool
    multiprocessing.Pool = _pool.__get__(multiprocessing.context._default_context)
    managers.SyncManager.register("Pool", Pool, managers.PoolProxy)
    # multiprocessing.pool.Pool stays: ThreadPool is made of it, over queues of its own kind.
    multiprocessing.pool.get_context = _with_their_queue
    concurrent.futures.ProcessPoolExecutor = concurrent.futures.process.ProcessPoolExecutor = ProcessPoolExecutor
    spawn.get_command_line = _patched_command_line
    server = forkserver._forkserver
    if "multiproc.patched" not in server._preload_modules:
        server.set_forkserver_preload(["multiproc.patched", *server._preload_modules])


def _with_their_queue():
    theirs = copy.copy(multiprocessing.get_context())
    theirs.SimpleQueue = lambda: _their_queue(ctx=theirs)
    return theirs


def _maker(kind):
    def make(self, *arguments, **named):
        return kind(*arguments, ctx=self.get_context(), **named)

    make.__name__ = kind.__name__
    make.__doc__ = kind.__doc__
    return make


def _pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
    """Return a pool whose workers may die."""
    return Pool(processes, initializer, initargs, maxtasksperchild, context=self.get_context())


def _patched_command_line(**named):
    # The interpreter's path may be bytes.
    return [part.replace(_CHILD, _PATCHED_CHILD) if isinstance(part, str) else part for part in _command_line(**named)]
