"""Exchanging tensors with other libraries by DLPack, without copying."""

from __future__ import annotations

import flambeau

__all__ = ["from_dlpack", "to_dlpack"]


def from_dlpack(ext_tensor):
    """A tensor that shares memory with an object that has ``__dlpack__``, or with a DLPack capsule."""
    return flambeau.from_dlpack(ext_tensor)


def to_dlpack(tensor):
    """A DLPack capsule that shares memory with the tensor; it can be consumed once."""
    return tensor.__dlpack__()
