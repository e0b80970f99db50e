"""Programs as graphs: the names of it. flambeau records no programs, so that nothing here can be made.

Marks (`wrap`) and questions (``isinstance(x, torch.fx.Proxy)``) work; making a graph says why it cannot.
"""

from __future__ import annotations

from flambeau import nn

__all__ = [
    "CodeGen",
    "Graph",
    "GraphModule",
    "Interpreter",
    "Node",
    "Proxy",
    "Tracer",
    "Transformer",
    "has_side_effect",
    "replace_pattern",
    "symbolic_trace",
    "wrap",
]


def _refuse(name: str):
    raise RuntimeError(f"torch.fx.{name}: flambeau records no programs as graphs; call the module itself")


class _Absent:
    def __init__(self, *args, **kwargs):
        _refuse(type(self).__name__)


class Proxy(_Absent):
    """A value of a program that is being recorded; there are none, so that ``isinstance`` says no."""


class Node(_Absent):
    """A step of a recorded program; see `Proxy`."""


class Graph(_Absent):
    """A recorded program; see `Proxy`."""


class CodeGen(_Absent):
    """Python code from a recorded program; see `Proxy`."""


class Interpreter(_Absent):
    """Runs a recorded program; see `Proxy`."""


class Transformer(Interpreter):
    """Rewrites a recorded program; see `Proxy`."""


class GraphModule(nn.Module):
    """A module made from a recorded program; see `Proxy`."""

    def __init__(self, *args, **kwargs):
        _refuse("GraphModule")


class Tracer:
    """Records programs: it can be made and subclassed, and `trace` says that it cannot record."""

    def __init__(self, *args, **kwargs):
        pass

    def is_leaf_module(self, m, module_qualified_name) -> bool:
        """Whether recording would stop at the module: at those of `flambeau.nn`."""
        return type(m).__module__.startswith("flambeau.nn")

    def trace(self, root, concrete_args=None):
        """Raises: nothing is recorded."""
        _refuse("Tracer.trace")


def wrap(fn_or_name):
    """Marks a function as one step of recorded programs; returns it."""
    if not (callable(fn_or_name) or isinstance(fn_or_name, str)):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    return fn_or_name


def has_side_effect(fn):
    """Marks a function; returns it."""
    return fn


def symbolic_trace(root, concrete_args=None):
    """Raises: nothing is recorded."""
    _refuse("symbolic_trace")


def replace_pattern(gm, pattern, replacement):
    """Raises: nothing is recorded."""
    _refuse("replace_pattern")
