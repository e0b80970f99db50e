"""Making one batch of many samples."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence

import flambeau

from .worker import get_worker_info

_WORTH_SHARING = 4096  # bytes
_UNKNOWN = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def _numpy_kind(value) -> str | None:
    """``"array"``, ``"scalar"`` or None. NumPy that has not been imported can't have made the value."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if isinstance(value, numpy.ndarray):
        return "array"
    return "scalar" if isinstance(value, numpy.generic) else None


#: Finds, in the letters of a NumPy dtype, those whose arrays hold text or objects and are no tensors.
np_str_obj_array_pattern = re.compile("[SaUO]")


def _is_text_array(value) -> bool:
    return np_str_obj_array_pattern.search(value.dtype.str) is not None


def _is_namedtuple(value) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def default_convert(data):
    """Turn the NumPy arrays and numbers inside a sample into tensors, keeping its structure.

    >>> from flambeau.utils.data import default_convert
    >>> default_convert({"a": "text", "b": 1})
    {'a': 'text', 'b': 1}
    """
    if isinstance(data, flambeau.Tensor):
        return data
    if _numpy_kind(data) is not None:
        return data if _is_text_array(data) else flambeau.as_tensor(data)
    if isinstance(data, Mapping):
        return _rebuild_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if _is_namedtuple(data):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _rebuild_sequence(data, [default_convert(value) for value in data])
    return data


def _rebuild_mapping(like: Mapping, items: dict):
    """A mapping of the same type with the items; a plain dict if the type can't be made so."""
    try:
        if isinstance(like, MutableMapping):
            result = copy.copy(like)
            result.update(items)
            return result
        return type(like)(items)
    except TypeError:
        return items


def _rebuild_sequence(like: Sequence, items: list):
    """A sequence of the same type with the items; a list if the type can't be made so."""
    if isinstance(like, range):
        return items
    try:
        if isinstance(like, MutableSequence) and len(like) == len(items):
            result = copy.copy(like)
            for i, item in enumerate(items):
                result[i] = item
            return result
        return type(like)(items)
    except TypeError:
        return items


def collate(batch: list, *, collate_fn_map: dict | None = None):
    """Combine samples of any structure, with a function per type of leaf.

    Args:
        batch: the samples.
        collate_fn_map: from a type, or a tuple of types, to a function ``f(batch, *, collate_fn_map)``.
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map:
        if kind in collate_fn_map:
            return collate_fn_map[kind](batch, collate_fn_map=collate_fn_map)
        for types, function in collate_fn_map.items():
            if isinstance(first, types):
                return function(batch, collate_fn_map=collate_fn_map)
    numpy_kind = _numpy_kind(first)
    if collate_fn_map is default_collate_fn_map and numpy_kind is not None:
        return _collate_numpy(batch, numpy_kind)

    def together(items):
        return collate(items, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _rebuild_mapping(first, {key: together([sample[key] for sample in batch]) for key in first})
    if _is_namedtuple(first):
        return kind(*(together(column) for column in zip(*batch, strict=True)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [together(column) for column in zip(*batch, strict=True)]
        return columns if isinstance(first, tuple) else _rebuild_sequence(first, columns)
    raise TypeError(_UNKNOWN.format(kind))


def collate_tensor_fn(batch, *, collate_fn_map=None):
    """Stack tensors; in a worker, into memory that the loader sees. The functions for other types are alike."""
    first = batch[0]
    alike = all(
        type(t) is flambeau.Tensor
        and t.shape == first.shape
        and t.dtype == first.dtype
        and not t.requires_grad
        for t in batch
    )
    room = room_for((len(batch), *first.shape), first.dtype) if alike and first.device.type == "cpu" else None
    return flambeau.stack(batch, 0, out=room)


def room_for(shape, dtype):
    """In a worker, a place for a batch in memory that its loader will see; None where a place of its own will do."""
    if get_worker_info() is None:
        return None
    nbytes = dtype.itemsize * math.prod(shape)
    if nbytes < _WORTH_SHARING:
        return None
    storage = flambeau._C._segment_storage(nbytes)
    return flambeau._C.tensor_from_storage(storage, dtype, 0, shape, _dense_strides(shape))


def _dense_strides(shape) -> tuple:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _collate_numpy(batch, numpy_kind: str):
    if _is_text_array(batch[0]):
        raise TypeError(_UNKNOWN.format(batch[0].dtype))
    if numpy_kind == "scalar":
        return flambeau.as_tensor(batch)
    return collate_tensor_fn([flambeau.as_tensor(array) for array in batch])


def collate_float_fn(batch, *, collate_fn_map=None):
    return flambeau.tensor(batch, dtype=flambeau.float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    return flambeau.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    return batch


#: What `default_collate` does per type; programs add their own types.
default_collate_fn_map: dict = {
    flambeau.Tensor: collate_tensor_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: list):
    """Combine samples into one batch, which gets a new first dimension.

    Tensors and arrays are stacked, numbers become a tensor, text stays a list; dicts, tuples and lists are combined
    element by element.

    >>> from flambeau.utils.data import default_collate
    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
