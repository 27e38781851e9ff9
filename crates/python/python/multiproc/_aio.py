"""Waits of ``asyncio`` for a queue. No thread waits with them."""

import asyncio


async def finish(pending, timeout, over):
    """Try until there is an outcome, and return it. Raises ``over`` after ``timeout`` seconds."""
    done = pending.poll()
    if done is not None:
        return done[0]
    loop = asyncio.get_running_loop()
    rung = asyncio.Event()
    descriptor = pending.fileno()
    loop.add_reader(descriptor, rung.set)
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            while True:
                await rung.wait()
                rung.clear()
                # Nothing is awaited between what comes and the return: no cancellation loses it.
                done = pending.poll()
                if done is not None:
                    return done[0]
    except TimeoutError:
        if limit.expired():
            raise over from None
        raise
    finally:
        loop.remove_reader(descriptor)
        pending.close()
