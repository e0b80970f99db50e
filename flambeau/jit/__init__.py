"""TorchScript's names. There is no such compiler: functions and modules run as the Python that they are.

Marks (`ignore`, `export`, `unused` ...) leave functions alone; `script` returns what it is given, which computes the same.
What needs a compiled or recorded program (`trace`, `load`, `save`, `freeze`) says so when it is called.
"""

from __future__ import annotations

import collections
import typing
from typing import Final

from flambeau import nn

__all__ = [
    "Attribute",
    "CompilationUnit",
    "Error",
    "Final",
    "Future",
    "ScriptFunction",
    "ScriptModule",
    "RecursiveScriptModule",
    "TracerWarning",
    "annotate",
    "enable_onednn_fusion",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "onednn_fusion_enabled",
    "optimize_for_inference",
    "optimized_execution",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "strict_fusion",
    "trace",
    "trace_module",
    "unused",
    "wait",
]

#: A value with its type, as modules for TorchScript declare it.
Attribute = collections.namedtuple("Attribute", ["value", "type"])
_isinstance = isinstance


class Error(RuntimeError):
    """Never raised here: no compiled program runs."""


class TracerWarning(Warning):
    """Never issued here: nothing is traced."""

    @staticmethod
    def ignore_lib_warnings() -> None:
        """Nothing to ignore."""


class ScriptModule(nn.Module):
    """A module written for TorchScript, which is an ordinary module here."""


class RecursiveScriptModule(ScriptModule):
    """The type of compiled modules in PyTorch; `script` makes none here, so that ``isinstance`` says no."""


class ScriptFunction:
    """The type of compiled functions in PyTorch; `script` makes none here, so that ``isinstance`` says no."""


class Future:
    """The result of `fork`, which is there at once."""

    def __init__(self, value):
        self._value = value

    def wait(self):
        """The result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """Whether the result is there: always."""
        return True


def is_scripting() -> bool:
    """Whether this runs inside TorchScript: never."""
    return False


def is_tracing() -> bool:
    """Whether a program is being recorded: never."""
    return False


def script(obj=None, optimize=None, _frames_up=0, _rcb=None, example_inputs=None):
    """Returns the function, class or module as it is.

    >>> @flambeau.jit.script
    ... def f(x):
    ...     return x + 1
    >>> f(flambeau.zeros(1))
    tensor([1.])
    """
    return (lambda o: o) if obj is None else obj


def script_if_tracing(fn):
    """Returns the function: nothing is traced."""
    return fn


_script_if_tracing = script_if_tracing


def script_method(fn):
    """Returns the method."""
    return fn


def export(fn):
    """Returns the method."""
    return fn


def _overload(fn):
    """Marks one of several signatures, whose last definition is the function; returns it."""
    return fn


_overload_method = _overload


def unused(fn):
    """Returns the method."""
    return fn


def ignore(drop=False, **kwargs):
    """Returns the method. Usable as a decorator with or without options."""
    return drop if callable(drop) else lambda fn: fn


def interface(obj):
    """Returns the class."""
    return obj


def annotate(the_type, the_value):
    """Returns the value."""
    return the_value


def fork(func, *args, **kwargs) -> Future:
    """Calls the function; `wait` gives its result. Nothing runs beside it."""
    return Future(func(*args, **kwargs))


def wait(future):
    """The result of `fork`."""
    return future.wait()


def isinstance(obj, target_type) -> bool:
    """``isinstance`` that looks into ``List``, ``Dict``, ``Tuple``, ``Optional`` and ``Union``.

    >>> from typing import List
    >>> flambeau.jit.isinstance([1.0], List[int])
    False
    """
    if _isinstance(target_type, tuple):
        return any(isinstance(obj, each) for each in target_type)
    origin, arguments = typing.get_origin(target_type), typing.get_args(target_type)
    if origin is None:
        return obj is None if target_type is None else _isinstance(obj, target_type)
    if origin is typing.Union or type(target_type).__name__ == "UnionType":
        return any(isinstance(obj, each) for each in arguments)
    if not _isinstance(obj, origin):
        return False
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(isinstance(each, arguments[0]) for each in obj)
        return len(obj) == len(arguments) and all(map(isinstance, obj, arguments))
    if origin is dict:
        return all(isinstance(key, arguments[0]) and isinstance(obj[key], arguments[1]) for key in obj)
    return all(isinstance(each, arguments[0]) for each in obj)


class strict_fusion:
    """Context manager that does nothing: nothing is fused."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None


class optimized_execution(strict_fusion):
    """Context manager that does nothing: there is one way to execute."""

    def __init__(self, should_optimize):
        pass


def set_fusion_strategy(strategy):
    """Accepted; returns the setting before, which is empty."""
    return []


def enable_onednn_fusion(enabled: bool) -> None:
    """Accepted: nothing is fused."""


def onednn_fusion_enabled() -> bool:
    """Whether oneDNN fuses operators: no."""
    return False


def _cannot(name: str, instead: str):
    def function(*args, **kwargs):
        raise RuntimeError(
            f"torch.jit.{name}: flambeau has no TorchScript, and records no programs. {instead}"
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Raises: there is no TorchScript. {instead}"
    return function


_CALL = "Call the function or module itself."
_FILES = "Keep a model's weights with torch.save(model.state_dict(), path)."
trace = _cannot("trace", _CALL)
trace_module = _cannot("trace_module", _CALL)
freeze = _cannot("freeze", _CALL)
optimize_for_inference = _cannot("optimize_for_inference", _CALL)
CompilationUnit = _cannot("CompilationUnit", _CALL)
save = _cannot("save", _FILES)
load = _cannot("load", _FILES)
