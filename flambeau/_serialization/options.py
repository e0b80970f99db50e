"""Settings of `save` and `load`, as functions of `torch.serialization`."""

from __future__ import annotations

import mmap
import threading
from enum import Enum

__all__ = [
    "LoadEndianness",
    "get_crc32_options",
    "get_default_load_endianness",
    "get_default_mmap_options",
    "set_crc32_options",
    "set_default_load_endianness",
    "set_default_mmap_options",
    "skip_data",
]


class LoadEndianness(Enum):
    """The byte order of files that do not say theirs."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_load_endianness: LoadEndianness | None = None
_mmap_flags = mmap.MAP_PRIVATE
_checksums = True
_skipping = threading.local()


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order assumed for files that do not say theirs; None is little."""
    return _load_endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order assumed for files that do not say theirs."""
    global _load_endianness
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError(
            "Invalid argument type in function set_default_load_endianness: expected a LoadEndianness or None, got "
            f"{type(endianness).__name__}"
        )
    _load_endianness = endianness


def get_default_mmap_options() -> int:
    """How `load(..., mmap=True)` maps files: ``mmap.MAP_PRIVATE`` or ``mmap.MAP_SHARED``."""
    return _mmap_flags


class set_default_mmap_options:
    """Set how `load(..., mmap=True)` maps files, for good, or for the length of a ``with`` block.

    Args:
        flags: ``mmap.MAP_PRIVATE``, the default: writing to tensors does not change the file; or ``mmap.MAP_SHARED``:
            it does.
    """

    def __init__(self, flags: int):
        global _mmap_flags
        if flags not in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            raise ValueError(
                "Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, "
                f"but got {flags}"
            )
        self._before = _mmap_flags
        _mmap_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *unused) -> None:
        global _mmap_flags
        _mmap_flags = self._before


def get_crc32_options() -> bool:
    """Whether `save` writes checksums."""
    return _checksums


def set_crc32_options(compute_crc32: bool) -> None:
    """Choose whether `save` writes checksums. Without them saving is faster, and damage goes unnoticed."""
    global _checksums
    _checksums = bool(compute_crc32)


class skip_data:
    """Context manager: `save` leaves room for the storages instead of writing them, and `load` does not read them.

    What is written afterwards into the file at a tensor's place is what the tensor holds when it is loaded.

    Args:
        materialize_fake_tensors: accepted; there are no fake tensors here.
    """

    def __init__(self, materialize_fake_tensors: bool = False):
        self._before = False

    def __enter__(self) -> None:
        self._before = skips_data()
        _skipping.now = True

    def __exit__(self, *unused) -> None:
        _skipping.now = self._before


def skips_data() -> bool:
    """Whether this thread is inside a `skip_data` block."""
    return getattr(_skipping, "now", False)
