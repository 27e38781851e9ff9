"""A short storm: workers are killed at any moment, and nothing is lost or stuck."""

import random
import time

from multiproc import JoinableQueue, Queue

JOBS = 400


def work(jobs, results):
    while True:
        number, _payload = jobs.get()
        results.put(number)
        jobs.task_done()


def test_nothing_is_lost_while_workers_are_killed(method):
    jobs, results = JoinableQueue(50), Queue()
    chance = random.Random(1)

    def start():
        worker = method.Process(target=work, args=(jobs, results), daemon=True)
        worker.start()
        return worker

    workers = [start() for _ in range(2)]
    kills, put = 0, 0
    deadline = time.monotonic() + 60
    while put < JOBS or jobs.unfinished():
        assert time.monotonic() < deadline, f"{jobs.unfinished()} jobs are stuck"
        while put < JOBS and not jobs.full():
            jobs.put((put, b"x" * chance.choice([1, 100, 100_000])))
            put += 1
        # Without a wait some kills come while the worker begins, others while it works.
        time.sleep(chance.random() * 0.05)
        if kills < 12:
            index = chance.randrange(2)
            workers[index].kill()
            workers[index].join()
            workers[index] = start()
            kills += 1
    assert jobs.join(timeout=10)
    for worker in workers:
        worker.kill()
        worker.join()
    # A worker killed between its put and its task_done did the job twice: that is what delivery again means.
    assert set(results.get_many(10 * JOBS)) == set(range(JOBS))
    assert jobs.dead_len() == 0
