"""Names for annotations."""

from __future__ import annotations

import os
from typing import IO, Any, Union

import flambeau
from flambeau import Size, Tensor
from flambeau.storage import TypedStorage, UntypedStorage

__all__ = ["Device", "FileLike", "Number", "Size", "Storage", "Tensor"]

# A Union, not X | Y: programs read its arguments.
Number = Union[int, float, bool]  # noqa: UP007
Device = Union[flambeau.device, str, int, None]  # noqa: UP007
FileLike = Union[str, os.PathLike, IO[bytes]]  # noqa: UP007
Storage = Union[TypedStorage, UntypedStorage, Any]  # noqa: UP007
BoolLikeType, IntLikeType, FloatLikeType = bool, int, float

# Names that annotations of libraries use.
_int, _float, _bool, _str, _complex, _bytes = int, float, bool, str, complex, bytes
_device, _dtype, _layout = flambeau.device, flambeau.dtype, flambeau.layout
_size = Union[Size, list[int], tuple[int, ...]]  # noqa: UP007
_Number = (int, float, bool)
