"""Measures ``bytes`` of many sizes through ``Queue``, and ``multiprocessing``'s. Prints points as ``docs/curves/python.csv`` has them."""

import functools
import multiprocessing

import compare

import multiproc

SIZES = [16 * 4**step for step in range(11)]
# A queue has room for so many messages, or for so many bytes, and at least for four. SimpleQueue has the room of its pipe.
ROOM, ROOM_BYTES = 64, 8 << 20
# As many messages of a size as come to so many bytes, within these bounds.
BYTES, LEAST, MOST = 1 << 28, 60, 100_000


def main():
    context = multiprocessing.get_context("fork")
    points = {}
    for size in SIZES:
        room = max(4, min(ROOM, ROOM_BYTES // size))
        kinds = {
            "multiproc, Queue": functools.partial(multiproc.Queue, room),
            "multiprocessing, Queue": functools.partial(context.Queue, room),
            "multiprocessing, SimpleQueue": context.SimpleQueue,
        }
        value, count = bytes(size), min(MOST, max(LEAST, BYTES // size))
        rounds = [[compare.one_way(make, value, count) for make in kinds.values()] for _ in range(compare.ROUNDS)]
        for name, rates in zip(kinds, zip(*rounds)):
            points.setdefault(name, []).append((size, max(rates) * size))
    for name, curve in points.items():
        for size, rate in curve:
            print(f"{name};{size};{rate:.4g}")


if __name__ == "__main__":
    main()
