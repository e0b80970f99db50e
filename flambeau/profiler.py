"""Names of PyTorch's profiler. Marks in programs cost nothing here; the profiler itself is not written.

Python's own profilers see every operator (each is one call): ``python -m cProfile -m flambeau program.py``.
"""

from __future__ import annotations

import enum

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(enum.Enum):
    """What a profiler looks at."""

    CPU = 0
    CUDA = 1
    XPU = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a profiler does during a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def kineto_available() -> bool:
    """Whether PyTorch's profiling library is there: no."""
    return False


def supported_activities() -> set:
    """What can be profiled: nothing."""
    return set()


class record_function:
    """Context manager and decorator that names a part of a program for a profiler; none listens.

    >>> with flambeau.profiler.record_function("forward"):
    ...     y = flambeau.ones(1) + 1
    """

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def __call__(self, function):
        return function


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
):
    """A function that says what a profiler does at a step: `skip_first` steps nothing, then rounds of `wait`, `warmup`
    and `active` steps, `repeat` of them (0: without end); with `skip_first_wait`, the first round does not wait.

    >>> plan = flambeau.profiler.schedule(wait=1, warmup=1, active=1)
    >>> [plan(step).name for step in range(4)]
    ['NONE', 'WARMUP', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError(
            "Invalid profiler schedule arguments: active must be positive, the others not negative"
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative, got {step}")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        length = wait + warmup + active
        if repeat and step // length >= repeat:
            return ProfilerAction.NONE
        place = step % length
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if place == length - 1 else ProfilerAction.RECORD

    return action


def _cannot(name: str):
    def function(*args, **kwargs):
        raise RuntimeError(
            f"torch.profiler.{name}: flambeau has no profiler of its own. Every operator is one call to Python's: "
            "python -m cProfile -m flambeau program.py"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises: the profiler is not written."
    return function


profile = _cannot("profile")
tensorboard_trace_handler = _cannot("tensorboard_trace_handler")
