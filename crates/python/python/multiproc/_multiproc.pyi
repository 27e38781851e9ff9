"""The extension module. The classes of the package wrap what is here."""

from collections.abc import Iterable
from typing import Any, final

__all__ = ["Memory", "Pending", "RawDelivery", "RawQueue", "RawRemote", "RemoteDelivery", "View", "remove"]

@final
class Memory:
    """Bytes of a message that was got, as a buffer that can be written to."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Pending:
    """A get or a put that may wait. A get that is dropped has taken nothing."""

    def poll(self) -> tuple[Any] | None:
        """Try it. ``None``: not yet; else what came."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when it is time to try again."""

    def close(self) -> None:
        """Give it up. What has come stays."""

@final
class View:
    """A message in the queue's memory, as a buffer that can be read."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class RawDelivery:
    """A value that was got and is not done."""

    @property
    def count(self) -> int:
        """Deliveries of this value so far, this one included."""

    @property
    def id(self) -> str:
        """The id of the value, the same in all its deliveries."""

    def value(self) -> Any:
        """Make the object anew from the message. Raises ``ValueError`` once it is done or given back."""

    def done(self) -> None:
        """Say that the value is done."""

    def give_back(self, note: int | None = None) -> None:
        """Give the value to another consumer."""

    def put_aside(self, note: int) -> None:
        """Make the value a dead letter."""

    def is_open(self) -> bool:
        """Return whether it is neither done nor given back."""

@final
class RawQueue:
    """A queue of objects. Time-outs are in seconds; ``None``: wait for ever, 0 or less: don't wait."""

    @staticmethod
    def create(
        joinable: bool,
        maxsize: int,
        *,
        content: str = "object",
        name: str | None = None,
        exist_ok: bool = False,
        max_deliveries: int = 0,
        max_message: int | None = None,
    ) -> RawQueue:
        """Make a queue; ``content`` is ``"object"``, ``"bytes"`` or ``"str"``."""

    @staticmethod
    def open(joinable: bool, name: str, content: str) -> RawQueue:
        """Open the queue of a name."""

    @staticmethod
    def arrive(joinable: bool, content: str, bytes: bytes, descriptor: int) -> RawQueue:
        """Make a handle of what ``travel`` returned in another process. It owns the descriptor then."""

    def travel(self) -> tuple[bytes, int]:
        """Return the bytes of the handle, and a descriptor that is open as long as this handle."""

    def put(self, value: Any, timeout: float | None) -> None:
        """Put an object. Raises ``queue.Full``."""

    def put_many(self, values: Iterable[Any], timeout: float | None) -> int:
        """Put all objects in order."""

    def get(self, timeout: float | None, copy: bool = True) -> Any:
        """Get the oldest object. Raises ``queue.Empty``. Without ``copy`` its large buffers are views of the queue's memory."""

    def get_many(self, max: int, timeout: float | None) -> list[Any]:
        """Wait for one object, then return what is there."""

    def pending_get(self, delivers: bool) -> Pending:
        """Begin a get for ``asyncio``; ``delivers``: it comes to a ``RawDelivery``."""

    def pending_put(self, value: Any) -> Pending:
        """Begin a put for ``asyncio``."""

    def get_delivery(self, timeout: float | None) -> RawDelivery:
        """Get the oldest value of a joinable queue, in hand."""

    def dead(self) -> tuple[Any, int, str, int | None, int | None] | None:
        """Take out a dead letter: object, deliveries, id, process that died with it, note."""

    def dead_len(self) -> int:
        """Return how many dead letters there are."""

    def task_done(self) -> None:
        """Say that the oldest value in hand of this handle is done."""

    def join(self, timeout: float | None) -> bool:
        """Wait until everything is done. ``False``: the time is over."""

    def unfinished(self) -> int:
        """Return how many values are not done."""

    def qsize(self) -> int:
        """Return how many values wait."""

    def empty(self) -> bool:
        """Return whether none waits."""

    def full(self) -> bool:
        """Return whether a put would have to wait."""

    def was_used(self) -> bool:
        """Return whether anything was put through this handle."""

    def capacity(self) -> int | None:
        """Return how many values can wait; ``None``: any number."""

    def shutdown(self) -> None:
        """End puts for every process."""

    def skip(self) -> None:
        """Take the oldest value out without making an object of it."""

    def is_shut_down(self) -> bool:
        """Return whether puts have ended."""

@final
class RawRemote:
    """A queue of objects on a server. Time-outs are in seconds; ``None``: wait for ever, 0 or less: don't wait."""

    @staticmethod
    def connect(address: str, content: str, choices: dict[str, Any]) -> RawRemote:
        """Open the queue at an address, or make it."""

    def travel(self) -> bytes:
        """Return what another process makes its handle of."""

    @staticmethod
    def arrive(content: str, travel: bytes) -> RawRemote:
        """Make the handle that ``travel`` described. It connects at its first use."""

    def address(self) -> str:
        """Return the server and the queue, without secrets."""

    def put(self, value: Any, timeout: float | None) -> None:
        """Put an object."""

    def put_many(self, values: Iterable[Any], timeout: float | None) -> int:
        """Put objects, many on their way at once. An exception has in ``put`` how many were put."""

    def get(self, timeout: float | None) -> Any:
        """Get the oldest object."""

    def get_many(self, max: int, timeout: float | None) -> list[Any]:
        """Wait for one object, then take what is there. An exception has in ``values`` what was got before it."""

    def pending_get(self, delivers: bool, timeout: float | None) -> Pending:
        """Begin a get for ``asyncio``; ``delivers``: it comes to a ``RemoteDelivery``."""

    def pending_put(self, value: Any, timeout: float | None) -> Pending:
        """Begin a put for ``asyncio``. If it is dropped it may have put the value."""

    def get_delivery(self, timeout: float | None) -> RemoteDelivery:
        """Get the oldest object as a delivery."""

    def task_done(self) -> None:
        """Say that the value is done that this process got first of those in hand."""

    def join(self, timeout: float | None) -> bool:
        """Wait until everything is done. ``False``: the time is over."""

    def unfinished(self) -> int:
        """Return how many values were put and are not done."""

    def qsize(self) -> int:
        """Return how many values wait, about."""

    def capacity(self) -> int | None:
        """Return how many values there can be; ``None``: any number."""

    def shutdown(self) -> None:
        """End puts for every process."""

    def dead_len(self) -> int:
        """Return how many dead letters there are."""

    def dead(self) -> tuple[Any, int, str] | None:
        """Take the oldest dead letter: the object, its deliveries, its id."""

@final
class RemoteDelivery:
    """A value that was got from a server and is not done."""

    @property
    def count(self) -> int:
        """Deliveries of this value so far, this one included."""

    @property
    def id(self) -> str:
        """The id of the value, the same in all its deliveries."""

    def value(self) -> Any:
        """Make the object anew from the message. Raises ``ValueError`` once it is done or given back."""

    def done(self) -> None:
        """Say that the value is done."""

    def give_back(self, delay: float | None = None) -> None:
        """Give the value to another consumer, after so many seconds."""

    def put_aside(self, _note: int) -> None:
        """Make the value a dead letter."""

    def is_open(self) -> bool:
        """Return whether it is neither done nor given back."""

def remove(name: str) -> None:
    """Take a queue's name away. Processes that have the queue open keep it. Raises ``FileNotFoundError``."""
