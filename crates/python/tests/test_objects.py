"""What goes in comes out: the fast ways, pickles, buffers beside a pickle."""

import array
import dataclasses
import math
import pickle
import threading
from collections import Counter, OrderedDict

import pytest

from multiproc import JoinableQueue, Queue

KINDS = [Queue, JoinableQueue]


@dataclasses.dataclass
class Point:
    x: int
    y: float
    names: list


class MyInt(int):
    pass


class MyStr(str):
    pass


cyclic = [1]
cyclic.append(cyclic)

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    -(2**64) - 1,
    10**100,
    0.0,
    -0.0,
    math.inf,
    5e-324,
    "",
    "text",
    "grüße \U0001f600 \0",
    "\ud800",
    b"",
    b"\0\xff" * 1000,
    bytearray(b"abc" * 1000),
    array.array("d", range(1000)),
    (1, "a", None),
    [1, [2, [3, [4, [5, []]]]]],
    {"a": 1, "b": 2.0, "c": "x", "d": None, "e": [1, 2]},
    {1: {2: {3: {4: 5}}}},
    {1, 2, 3},
    list(range(1000)),
    OrderedDict(a=1),
    Counter("abca"),
    Point(1, 2.5, ["n"]),
    MyInt(5),
    MyStr("s"),
    Point,
    math.sqrt,
    b"m" * (1 << 20),
    "ü" * (1 << 18),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_is_got_equals_what_was_put(kind, value):
    there = kind()
    there.put(value)
    got = there.get()
    assert type(got) is type(value)
    assert got == value
    assert repr(got)[:100] == repr(value)[:100]


def test_not_a_number_stays_so():
    there = Queue()
    there.put(math.nan)
    assert math.isnan(there.get())


def test_cycles_and_shared_parts_stay_so():
    there = Queue()
    there.put(cyclic)
    got = there.get()
    assert got[1] is got
    part = []
    there.put([part, part])
    got = there.get()
    assert got[0] is got[1]


class Fails:
    def __reduce__(self):
        raise ZeroDivisionError("in __reduce__")


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_pickled_fails_at_put(kind):
    there = kind()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        there.put(lambda: 1)
    with pytest.raises(TypeError):
        there.put(threading.Lock())
    with pytest.raises(ZeroDivisionError):
        there.put(Fails())
    with pytest.raises(TypeError):
        there.put([1, threading.Lock()])
    assert there.empty()
    there.put(1)
    assert there.get() == 1


def explode():
    raise ZeroDivisionError("in loading")


class FailsToLoad:
    def __reduce__(self):
        return explode, ()


def test_what_cannot_be_loaded_fails_at_get_and_is_out_of_the_queue():
    jobs = JoinableQueue()
    jobs.put(FailsToLoad())
    jobs.put(2)
    with pytest.raises(ZeroDivisionError):
        jobs.get()
    jobs.task_done()
    assert jobs.get() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_an_object_is_an_error_at_put(kind):
    there = kind(max_message=1 << 16)
    with pytest.raises(ValueError, match="limit"):
        there.put(b"x" * (1 << 20))
    there.put(1)
    assert there.get() == 1


def test_numpy_arrays_go_beside_the_pickle():
    np = pytest.importorskip("numpy")
    there = Queue()
    frame = np.arange(1080 * 1920 * 3, dtype=np.uint8).reshape(1080, 1920, 3)
    odd = np.arange(10_001, dtype=np.float64)[::2]
    fortran = np.asfortranarray(np.arange(6000.0).reshape(60, 100))
    frozen = np.arange(1000)
    frozen.flags.writeable = False
    for value in (frame, odd, fortran, frozen, np.float32(2.5), np.array(["a", None], dtype=object), np.zeros((0, 3))):
        there.put({"array": value, "n": 1})
        got = there.get()["array"]
        assert got.dtype == value.dtype and got.shape == value.shape
        assert np.array_equal(got, value)
        if isinstance(value, np.ndarray):
            assert got.flags.writeable == value.flags.writeable
            assert got.flags.f_contiguous == value.flags.f_contiguous or not value.flags.contiguous
    there.put([frame, frame[0], "tail"])
    first, second, tail = there.get()
    first[0, 0, 0] = 99
    assert tail == "tail" and np.array_equal(second, frame[0])


def test_a_buffer_lives_as_long_as_its_view():
    np = pytest.importorskip("numpy")
    there = Queue()
    kept = []
    for number in range(50):
        there.put(np.full(10_000, number))
        kept.append(there.get()[::7])
    assert all((array == number).all() for number, array in enumerate(kept))


def test_views_of_the_queues_memory_are_read_only_and_keep_it():
    numpy = pytest.importorskip("numpy")
    queue = Queue(2)
    frame = numpy.arange(300_000, dtype=numpy.uint32)
    for _ in range(20):
        queue.put({"frame": frame, "small": 7})
        queue.put(b"x" * 200_000)
        got, text = queue.get(copy=False), queue.get(copy=False)
        assert got["small"] == 7 and (got["frame"] == frame).all() and not got["frame"].flags.writeable
        assert isinstance(text, memoryview) and text.readonly and text == b"x" * 200_000
        # What comes later lies elsewhere while these live.
        queue.put(numpy.zeros(300_000, dtype=numpy.uint32))
        queue.get()
        assert (got["frame"] == frame).all()
    part = got["frame"][10:20]
    del got, queue
    assert (part == frame[10:20]).all()
    for value in (1, "text", None, [1, 2], b"", b"short"):
        other = Queue()
        other.put(value)
        assert other.get(copy=False) == value


def test_an_object_with_many_buffers_comes_back():
    numpy = pytest.importorskip("numpy")
    queue = Queue()
    arrays = [numpy.full(100, number) for number in range(10_000)]
    for copy in (True, False):
        queue.put(arrays)
        got = queue.get(copy=copy)
        assert all((ours == theirs).all() for ours, theirs in zip(got, arrays, strict=True))


def test_large_objects_without_buffers_come_back():
    queue = Queue()
    for value in (["text" * 10] * 20_000, "é" * 100_000, bytearray(b"x" * 300_000), b"y" * (1 << 20), {"a": b"z" * 100_000}):
        for copy in (True, False):
            queue.put(value)
            got = queue.get(copy=copy)
            assert got == value and (copy is False or type(got) is type(value))
