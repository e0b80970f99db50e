"""The processor as a device, for programs that treat all kinds of devices alike."""

from __future__ import annotations

from contextlib import contextmanager

from flambeau import _C


def is_available() -> bool:
    """Whether the processor can be used."""
    return True


def device_count() -> int:
    """Number of devices: the processor is one."""
    return 1


def current_device() -> str:
    """The processor."""
    return "cpu"


def set_device(device) -> None:
    """Accepted: there is one processor."""


def synchronize(device=None) -> None:
    """Nothing to wait for: operators have finished when they return."""


def memory_stats() -> dict[str, int]:
    """What flambeau's memory holds, in bytes: `in_use` by tensors, `peak` at most so far, `cached` for reuse; and the
    numbers of `allocations` and of those that were `reuses`.

    >>> sorted(flambeau.cpu.memory_stats())
    ['allocations', 'cached', 'in_use', 'peak', 'reuses']
    """
    return _C._memory_stats()


def empty_cache() -> None:
    """Gives memory that no tensor uses back to the system. It is kept for reuse up to a limit otherwise.

    >>> flambeau.cpu.empty_cache()
    """
    _C._empty_cache()


class Stream:
    """The processor's order of work, which is the program's own."""

    def __init__(self, priority: int = -1):
        self.priority = priority

    def wait_stream(self, stream) -> None:
        """Nothing to wait for."""


_stream = Stream()


def current_stream(device=None) -> Stream:
    """The one stream."""
    return _stream


@contextmanager
def stream(stream):
    """Context manager that does nothing: there is one stream."""
    yield
