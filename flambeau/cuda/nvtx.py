"""Marks for NVIDIA's profiler: there is no device to be profiled, and each function says so."""

from __future__ import annotations

from contextlib import contextmanager

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]


def _absent(name: str, doc: str):
    def function(*args, **kwargs):
        raise RuntimeError("NVTX functions not installed. Are you sure you have a CUDA build?")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} Raises: there is no such profiler here."
    return function


mark = _absent("mark", "An instant.")
range_push = _absent("range_push", "The begin of a nested range.")
range_pop = _absent("range_pop", "The end of the innermost range.")
range_start = _absent("range_start", "The begin of a range.")
range_end = _absent("range_end", "The end of a range that was begun.")


@contextmanager
def range(msg, *args, **kwargs):
    """A block as a nested range. Raises: there is no such profiler here."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
