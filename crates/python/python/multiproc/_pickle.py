"""Pickling with the reducers that ``multiprocessing`` has registered, buffers apart."""

import io
import pickle
from collections import ChainMap
from copyreg import dispatch_table
from multiprocessing.reduction import ForkingPickler


class _Pickler(pickle.Pickler):
    # Both tables are live: a reducer that is registered later counts. One look-up instead of ForkingPickler's copy for each pickler.
    dispatch_table = ChainMap(ForkingPickler._extra_reducers, dispatch_table)  # type: ignore


def dumps(value):
    """Return the pickle and the list of its out-of-band buffers."""
    buffers = []

    def apart(buffer):
        view = buffer.raw()
        # A small buffer costs less inside the pickle.
        if view.nbytes < 512:
            return True
        buffers.append(buffer)
        return False

    target = io.BytesIO()
    _Pickler(target, 5, True, apart).dump(value)
    return target.getbuffer(), buffers
