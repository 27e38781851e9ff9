"""What the tests share: each start method, and a watchdog for children."""

import multiprocessing
import signal

import pytest


@pytest.fixture(autouse=True)
def watchdog():
    """End a test that hangs, and the run with it."""
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def method(request):
    """A start method of ``multiprocessing``."""
    return multiprocessing.get_context(request.param)


@pytest.fixture
def finish():
    """Wait for processes to end, and check that they ended well."""

    def finish(*processes):
        for process in processes:
            process.join(30)
            stuck = process.is_alive()
            if stuck:
                process.kill()
                process.join()
            assert not stuck
            assert process.exitcode == 0

    return finish
