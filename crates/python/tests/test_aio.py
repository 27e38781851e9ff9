"""Waits of asyncio."""

import asyncio
import os
import queue

import pytest

from multiproc import JoinableQueue, Queue, ShutDown


def run(work):
    return asyncio.run(asyncio.wait_for(work, 60))


@pytest.mark.parametrize("kind", [Queue, JoinableQueue])
def test_an_aget_waits_for_a_put_and_an_aput_for_room(kind):
    async def work():
        values = kind(1)
        getters = [asyncio.create_task(values.aget()) for _ in range(3)]
        await asyncio.sleep(0.02)
        for number in range(3):
            await values.aput(number)
        assert sorted(await asyncio.gather(*getters)) == [0, 1, 2]
        values.put("first")
        putter = asyncio.create_task(values.aput("second"))
        await asyncio.sleep(0.02)
        assert not putter.done()
        assert await values.aget() == "first"
        await putter
        assert await values.aget() == "second"

    run(work())


def test_a_wait_ends_at_its_time_out_and_at_a_shutdown():
    async def work():
        values = Queue(1)
        with pytest.raises(queue.Empty):
            await values.aget(timeout=0.01)
        values.put(1)
        with pytest.raises(queue.Full):
            await values.aput(2, timeout=0.01)
        values.get()
        getter = asyncio.create_task(values.aget())
        await asyncio.sleep(0.01)
        values.shutdown()
        with pytest.raises(ShutDown):
            await getter

    run(work())


def test_a_cancelled_wait_takes_nothing_and_leaves_no_descriptor():
    async def work():
        values = Queue()
        for _ in range(100):
            getter = asyncio.create_task(values.aget())
            await asyncio.sleep(0)
            values.put(7)
            getter.cancel()
            try:
                assert await getter == 7
            except asyncio.CancelledError:
                assert values.get(timeout=1) == 7
        assert values.empty()
        return len(os.listdir("/proc/self/fd"))

    run(work())
    before = run(work())
    assert run(work()) == before


def test_a_delivery_that_is_awaited_is_done_at_the_end_of_its_block():
    async def work():
        jobs = JoinableQueue()
        waiting = asyncio.create_task(jobs.aget_delivery())
        await asyncio.sleep(0.01)
        jobs.put("job")
        with await waiting as job:
            assert (job.value, job.count) == ("job", 1)
            assert not jobs.join(timeout=0)
        assert jobs.join(timeout=1)

    run(work())
