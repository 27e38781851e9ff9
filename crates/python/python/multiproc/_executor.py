"""A pool of processes that goes on when a worker is killed.

Each worker has a thread of the parent, an inbox and an outbox. The thread knows which tasks its worker has. When the worker dies, the
task that it had begun fails, and the others go to another worker.
"""

import atexit
import collections
import contextlib
import itertools
import os
import signal
import threading
import time
import traceback
import weakref
from concurrent.futures import _base
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from functools import partial
from multiprocessing import get_context, parent_process
from pickle import PicklingError
from queue import Empty

from ._queues import Queue

__all__ = ["ProcessPoolExecutor", "WorkerDied"]

# A worker has tasks for about this many seconds at hand, so that short tasks don't wait for the parent one by one.
_AHEAD = 0.002
_MOST_AHEAD = 64
# How often a waiting thread looks whether its worker lives, and a waiting worker whether its parent does, in seconds.
_LOOK = 0.05
_LOOK_AT_PARENT = 1.0
# A pool is broken when so many workers of one place died before they took a task, as where the main module can't be imported.
_MOST_UNBORN = 5


class WorkerDied(BrokenProcessPool):
    """The worker died in the middle of this task. Only this task's future has this error; the pool goes on."""

    def __init__(self, pid, exitcode):
        self.pid = pid
        #: As ``Process.exitcode``: negative for a signal.
        self.exitcode = exitcode
        #: The signal's name, as ``"SIGKILL"``, or ``None``.
        self.signal = None
        if exitcode is not None and exitcode < 0:
            try:
                self.signal = signal.Signals(-exitcode).name
            except ValueError:
                self.signal = f"signal {-exitcode}"
        how = f"was killed by {self.signal}" if self.signal else f"ended with exit status {exitcode}"
        super().__init__(f"worker process {pid} {how} in the middle of this task")

    def __reduce__(self):
        return WorkerDied, (self.pid, self.exitcode)


def _failed(outbox, error):
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        outbox.put(("error", error, f'\n"""\n{text}"""'))
    except BaseException as why:  # The exception itself can't be pickled.
        told = PicklingError(f"the task raised {error!r}, which can't be pickled: {why!r}")
        outbox.put(("error", told, f'\n"""\n{text}"""'))


def _work(inbox, outbox, initializer, initargs, refused):
    """The worker's side: one answer for each task, in order."""
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException as error:
            # As concurrent.futures, whose users look for it there.
            _base.LOGGER.critical("Exception in initializer:", exc_info=True)
            outbox.put(("broken", repr(error), traceback.format_exc()))
            return
    parent = parent_process()
    while True:
        try:
            task = inbox.get(timeout=_LOOK_AT_PARENT)
        except Empty:
            if parent is not None and not parent.is_alive():
                return
            continue
        except KeyboardInterrupt:
            return
        except Exception as error:  # The task can't be unpickled here.
            _failed(outbox, error)
            continue
        if task is None:
            return
        function, args, kwargs = task
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _failed(outbox, error)
        else:
            try:
                outbox.put(("result", result, None))
            except BaseException as error:  # It can't be pickled.
                _failed(outbox, error if refused is None else refused(error, result))
        # Nothing of a task stays while the next one is waited for.
        task = function = args = kwargs = result = None


class _Task:
    __slots__ = ("begun", "call", "future", "retries")

    def __init__(self, future, call, retries):
        self.future = future
        self.call = call
        self.retries = retries
        self.begun = False


class _Shared:
    """What the executor and the threads of its workers share."""

    def __init__(self, context, initializer, initargs, max_tasks, max_workers):
        self.pid = os.getpid()
        self.context = context
        self.initializer = initializer
        self.initargs = initargs
        self.max_tasks = max_tasks
        self.max_workers = max_workers
        self.waiting = collections.deque()
        self.changed = threading.Condition()
        self.idle = 0
        # Workers that are there or being started.
        self.places = 0
        self.threads = []
        self.workers = {}
        # Of a Pool: its workers are daemons and end with this process.
        self.is_pools = False
        # Makes the exception for a result that can't be pickled.
        self.refused = None
        # The traceback of a worker, as text.
        self.traceback = _RemoteTraceback
        self.ended = False
        # The signal with which the workers were ended, if they were.
        self.terminated = None
        self.broken = None

    def begin_for_pool(self, refused, traceback):
        """Start all workers at once, for a Pool."""
        self.is_pools, self.refused, self.traceback = True, refused, traceback
        self.places = self.max_workers
        for _ in range(self.max_workers):
            self.start_worker()

    def start_worker(self):
        worker = _Worker(self)
        # As CPython's: a pool that is left open keeps no program from ending.
        worker.daemon = self.is_pools
        # In the caller's thread, as concurrent.futures does where processes are forked.
        worker.start_process()
        try:
            worker.start()
        except BaseException:
            worker.end_process()
            raise
        self.threads.append(worker)

    def abandon(self):
        """End what nobody can reach any more, in the process that made it: a forked copy has no part in it, and its locks may be held."""
        if os.getpid() != self.pid:
            return
        if self.is_pools:
            self.terminate()
        else:
            self.end()

    def take(self, wait):
        """Return the next task, or ``None``: there is none now, or after the end none ever."""
        with self.changed:
            while True:
                while self.waiting:
                    task = self.waiting.popleft()
                    if task.begun or task.future.set_running_or_notify_cancel():
                        task.begun = True
                        return task
                if not wait or self.ended:
                    return None
                self.idle += 1
                try:
                    self.changed.wait()
                finally:
                    self.idle -= 1

    def give_back(self, tasks):
        with self.changed:
            self.waiting.extendleft(reversed(tasks))
            self.changed.notify_all()

    def terminate(self, signum=signal.SIGTERM):
        """End the workers now: what is not done fails."""
        with self.changed:
            self.terminated = signum
        self.end()
        self.fail_all("the pool was terminated", ())
        for process in list(self.workers.values()):
            with contextlib.suppress(OSError, ValueError):  # It is gone.
                self.terminate_process(process)

    def terminate_process(self, process):
        if self.terminated == signal.SIGKILL:
            process.kill()
        else:
            process.terminate()

    def end(self, cancel=False):
        with self.changed:
            self.ended = True
            cancelled = [task for task in self.waiting if not task.begun] if cancel else []
            for task in cancelled:
                self.waiting.remove(task)
            self.changed.notify_all()
        for task in cancelled:
            task.future.cancel()
            task.future.set_running_or_notify_cancel()

    def fail_all(self, why, tasks):
        with self.changed:
            self.broken = why
            tasks = [*tasks, *self.waiting]
            self.waiting.clear()
            self.changed.notify_all()
        for task in tasks:
            if task.begun or task.future.set_running_or_notify_cancel():
                task.future.set_exception(BrokenProcessPool(why))


class _Worker(threading.Thread):
    """The parent's side of one worker."""

    def __init__(self, shared):
        super().__init__(name="multiproc-worker")
        self.shared = shared
        self.process = None
        self.at_hand = collections.deque()
        self.taken = 0
        self.answered = 0
        self.deaths = 0
        self.unborn = 0
        self.seconds = _AHEAD

    def start_process(self):
        shared = self.shared
        self.inbox, self.outbox = Queue(), Queue()
        self.taken = self.answered = 0
        arguments = (self.inbox, self.outbox, shared.initializer, shared.initargs, shared.refused)
        self.process = shared.context.Process(target=_work, args=arguments, daemon=shared.is_pools or None)
        self.process.start()
        shared.workers[self.process.pid] = self.process
        if shared.terminated:
            shared.terminate_process(self.process)

    def run(self):
        try:
            while self.fill():
                self.receive()
        except BaseException as error:
            self.shared.fail_all(f"the pool's own thread failed: {error!r}", self.at_hand)
            self.at_hand.clear()
            raise
        finally:
            self.end_process()

    def fill(self):
        """Give the worker what it should have at hand. Returns whether it has anything."""
        ahead = min(_MOST_AHEAD, max(1, int(_AHEAD / self.seconds)))
        while len(self.at_hand) < ahead and self.may_take():
            # What is given ahead waits for this worker, whatever the others do: there has to be as much for each of them.
            if self.at_hand and len(self.shared.waiting) <= len(self.at_hand) * self.shared.max_workers:
                break
            task = self.shared.take(wait=not self.at_hand)
            if task is None:
                break
            self.send(task)
        return bool(self.at_hand)

    def may_take(self):
        most = self.shared.max_tasks
        if most is None or self.taken < most:
            return True
        if not self.at_hand:
            self.end_process()
        return not self.at_hand

    def send(self, task):
        if self.process is None or (not self.at_hand and self.process.exitcode is not None):
            self.end_process()
            if self.deaths:
                # Workers that die at once, one after the other, must not keep the machine busy.
                time.sleep(min(2.0, 0.01 * 2 ** min(self.deaths, 10)))
            try:
                self.start_process()
            except Exception as error:
                task.future.set_exception(BrokenProcessPool(f"no worker could be started: {error!r}"))
                self.process = None
                return
        try:
            self.inbox.put(task.call)
        except Exception as error:
            task.future.set_exception(error)
            return
        self.taken += 1
        self.at_hand.append(task)

    def receive(self):
        """Wait for the oldest task's answer, or for the worker's death."""
        begin = time.monotonic()
        dead = False
        while True:
            try:
                kind, value, text = self.outbox.get(timeout=0 if dead else _LOOK)
            except Empty:
                if dead:
                    return self.bury()
                # What a dead worker had answered is there once its death is seen: one more look.
                dead = self.process.exitcode is not None
                continue
            except Exception as error:  # The result can't be unpickled.
                kind, value, text = "error", error, None
            break
        self.seconds += (time.monotonic() - begin - self.seconds) / 8
        self.seconds = max(self.seconds, 1e-6)
        if kind == "broken":
            self.shared.fail_all(f"the initializer raised {value}\n{text}", self.at_hand)
            self.at_hand.clear()
            return None
        self.deaths = 0
        self.answered += 1
        task = self.at_hand.popleft()
        if kind == "result":
            task.future.set_result(value)
        else:
            if not isinstance(value, BaseException):
                value = PicklingError(f"the task raised an exception that came back as {value!r}")
            if text is not None:
                value.__cause__ = self.shared.traceback(text)
            task.future.set_exception(value)
        return None

    def bury(self):
        """The worker is dead: the task that it had begun fails or is tried again, the others go back."""
        died = WorkerDied(self.process.pid, self.process.exitcode)
        self.deaths += 1
        # What the worker never took out is still in its inbox.
        begun = len(self.at_hand) > self.inbox.qsize()
        self.unborn = 0 if begun or self.answered else self.unborn + 1
        self.end_process()
        tasks = list(self.at_hand)
        self.at_hand.clear()
        if self.shared.terminated:
            return self.shared.fail_all("the pool was terminated", tasks)
        if self.unborn >= _MOST_UNBORN:
            return self.shared.fail_all(f"workers die before they begin; the last one: {died}", tasks)
        if begun:
            task = tasks[0]
            if task.retries > 0:
                task.retries -= 1
            else:
                tasks.pop(0)
                task.future.set_exception(died)
        return self.shared.give_back(tasks)

    def end_process(self):
        process, self.process = self.process, None
        if process is None:
            return
        self.inbox.put(None)
        # Before its number is free for another process.
        self.shared.workers.pop(process.pid, None)
        process.join()
        self.inbox = self.outbox = None


_live: weakref.WeakSet[_Shared] = weakref.WeakSet()


def _at_exit():
    for shared in list(_live):
        if not shared.is_pools:
            shared.abandon()


def _end_pools():
    for shared in list(_live):
        if shared.is_pools:
            shared.abandon()
            for thread in shared.threads:
                thread.join(5)


# Before the interpreter waits for threads: those of a pool end when they are told to.
getattr(threading, "_register_atexit", lambda _function: None)(_at_exit)
# After the program's own threads, which may use a pool until they end.
atexit.register(_end_pools)


def processors():
    """Return how many processors this process may use. ``-X cpu_count`` counts from Python 3.13 on."""
    return os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0))


def _chunk(function, chunk):
    return [function(*arguments) for arguments in chunk]


def chunks_of(values, size):
    """Cut an input into tuples of ``size``."""
    values = iter(values)
    while chunk := tuple(itertools.islice(values, size)):
        yield chunk


def _flat(results):
    for chunk in results:
        chunk.reverse()
        while chunk:
            yield chunk.pop()


class ProcessPoolExecutor(_base.Executor):
    """``concurrent.futures.ProcessPoolExecutor`` that survives its workers.

    A killed worker fails only the future of the task that it was in, with :class:`WorkerDied`, and is replaced. With ``retries``
    such a task is tried again up to that many times. ``max_tasks_per_child`` works with every start method.
    """

    def __init__(
        self, max_workers=None, mp_context=None, initializer=None, initargs=(), *, max_tasks_per_child=None, retries=0
    ):
        if max_workers is None:
            max_workers = processors()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if retries < 0:
            raise ValueError("retries must be >= 0")
        self._max_workers = max_workers
        self._retries = retries
        context = mp_context if mp_context is not None else get_context()
        self._shared = _Shared(context, initializer, initargs, max_tasks_per_child, max_workers)
        _live.add(self._shared)
        # A pool that nobody can reach any more ends when its tasks are done.
        weakref.finalize(self, self._shared.abandon)

    # Private, and used all the same.
    @property
    def _broken(self):
        return self._shared.broken or False

    @property
    def _processes(self):
        return dict(self._shared.workers)

    def submit(self, fn, /, *args, **kwargs):
        """Run ``fn(*args, **kwargs)`` in a worker and return the future of its result."""
        shared = self._shared
        future = _base.Future()
        with shared.changed:
            if shared.broken:
                raise BrokenProcessPool(shared.broken)
            if shared.ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            task = _Task(future, (fn, args, kwargs), self._retries)
            shared.waiting.append(task)
            shared.changed.notify()
            # A thread that was woken is idle until it has the lock.
            starts = len(shared.waiting) > shared.idle and shared.places < shared.max_workers
            shared.places += starts
        if starts:
            # Without the lock, so that workers that are there begin meanwhile.
            try:
                shared.start_worker()
            except BaseException:
                with shared.changed:
                    shared.places -= 1
                    # With fewer workers it takes longer. With none, and none on the way, nobody would take it.
                    if shared.places == 0 and task in shared.waiting:
                        shared.waiting.remove(task)
                        raise
        return future

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        """As ``concurrent.futures``: an iterator over the results in order, tasks of ``chunksize`` calls each."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        chunks = chunks_of(zip(*iterables), chunksize)
        return _flat(super().map(partial(_chunk, fn), chunks, timeout=timeout))

    def terminate_workers(self):
        """End the workers with SIGTERM, and the executor with them (as CPython from 3.14 on). What is not done fails."""
        self._shared.terminate(signal.SIGTERM)

    def kill_workers(self):
        """End the workers with SIGKILL, and the executor with them (as CPython from 3.14 on). What is not done fails."""
        self._shared.terminate(signal.SIGKILL)

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Take no more tasks, and end when those given are done; ``cancel_futures`` cancels those that no worker has."""
        self._shared.end(cancel_futures)
        if wait:
            for thread in self._shared.threads:
                thread.join()
