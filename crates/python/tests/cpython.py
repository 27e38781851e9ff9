"""Runs CPython's own tests of queues and connections with the classes of this package.

``python tests/cpython.py fork`` (or ``spawn``, ``forkserver``). The tests are those of the running Python's ``test`` package.
"""

import multiprocessing
import os
import sys
import unittest

import multiproc

METHOD = os.environ.setdefault("MULTIPROC_TEST_METHOD", sys.argv[1] if len(sys.argv) > 1 else "fork")
OURS = {name: getattr(multiproc, name) for name in ("Queue", "JoinableQueue", "SimpleQueue", "Pipe", "Pool")}
for name, ours in OURS.items():
    setattr(multiprocessing, name, ours)

from test import _test_multiprocessing as theirs  # noqa: E402

# What can't hold here, and why.
SKIPPED = {
    "test_queue_feeder_donot_stop_onexc": "what can't be pickled fails at its put; CPython's put accepts it, and its thread prints the error",
    "test_queue_feeder_on_queue_feeder_error": "subclasses multiprocessing.queues.Queue for its feeder thread; there is none",
    "test_pool_worker_lifetime": "calls the private _repopulate_pool of CPython's Pool",
    "test_closed": "reads the private _reader and _writer of CPython's SimpleQueue",
}


class Mixin(theirs.ProcessesMixin):
    """Processes, as CPython's, and queues of this package."""

    Queue = staticmethod(multiproc.Queue)
    JoinableQueue = staticmethod(multiproc.JoinableQueue)
    SimpleQueue = staticmethod(multiproc.SimpleQueue)
    Pipe = staticmethod(multiproc.Pipe)
    Pool = staticmethod(multiproc.Pool)


def case(base):
    parents = (Mixin, base) if issubclass(base, unittest.TestCase) else (base, Mixin, unittest.TestCase)
    members = {name: unittest.skip(why)(getattr(base, name)) for name, why in SKIPPED.items() if hasattr(base, name)}
    members["__module__"] = __name__
    name = f"With{base.__name__.strip('_')}"
    made = type(name, parents, members)
    globals()[name] = made
    return made


NAMES = ("_TestQueue", "TestSimpleQueue", "_TestConnection", "_TestPoll",
         "_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime")
CASES = [case(getattr(theirs, name)) for name in NAMES if hasattr(theirs, name)]


def load_tests(loader, _tests, _pattern):
    return unittest.TestSuite(loader.loadTestsFromTestCase(made) for made in CASES)


if __name__ == "__main__":
    multiprocessing.set_start_method(METHOD, force=True)
    sys.argv[1:] = sys.argv[2:]
    unittest.main(verbosity=2)
