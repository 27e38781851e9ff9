"""Programs as their users run them: the demos, and programs that can't be changed."""

import re
import subprocess
import sys

PROGRAM = """
import concurrent.futures
import multiprocessing
import sys
from multiprocessing import Queue

def look(kinds):
    queue = multiprocessing.get_context().Queue()
    kinds.put(type(queue).__module__)

def name(_):
    return "in a worker"

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    kinds = Queue()
    child = multiprocessing.Process(target=look, args=(kinds,))
    child.start()
    print(type(kinds).__module__, kinds.get(timeout=60))
    child.join()
    with multiprocessing.Pool(1) as pool, concurrent.futures.ProcessPoolExecutor(1) as executor:
        print(type(pool).__module__, pool.map(name, [1]), type(executor).__module__, executor.submit(name, 1).result())
"""


LATE = """
import concurrent.futures
import multiprocessing
import sys
from multiprocessing.pool import Pool, ThreadPool

def name(number):
    return number

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    with Pool(2) as pool:
        print(pool.map(name, range(3)))
    pool = multiprocessing.Manager().Pool(2)
    print(pool, pool.map(name, range(3)), list(pool.imap(name, range(3))), pool.apply_async(name, [7]).get())
    with ThreadPool(2) as pool:
        print(pool.map(name, range(3)))
    executor = concurrent.futures.ProcessPoolExecutor(1)
    for number in range(200):
        executor.submit(name, number).add_done_callback(lambda done: done.result())
    executor.submit(print, "the last one", flush=True)
"""


def output_of(*arguments):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_program_that_cannot_be_changed_has_these_classes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    for method in ("fork", "spawn", "forkserver"):
        first, second = output_of("-m", "multiproc", "patch", str(program), method)
        assert first == "multiproc._queues multiproc._queues", method
        assert second == "multiproc._pool ['in a worker'] multiproc._executor in a worker", method


def test_a_patched_program_may_end_before_its_tasks_and_has_every_other_kind_of_pool(tmp_path):
    program = tmp_path / "late.py"
    program.write_text(LATE)
    numbers = "[0, 1, 2]"
    for method in ("fork", "spawn", "forkserver"):
        printed = output_of("-m", "multiproc", "patch", str(program), method)
        assert printed == [numbers, f"<multiproc.Pool state=RUN pool_size=2> {numbers} {numbers} 7", numbers, "the last one"], method


def test_the_programs_of_the_tutorial_print_what_it_says():
    def demo(name):
        return output_of("-m", "multiproc.demo", "--pace", "0.01", name)

    assert demo("pipe") == ["hello"]
    assert demo("bounded") == ["队列已经满了", "1", "2", "3", "队列已经空了", "True"]
    assert demo("handoff") == [*(f"GET到数据：数据{number}" for number in (1, 2, 3)), "数据已经被全部拿完了"]
    squares = demo("squares")
    said = "进程Process-{0}计算 {0} 的平方,结果是{1}"
    assert sorted(squares[:5]) == [said.format(number, number * number) for number in range(1, 6)]
    assert sorted(eval(squares[5].partition(":")[2])) == [1, 4, 9, 16, 25] and squares[6:] == ["主进程结束"]
    for name, made, eaten in [("buns", "生产了包子{}", "吃包子{}"), ("joinable", "生产了{}号包子", " 吃了 {}号包子")]:
        lines = demo(name)
        assert [line for line in lines if "生产了" in line] == [f"进程Process-1{made.format(k)}" for k in range(10)]
        ate = [re.sub(r"^进程Process-\d+", "", line) for line in lines if "吃" in line]
        assert sorted(ate) == sorted(eaten.format(k) for k in range(10))
    assert lines[-1] == "所有队列处理完成，程序退出"
