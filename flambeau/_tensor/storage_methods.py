"""Methods of `UntypedStorage` that are written in Python. They come when they are first called."""

from __future__ import annotations

import os
import sys

import flambeau
from flambeau import _C
from flambeau.storage import TypedStorage, copy_storage, storage_bytes, untyped_from_bytes

#: Methods that give the same bytes converted to elements of a dtype.
CONVERSIONS = {
    "bfloat16": "bfloat16",
    "bool": "bool",
    "byte": "uint8",
    "char": "int8",
    "complex_double": "complex128",
    "complex_float": "complex64",
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "int": "int32",
    "long": "int64",
    "short": "int16",
}


def clone(self):
    """A copy in memory of its own."""
    return untyped_from_bytes(storage_bytes(self) if self.nbytes() else b"")


def tolist(self) -> list[int]:
    """The bytes, as numbers from 0 to 255."""
    return list(storage_bytes(self))


def copy_(self, source, non_blocking=None):
    """Overwrites the bytes with those of another storage of the same size."""
    source = source.untyped() if isinstance(source, TypedStorage) else source
    if source.nbytes() != self.nbytes():
        raise RuntimeError(
            f"copy_: expected a storage of {self.nbytes()} bytes, got one of {source.nbytes()}"
        )
    if self.nbytes():
        storage_bytes(self)[:] = storage_bytes(source)
    return self


def fill_(self, value: int):
    """Sets every byte to a number from 0 to 255."""
    if self.nbytes():
        storage_bytes(self)[:] = bytes([value]) * self.nbytes()
    return self


def untyped(self):
    """The storage itself."""
    return self


def cpu(self):
    """The storage itself: it is in host memory already."""
    return self


def to(self, *, device, non_blocking=False):
    """The storage on another device: only the CPU is there."""
    if flambeau.device(device).type != "cpu":
        raise RuntimeError(f"UntypedStorage.to: flambeau has no memory on {device}")
    return self


def cuda(self, device=None, non_blocking=False):
    """AssertionError: there is no CUDA device."""
    raise AssertionError("Torch not compiled with CUDA enabled")


def element_size(self) -> int:
    """1: elements are bytes."""
    return 1


def get_device(self) -> int:
    """-1: the CPU has no index."""
    return -1


def is_pinned(self, device="cuda") -> bool:
    """False: memory is pinned for an accelerator, and there is none."""
    return False


def new(self):
    """An empty storage."""
    return _C.UntypedStorage(0)


def type_(self, dtype=None, non_blocking=False) -> str:
    """The name of the class, as PyTorch gives it."""
    return "torch.storage.UntypedStorage"


def byteswap(self, dtype) -> None:
    """Reverses the bytes of each element, in place."""
    from flambeau._serialization.storages import reverse_byte_order

    if self.nbytes() % dtype.itemsize:
        raise RuntimeError(f"byteswap: {self.nbytes()} bytes are not whole elements of {dtype}")
    reverse_byte_order(self, dtype)


def _new_shared(cls, size: int, *, device="cpu"):
    """A storage in memory that other processes can see."""
    return _C.UntypedStorage(size).share_memory_()


def from_file(cls, filename, shared: bool = False, nbytes: int = 0):
    """The bytes of a file, which is mapped into memory.

    Args:
        filename: its path.
        shared: whether writes go to the file, which is made or extended if need be; otherwise they stay private.
        nbytes: how many of its bytes; 0 is all.
    """
    return _C._storage_on_file(os.fspath(filename), bool(shared), nbytes)


def from_buffer(cls, buffer, byte_order=None, *, dtype=None, count: int = -1, offset: int = 0):
    """A copy of the bytes of any object with the buffer protocol.

    Args:
        buffer: the object.
        byte_order: ``"native"``, ``"little"`` or ``"big"``: how `dtype` elements are stored in it.
        dtype: of the elements; uint8 by default.
        count: how many elements; -1 is all.
        offset: bytes to leave out at the beginning.
    """
    dtype = dtype or flambeau.uint8
    view = memoryview(buffer).cast("B")
    if not 0 <= offset <= len(view):
        raise ValueError(
            f"offset must be non-negative and no greater than buffer length ({len(view)}), but got {offset}"
        )
    available, rest = divmod(len(view) - offset, dtype.itemsize)
    if count < 0 and rest:
        raise ValueError(f"buffer size ({len(view)}) must be a multiple of element size ({dtype.itemsize})")
    if count > available:
        raise ValueError(
            f"buffer has only {available} elements after offset {offset}, but specified a size of {count}"
        )
    size = (available if count < 0 else count) * dtype.itemsize
    storage = untyped_from_bytes(view[offset : offset + size])
    if byte_order not in (None, "native", "little", "big"):
        raise ValueError(f"invalid byte_order '{byte_order}' (expected 'big', 'little', or 'native')")
    if byte_order in ("little", "big") and byte_order != sys.byteorder:
        byteswap(storage, dtype)
    return storage


def repr_(self) -> str:
    """The bytes, a line each, and the size."""
    head = f"[torch.storage.UntypedStorage(device={self.device}) of size {self.nbytes()}]"
    if self.device.type == "meta":
        return "...\n" + head
    return "".join(f" {value}\n" for value in tolist(self)) + head


def copy_of(self):
    """`copy.copy`: memory of its own, too."""
    return clone(self)


def deepcopy(self, memo: dict):
    """`copy.deepcopy`: what was shared stays shared."""
    return copy_storage(self, memo)


def _converted(name: str):
    def method(self):
        source = TypedStorage(wrap_storage=self, dtype=flambeau.uint8)
        return getattr(source, name)()

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"The bytes as numbers, in a new `TypedStorage` of {CONVERSIONS[name]}."
    return method


for _name in CONVERSIONS:
    globals()[f"to_{_name}"] = _converted(_name)
