"""The device of new tensors: `set_default_device`, and ``with torch.device(...):`` blocks."""

from __future__ import annotations

from flambeau import _C

__all__ = ["get_default_device", "set_default_device"]

_default = _C.device("cpu")
#: The devices that blocks under way replaced, innermost last.
_outer: list = []
_current = _default


def _use(device):
    global _current
    _C._set_default_device(device)
    _current = device


def enter(device):
    """Called by ``with device:``."""
    _outer.append(_current)
    try:
        _use(device)
    except BaseException:
        _outer.pop()
        raise
    return device


def leave(device):
    """Called at the end of ``with device:``."""
    _use(_outer.pop())


def set_default_device(device) -> None:
    """Make new tensors on `device` (a device, its name, or None for the CPU) when no other is named.

    >>> flambeau.set_default_device("meta")
    >>> flambeau.ones(2).device
    device(type='meta')
    >>> flambeau.set_default_device(None)
    """
    _use(_default if device is None else _C.device(device))


def get_default_device():
    """The device of new tensors.

    >>> flambeau.get_default_device()
    device(type='cpu')
    """
    return _current
