"""What programs say to a compiler of programs, of which there is none: everything runs as it is written.

Marks and decorators leave functions as they are, and whoever asks whether something is being compiled is told no.
"""

from __future__ import annotations

import contextlib

from ._settings import compile

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "nested_compile_region",
    "reset",
    "set_enable_guard_collectives",
    "set_stance",
    "substitute_in_graph",
    "wrap_numpy",
]


def is_compiling() -> bool:
    """Whether a compiler is at work: never."""
    return False


def is_dynamo_compiling() -> bool:
    """Whether a compiler is at work: never."""
    return False


def is_exporting() -> bool:
    """Whether a program is being exported: never."""
    return False


def list_backends(exclude_tags=("debug", "experimental")) -> list[str]:
    """The names that `compile` takes for `backend`: none; it returns the model as it is."""
    return []


def disable(fn=None, recursive=True, *, reason=None):
    """Keep a function from being compiled, which it is not: returns the function. Usable as a decorator with options.

    >>> @flambeau.compiler.disable(recursive=False)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(2)
    4
    """
    return (lambda f: f) if fn is None else fn


def allow_in_graph(fn):
    """Returns the function (or the list of functions)."""
    return fn


def assume_constant_result(fn):
    """Returns the function."""
    return fn


def nested_compile_region(fn=None, options=None):
    """Returns the function. Usable as a decorator with options."""
    return (lambda f: f) if fn is None else fn


def wrap_numpy(fn):
    """A function of NumPy arrays as a function of tensors.

    Args:
        fn: takes and returns arrays, alone or in containers.
    """
    import functools

    import numpy

    import flambeau
    from flambeau.utils import _pytree

    @functools.wraps(fn)
    def wrapped(*args, **kwargs):
        args, kwargs = _pytree.tree_map_only(flambeau.Tensor, lambda t: t.numpy(), (args, kwargs))
        return _pytree.tree_map_only(numpy.ndarray, flambeau.from_numpy, fn(*args, **kwargs))

    return wrapped


def substitute_in_graph(original_fn, *, can_constant_fold_through=False, skip_signature_check=False):
    """Decorator that returns the function: nothing is traced, so the original is what runs."""
    return lambda fn: fn


def reset() -> None:
    """Nothing to forget: nothing has been compiled."""


def cudagraph_mark_step_begin() -> None:
    """Nothing to mark: no graph is recorded."""


def set_enable_guard_collectives(enabled: bool) -> bool:
    """Accepted; returns the setting before, which is False."""
    return False


class set_stance(contextlib.ContextDecorator):
    """How `compile` behaves, which is always "force_eager": the model runs as it is.

    A function at once, or a context manager, or a decorator.
    """

    _KNOWN = (
        "default",
        "default_eager",
        "eager_on_recompile",
        "fail_on_recompile",
        "eager_then_compile",
        "force_eager",
    )

    def __init__(self, stance: str = "default", *, skip_guard_eval_unsafe=False, force_backend=None):
        if stance not in self._KNOWN:
            raise RuntimeError(f"invalid torch.compile stance '{stance}': known are {', '.join(self._KNOWN)}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None
