"""Exceptions that older Pythons lack."""

import queue

try:
    ShutDown = queue.ShutDown
except AttributeError:

    class ShutDown(Exception):  # type: ignore
        """The queue was shut down (``queue.ShutDown`` from Python 3.13 on)."""

        __module__ = "multiproc"
