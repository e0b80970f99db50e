"""Exchanging tensors with other libraries by DLPack, without copying."""

from __future__ import annotations

from flambeau._tensor.dlpack import DLDeviceType, from_dlpack

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]


def to_dlpack(tensor):
    """A DLPack capsule that shares memory with the tensor; it can be consumed once."""
    return tensor.__dlpack__()
