"""What stands between the brackets of ``x[...]`` and is not a tensor yet."""

from __future__ import annotations

import flambeau


def as_index(obj):
    """A list, tuple, range or array as an index tensor: bool and uint8 are masks, all else becomes int64."""
    if not hasattr(obj, "__getitem__"):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(obj).__name__})"
        )
    index = flambeau._C.tensor_from_data(obj, None, "cpu")
    return index if index.dtype in (flambeau.bool, flambeau.uint8) else index.to(flambeau.int64)


def as_value(value, like):
    """Only tensors and numbers are assigned; anything else must be made one first."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    raise TypeError(f"can't assign a {name} to a {like.type()}: convert it with torch.tensor")
