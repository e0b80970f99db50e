"""DLPack, the protocol by which array libraries share memory: the half that is written in Python."""

from __future__ import annotations

import enum

import flambeau
from flambeau import _C


class DLDeviceType(enum.IntEnum):
    """DLPack's numbers for kinds of devices."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLOpenCL = 4
    kDLVulkan = 7
    kDLMetal = 8
    kDLVPI = 9
    kDLROCM = 10
    kDLROCMHost = 11
    kDLExtDev = 12
    kDLCUDAManaged = 13
    kDLOneAPI = 14
    kDLWebGPU = 15
    kDLHexagon = 16
    kDLMAIA = 17


def dlpack(self, *, stream=None, max_version=None, dl_device=None, copy=None):
    """A DLPack capsule that shares memory with the tensor; another library can consume it once.

    Args:
        stream: None (or -1): there are no streams on the CPU.
        max_version: the highest version (major, minor) the consumer knows; versioned capsules from (1, 0) on.
        dl_device: where the consumer wants it: (kDLCPU, 0).
        copy: True gives it memory of its own.

    Raises BufferError for tensors that require grad or have no memory.
    """
    if stream not in (None, -1):
        raise AssertionError("stream should be None on cpu.")
    if dl_device is not None and tuple(dl_device) != (DLDeviceType.kDLCPU, 0):
        raise BufferError(f"__dlpack__: the tensor cannot be moved to DLPack device {tuple(dl_device)}")
    versioned = max_version is not None and max_version[0] >= 1
    return _C._to_dlpack(self.clone() if copy else self, versioned, bool(copy))


def dlpack_device(self):
    """The tensor's device in DLPack's numbers: (kDLCPU, 0)."""
    if self.device.type != "cpu":
        raise ValueError(f"Unknown device type {self.device.type} for Dlpack")
    return DLDeviceType.kDLCPU, 0


def _capsule(obj, copy):
    if not hasattr(obj, "__dlpack__"):
        return obj
    device = obj.__dlpack_device__()
    if device[0] != DLDeviceType.kDLCPU:
        raise BufferError(
            f"from_dlpack: the array is on DLPack device {tuple(device)}; only CPU memory can be read"
        )
    options = {} if copy is None else {"copy": copy}
    try:
        return obj.__dlpack__(max_version=(1, 0), **options)
    except TypeError:
        # A library that knows only the first version of the protocol.
        return obj.__dlpack__()


def from_dlpack(ext_tensor, *, device=None, copy=None):
    """A tensor that shares memory with an object that has ``__dlpack__``, or with a DLPack capsule.

    Args:
        device: where the result should be: the CPU.
        copy: True always copies; False raises where only a copy would do.

    >>> flambeau.from_dlpack(flambeau.ones(2))
    tensor([1., 1.])
    """
    tensor = _C._from_dlpack(_capsule(ext_tensor, copy))
    if device is not None and flambeau.device(device).type != "cpu":
        if copy is False:
            raise ValueError(f"from_dlpack: the array cannot be moved to {device} without a copy")
        return tensor.to(device)
    return tensor.clone() if copy else tensor
