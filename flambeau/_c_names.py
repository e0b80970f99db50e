"""Names that libraries look for in ``torch._C`` and whose home here is in Python."""

from __future__ import annotations

import importlib

#: {name: the module that defines it, and its name there if that is another}
_HOMES = {
    "DispatchKey": "_dispatch_keys",
    "DispatchKeySet": "_dispatch_keys",
    "_ExcludeDispatchKeyGuard": "_dispatch_keys",
    "DisableTorchFunctionSubclass": "_settings",
    "_LinAlgError": "_ops.factorizations:LinAlgError",
    "_get_default_device": "_c_names",
    "_get_tracing_state": "_c_names",
    "_log_api_usage_once": "_c_names",
}


def find(name: str):
    """What ``torch._C.NAME`` is, when the native module has no such name itself.

    >>> from flambeau import _C
    >>> _C._get_tracing_state() is None
    True
    """
    if name not in _HOMES:
        raise AttributeError(f"module 'torch._C' has no attribute '{name}' in flambeau")
    module, _, theirs = _HOMES[name].partition(":")
    return getattr(importlib.import_module("." + module, __package__), theirs or name)


def _get_tracing_state() -> None:
    """The trace that is being recorded: there is none."""


def _log_api_usage_once(event: str) -> None:
    """Nothing is counted."""


def _get_default_device() -> str:
    """The kind of device of new tensors."""
    from ._device import get_default_device

    return get_default_device().type
