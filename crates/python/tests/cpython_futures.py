"""Runs CPython's own tests of ``concurrent.futures``' process pools with the executor of this package.

``python tests/cpython_futures.py fork`` (or ``spawn``, ``forkserver``). The tests are those of the running Python's ``test`` package.
"""

import concurrent.futures
import importlib
import multiprocessing
import os
import sys
import unittest
from unittest import mock

import multiproc

METHOD = os.environ.setdefault("MULTIPROC_TEST_METHOD", sys.argv[1] if len(sys.argv) > 1 else "fork")


class Shown(multiproc.ProcessPoolExecutor):
    """What stands here for the private parts of CPython's executor: one thread and no feeder."""

    @property
    def _executor_manager_thread(self):
        threads = self._shared.threads
        return mock.Mock(join=lambda: [thread.join() for thread in threads])

    @property
    def _call_queue(self):
        return mock.Mock(join_thread=lambda: None)


# Some tests name it, in place of asking for the type of executor.
concurrent.futures.ProcessPoolExecutor = concurrent.futures.process.ProcessPoolExecutor = Shown


class ProcessPoolExecutor(Shown):
    """Not the class above, for which one test is skipped: CPython's executor hangs there."""


def modules():
    """The files of CPython's tests: one, or from 3.11.6 on a package. ``[]``: this Python was installed without them."""
    place = "test.test_concurrent_futures"
    try:
        whole = importlib.import_module(place)
    except ImportError:
        return []
    if not hasattr(whole, "__path__"):
        return [whole]
    names = ("test_process_pool", "test_shutdown", "test_deadlock", "test_init", "test_wait", "test_as_completed")
    return [importlib.import_module(f"{place}.{name}") for name in names]


MODULES = modules()

# What can't hold here, and why.
SKIPPED = {
    "test_killed_child": "asserts that a killed worker breaks the pool",
    "test_processes_terminate": "counts workers of tasks that can't be pickled; they fail at once, and one worker may have had them all",
    "test_python_finalization_error": "asserts that the pool breaks where a second thread can't start; with one worker it goes on",
    "test_max_tasks_per_child_defaults_to_spawn_context": "max_tasks_per_child works with fork, so it chooses no other method",
}
# The exception stays in its own future here, as it is: CPython's pool is broken by it.
SKIPPED |= dict.fromkeys(
    ("test_error_at_task_unpickle", "test_error_during_result_unpickle_in_result_handler"),
    "asserts that what can't be unpickled breaks the pool",
)
if METHOD == "fork":
    SKIPPED["test_max_tasks_per_child"] = "asserts that max_tasks_per_child is refused with fork; it works"

PATCHED = "import multiprocessing\nimport multiproc.patched\n"


def patched(run):
    """Run the programs in the tests with this package's classes."""
    return lambda option, program: run(option, PATCHED + program)


def context(_self):
    return multiproc.get_context(METHOD)


def cases():
    """A case for each class of tests that CPython runs with its process pools."""
    for module in MODULES:
        if hasattr(module, "assert_python_ok"):
            module.assert_python_ok = patched(module.assert_python_ok)
        for name, theirs in list(vars(module).items()):
            # CPython has made one for each start method.
            if not name.endswith("Test") or getattr(theirs, "ctx", None) != METHOD:
                continue
            members = {name: unittest.skip(why)(getattr(theirs, name)) for name, why in SKIPPED.items() if hasattr(theirs, name)}
            # In the main module, where a worker finds it.
            members |= {"__module__": __name__, "executor_type": ProcessPoolExecutor, "get_context": context}
            globals()[f"With{name}"] = case = type(f"With{name}", (theirs,), members)
            yield case


CASES = list(cases())


def load_tests(loader, _tests, _pattern):
    return unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in CASES)


if __name__ == "__main__":
    if not CASES:
        print("This Python was installed without test.test_concurrent_futures: nothing is tested.")
        sys.exit()
    multiprocessing.set_start_method(METHOD, force=True)
    sys.argv[1:] = sys.argv[2:]
    unittest.main(verbosity=2)
