"""The processor as a device, for programs that treat all kinds of devices alike."""

from __future__ import annotations

from contextlib import contextmanager


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
