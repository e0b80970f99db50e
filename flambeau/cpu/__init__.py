"""The processor as a device, for programs that treat all kinds of devices alike."""

from __future__ import annotations

import functools
import types

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


def is_initialized() -> bool:
    """Whether the processor is ready for use: always."""
    return True


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

    def wait_event(self, event) -> None:
        """Nothing to wait for."""

    def record_event(self, event=None) -> Event:
        """A point in the stream, which has been reached."""
        return Event() if event is None else event


class Event:
    """A point in a stream, which the processor has always reached."""

    def query(self) -> bool:
        """Whether all work before it has finished: always."""
        return True

    def record(self, stream=None) -> None:
        """Nothing to do."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait(self, stream=None) -> None:
        """Nothing to wait for."""


_stream = Stream()


def current_stream(device=None) -> Stream:
    """The stream of the innermost `stream` block."""
    return _stream


class StreamContext:
    """Context manager inside which `current_stream` is the given one; None changes nothing."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        global _stream
        self._before = _stream
        if self.stream is not None:
            _stream = self.stream

    def __exit__(self, *exc):
        global _stream
        _stream = self._before


def stream(stream) -> StreamContext:
    """Context manager: see `StreamContext`."""
    return StreamContext(stream)


@functools.cache
def get_capabilities():
    """What the processor is and can do, as a mapping that cannot be written to: its name, its counts of sockets, cores and
    logical cores, its first two caches in bytes, and for each extension of its instruction set whether it is there.

    >>> flambeau.cpu.get_capabilities()["architecture"] == __import__("platform").machine()
    True
    """
    from flambeau import _processor

    return types.MappingProxyType(_processor.capabilities())


def __getattr__(name):
    if name == "amp":
        import importlib

        return importlib.import_module("flambeau.cpu.amp")
    raise AttributeError(f"module 'flambeau.cpu' has no attribute {name!r}")
