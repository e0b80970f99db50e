"""`flambeau.compiler` by older, inner names: there is no compiler of programs, and functions run as they are written."""

from __future__ import annotations

from flambeau.compiler import (
    allow_in_graph,
    assume_constant_result,
    disable,
    list_backends,
    reset,
    substitute_in_graph,
)

from . import config, eval_frame, exc
from .eval_frame import OptimizedModule

__all__ = [
    "OptimizedModule",
    "allow_in_graph",
    "assume_constant_result",
    "disable",
    "disallow_in_graph",
    "explain",
    "export",
    "graph_break",
    "is_compiling",
    "list_backends",
    "mark_dynamic",
    "mark_static",
    "mark_static_address",
    "maybe_mark_dynamic",
    "optimize",
    "reset",
    "substitute_in_graph",
]


def is_compiling() -> bool:
    """Whether a compiler is at work: never."""
    return False


def optimize(*args, **options):
    """Decorator that returns the function, as `flambeau.compile` does."""
    return lambda fn: fn


def disallow_in_graph(fn):
    """Returns the function (or the list of functions)."""
    return fn


def graph_break(msg: str = "") -> None:
    """Nothing to break: no graph is recorded."""


def mark_dynamic(t, index=None, **hints) -> None:
    """Accepted: sizes are always read when a function runs."""


def maybe_mark_dynamic(t, index=None) -> None:
    """Accepted: sizes are always read when a function runs."""


def mark_static(t, index=None) -> None:
    """Accepted: sizes are always read when a function runs."""


def mark_static_address(t, guard: bool = False) -> None:
    """Accepted: no graph is recorded that could hold an address."""


def _cannot(name: str):
    def function(*args, **kwargs):
        raise RuntimeError(f"torch._dynamo.{name}: flambeau has no compiler of programs, and traces nothing")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Raises: nothing is traced."
    return function


explain = _cannot("explain")
export = _cannot("export")
