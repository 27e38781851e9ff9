"""Pickling with the reducers that ``multiprocessing`` has registered, buffers apart."""

import io
import pickle
from copyreg import dispatch_table
from multiprocessing.reduction import ForkingPickler


class _Reducers:
    # Both tables are live: a reducer that is registered later counts. ForkingPickler makes a copy for each pickler; a ChainMap takes
    # twice as long.
    def __getitem__(self, kind, own=ForkingPickler._extra_reducers, common=dispatch_table):
        return own[kind] if kind in own else common[kind]


class _Pickler(pickle.Pickler):
    dispatch_table = _Reducers()  # type: ignore


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
