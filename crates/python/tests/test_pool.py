"""``Pool``: the interface of ``multiprocessing``'s, and workers that die."""

import itertools
import multiprocessing
import os
import signal
import sys
import time

import pytest

import multiproc
from multiproc import Pool, WorkerDied


def square(number):
    return number * number


def die(how):
    os.kill(os.getpid(), how)


def die_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def slow(number):
    time.sleep(0.2 if number == 0 else 0)
    return number


def fail(number):
    raise KeyError(number)


@pytest.fixture
def pool():
    with Pool(2) as pool:
        yield pool


def test_each_way_to_ask_gives_the_same_answers(pool):
    expected = [number * number for number in range(50)]
    assert pool.map(square, range(50)) == expected
    assert pool.map(square, iter(range(50)), 7) == expected
    assert pool.starmap(pow, [(number, 2) for number in range(50)]) == expected
    assert list(pool.imap(square, range(50))) == expected
    assert list(pool.imap(square, range(50), 8)) == expected
    assert sorted(pool.imap_unordered(square, range(50), 3)) == expected
    assert [pool.apply_async(square, (number,)).get() for number in range(50)] == expected
    assert pool.apply(int, ("11",), {"base": 2}) == 3
    assert pool.map(square, []) == [] and list(pool.imap(square, [])) == []


def test_imap_keeps_order_and_imap_unordered_does_not_wait(pool):
    assert list(pool.imap(slow, range(4))) == [0, 1, 2, 3]
    assert next(pool.imap_unordered(slow, range(2))) == 1


def test_an_input_without_an_end_is_not_swallowed(pool):
    taken = itertools.count()
    results = pool.imap(square, taken)
    assert [next(results) for _ in range(10)] == [number * number for number in range(10)]
    pool.terminate()
    assert next(taken) < 10_000_000


def test_callbacks_and_time_outs(pool):
    told = []
    result = pool.map_async(square, [2, 3], callback=told.append)
    assert (result.get(60), result.ready(), result.successful(), told) == ([4, 9], True, True, [[4, 9]])
    result = pool.apply_async(fail, (5,), error_callback=told.append)
    with pytest.raises(KeyError):
        result.get()
    assert isinstance(told[-1], KeyError) and not result.successful()
    result = pool.apply_async(time.sleep, (1,))
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(0.01)
    with pytest.raises(ValueError, match="not ready"):
        result.successful()


def test_a_killed_worker_fails_its_own_task_alone(pool):
    dead = pool.apply_async(die, (signal.SIGKILL,))
    with pytest.raises(WorkerDied) as error:
        dead.get(60)
    assert error.value.signal == "SIGKILL"
    assert pool.map(square, range(100)) == [number * number for number in range(100)]


def test_a_task_is_tried_again_where_retries_are_asked_for(tmp_path):
    with Pool(2, retries=1) as pool:
        assert pool.map(die_once, [str(tmp_path / name) for name in "ab"], 1) == ["done", "done"]


def test_close_and_join_finish_what_was_given_and_terminate_does_not():
    pool = Pool(2)
    results = pool.imap(slow, range(300))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply_async(square, (1,))
    pool.join()
    assert list(results) == list(range(300))
    pool = Pool(2)
    hangs = pool.map_async(time.sleep, [1000] * 4, 1)
    time.sleep(0.1)
    begin = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - begin < 30
    with pytest.raises(Exception, match="terminated"):
        hangs.get(60)


def test_a_context_has_this_pool(method):
    with multiproc.get_context(method.get_start_method()).Pool(1) as pool:
        assert isinstance(pool, Pool)
        assert pool.map(square, [3]) == [9]


def test_nonsense_is_refused():
    for arguments in [(0,), (-1,), (1, None, (), 0)]:
        with pytest.raises(ValueError):
            Pool(*arguments)
    with Pool(1) as pool:
        with pytest.raises(ValueError):
            pool.imap(square, [1], 0)
        with pytest.raises(ValueError, match="still running"):
            pool.join()
        with pytest.raises(NotImplementedError):
            pool.__reduce__()


def test_a_pool_can_be_joined_whenever_its_results_are_taken():
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            pool = Pool(1)
            assert list(pool.imap(square, range(3))) == [0, 1, 4]
            pool.close()
            pool.join()
    finally:
        sys.setswitchinterval(switch)
