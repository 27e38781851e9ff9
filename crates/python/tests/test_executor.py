"""The executor: concurrent.futures' interface, and killed workers."""

import asyncio
import concurrent.futures
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

from multiproc import ProcessPoolExecutor, WorkerDied


def kill_me(how=signal.SIGKILL):
    os.kill(os.getpid(), how)
    time.sleep(60)


def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        kill_me()
    return "done"


def square(n):
    return n * n


def slow(n):
    time.sleep(0.01)
    return n


def fail():
    raise LookupError("in the task")


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("no")


def fail_unpicklable():
    raise Unpicklable


def lock():
    return threading.Lock()


state = None


def remember(value):
    global state
    state = value


def recall():
    return state


def explode():
    raise ZeroDivisionError("initializer")


def test_submit_and_map(method):
    with ProcessPoolExecutor(2, mp_context=method) as pool:
        futures = [pool.submit(square, n) for n in range(100)]
        assert sum(future.result(60) for future in concurrent.futures.as_completed(futures)) == sum(n * n for n in range(100))
        assert list(pool.map(square, range(100), chunksize=7)) == [n * n for n in range(100)]
        assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_fails_only_its_own_future(method, how):
    with ProcessPoolExecutor(2, mp_context=method) as pool:
        before = [pool.submit(slow, n) for n in range(10)]
        victim = pool.submit(kill_me, how)
        after = [pool.submit(slow, n) for n in range(10)]
        with pytest.raises(WorkerDied, match=how.name) as caught:
            victim.result(60)
        assert caught.value.signal == how.name and caught.value.exitcode == -how
        assert isinstance(caught.value, concurrent.futures.BrokenExecutor)
        assert [future.result(60) for future in before + after] == [*range(10), *range(10)]
        assert pool.submit(square, 3).result(60) == 9


def test_a_worker_that_exits_says_its_status():
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(WorkerDied, match="exit status 3") as caught:
            pool.submit(os._exit, 3).result(60)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.exitcode, again.pid) == (3, caught.value.pid)


def test_a_task_is_tried_again(tmp_path):
    with ProcessPoolExecutor(1, retries=1) as pool:
        assert pool.submit(die_once, str(tmp_path / "first")).result(60) == "done"
        with pytest.raises(WorkerDied):
            pool.submit(kill_me).result(60)


def test_a_worker_killed_while_idle_fails_nothing():
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(60)
        os.kill(pid, signal.SIGKILL)
        assert pool.submit(square, 2).result(60) == 4


def test_errors_are_those_of_their_own_future(method):
    with ProcessPoolExecutor(1, mp_context=method) as pool:
        with pytest.raises(LookupError, match="in the task") as caught:
            pool.submit(fail).result(60)
        assert "fail" in str(caught.value.__cause__)
        with pytest.raises(pickle.PicklingError, match="Unpicklable"):
            pool.submit(fail_unpicklable).result(60)
        with pytest.raises(TypeError, match="pickle"):
            pool.submit(lock).result(60)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pool.submit(lambda: 1).result(60)
        assert pool.submit(square, 2).result(60) == 4


def test_the_initializer_runs_in_each_worker(method):
    with ProcessPoolExecutor(2, method, remember, ("seen",)) as pool:
        assert {pool.submit(recall).result(60) for _ in range(8)} == {"seen"}


def test_an_initializer_that_fails_breaks_the_pool():
    pool = ProcessPoolExecutor(1, initializer=explode)
    with pytest.raises(concurrent.futures.BrokenExecutor, match="initializer"):
        pool.submit(square, 1).result(60)
    with pytest.raises(concurrent.futures.BrokenExecutor):
        pool.submit(square, 1)
    pool.shutdown()


def test_an_initializer_that_kills_its_worker_breaks_the_pool():
    pool = ProcessPoolExecutor(1, initializer=kill_me)
    with pytest.raises(concurrent.futures.BrokenExecutor, match="SIGKILL"):
        pool.submit(square, 1).result(60)
    pool.shutdown()


def test_a_worker_does_so_many_tasks(method):
    with ProcessPoolExecutor(1, mp_context=method, max_tasks_per_child=3) as pool:
        pids = [pool.submit(os.getpid).result(60) for _ in range(7)]
    assert [len(set(pids[at : at + 3])) for at in (0, 3)] == [1, 1]
    assert len(set(pids)) == 3


def test_shutdown_refuses_new_tasks_and_cancels():
    pool = ProcessPoolExecutor(1)
    first = pool.submit(time.sleep, 0.2)
    futures = [pool.submit(time.sleep, 0.2) for _ in range(20)]
    pool.shutdown(wait=True, cancel_futures=True)
    assert first.done() and sum(future.cancelled() for future in futures) >= 18
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 1)


def test_asyncio_uses_it():
    async def main(pool):
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, square, n) for n in range(5)))

    with ProcessPoolExecutor(2) as pool:
        assert asyncio.run(main(pool)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize("wrong", [{"max_workers": 0}, {"max_tasks_per_child": 0}, {"retries": -1}])
def test_wrong_numbers_are_refused(wrong):
    with pytest.raises(ValueError):
        ProcessPoolExecutor(**wrong)


def test_a_program_ends_that_forgot_to_shut_down():
    program = "import multiproc, math; p = multiproc.ProcessPoolExecutor(2); f = p.submit(math.sqrt, 4); print(f.result())"
    done = subprocess.run([sys.executable, "-c", program], timeout=60, capture_output=True, text=True, check=True)
    assert done.stdout == "2.0\n" and "Error" not in done.stderr


def test_workers_end_when_their_parent_is_killed():
    program = """
import multiproc, os
pool = multiproc.ProcessPoolExecutor(2)
print(*{future.result() for future in [pool.submit(os.getpid) for _ in range(20)]}, flush=True)
os.kill(os.getpid(), 9)
"""
    # The pipe of the output ends when the last process that has it is gone.
    done = subprocess.run([sys.executable, "-c", program], timeout=60, stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split()


class Strange(Exception):
    def __reduce__(self):
        return str, ("no exception any more",)


def fail_strangely():
    raise Strange


def meet():
    barrier.wait(30)
    return True


def share(shared):
    global barrier
    barrier = shared


def test_an_exception_that_comes_back_as_something_else_fails_its_own_future():
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(pickle.PicklingError, match="no exception any more"):
            pool.submit(fail_strangely).result(60)
        assert pool.submit(square, 3).result(60) == 9


def test_tasks_that_wait_for_each_other_run_in_as_many_workers(method):
    with ProcessPoolExecutor(2, mp_context=method, initializer=share, initargs=(method.Barrier(2),)) as pool:
        assert list(pool.map(square, range(2000))) == [n * n for n in range(2000)]
        assert all(future.result(60) for future in [pool.submit(meet) for _ in range(2)])


def test_workers_may_be_replaced_all_the_time():
    for _ in range(3):
        with ProcessPoolExecutor(4, max_tasks_per_child=1) as pool:
            assert list(pool.map(square, range(60))) == [n * n for n in range(60)]


def test_a_worker_that_is_forked_beside_other_threads_hangs_nowhere():
    program = "import multiproc\nwith multiproc.ProcessPoolExecutor(4) as pool:\n    assert list(pool.map(abs, range(2000)))"
    for _ in range(15):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class Exits:
    def __reduce__(self):
        raise SystemExit(3)


def test_a_result_that_exits_when_it_is_pickled_fails_its_own_future():
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(60)
        with pytest.raises(SystemExit):
            pool.submit(Exits).result(60)
        assert pool.submit(os.getpid).result(60) == pid


def test_an_initializer_that_fails_is_logged_as_it_is_there():
    program = """
import multiproc, logging
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
pool = multiproc.ProcessPoolExecutor(1, initializer=divmod, initargs=(1, 0))
assert pool.submit(abs, 1).exception(60) and pool._broken
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True)
    assert "concurrent.futures CRITICAL Exception in initializer" in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.mark.skipif(not hasattr(os, "process_cpu_count"), reason="Python has -X cpu_count from 3.13 on")
def test_there_are_as_many_workers_as_the_interpreter_is_told_processors():
    program = "import multiproc; print(multiproc.ProcessPoolExecutor()._max_workers, len(multiproc.Pool()._pool))"
    done = subprocess.run([sys.executable, "-X", "cpu_count=3", "-c", program], check=True, timeout=60, stdout=subprocess.PIPE)
    assert done.stdout.split() == [b"3", b"3"]
