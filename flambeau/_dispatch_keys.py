"""Names of PyTorch's dispatcher that libraries write down when they are imported. Nothing here dispatches on them."""

from __future__ import annotations

import enum


class DispatchKey(enum.Enum):
    """Layers through which PyTorch's operators are called."""

    CPU = enum.auto()
    CUDA = enum.auto()
    Meta = enum.auto()
    Autograd = enum.auto()
    AutogradCPU = enum.auto()
    AutogradCUDA = enum.auto()
    AutocastCPU = enum.auto()
    AutocastCUDA = enum.auto()
    AutocastXPU = enum.auto()
    CompositeImplicitAutograd = enum.auto()
    CompositeExplicitAutograd = enum.auto()


class DispatchKeySet:
    """A set of keys.

    >>> from flambeau._dispatch_keys import DispatchKey, DispatchKeySet
    >>> keys = DispatchKeySet(DispatchKey.CPU) | DispatchKeySet(DispatchKey.CUDA)
    >>> keys.has(DispatchKey.CPU), keys.has(DispatchKey.Meta)
    (True, False)
    """

    def __init__(self, *keys: DispatchKey):
        self._keys = frozenset(keys)

    def __or__(self, other: DispatchKeySet) -> DispatchKeySet:
        return DispatchKeySet(*self._keys, *other._keys)

    def has(self, key: DispatchKey) -> bool:
        """Whether the key is in the set."""
        return key in self._keys


class _ExcludeDispatchKeyGuard:
    """Context manager that leaves layers out: autocast, the only one that can be left out here."""

    def __init__(self, keys: DispatchKeySet):
        from .amp import autocast

        if not keys.has(DispatchKey.AutocastCPU):
            raise RuntimeError(
                "flambeau has no dispatcher of which layers could be left out, except autocast"
            )
        self._block = autocast("cpu", enabled=False)

    def __enter__(self):
        self._block.__enter__()

    def __exit__(self, *exc):
        return self._block.__exit__(*exc)
