"""Reductions of neighbouring elements: segments of a dimension, each of its own length."""

import math

from .registry import composite

#: Name -> (scatter_reduce's name, what an empty segment gives).
_REDUCTIONS = {
    "sum": ("sum", 0),
    "mean": ("sum", 0),
    "prod": ("prod", 1),
    **dict.fromkeys(("max", "amax"), ("amax", -math.inf)),
    **dict.fromkeys(("min", "amin"), ("amin", math.inf)),
}


@composite(aliases=("_segment_reduce",))
def segment_reduce(
    data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None
):
    """Reduces consecutive segments of dimension `axis` to one element each.

    Args:
        data: floating, of shape (*B, n, *rest) with `axis` dimensions in B.
        reduce: "sum", "mean", "prod", "max" or "min" ("amax", "amin").
        lengths: of shape (*B, s), int32 or int64: each segment's number of elements. They add up to n, or to less
            with `unsafe`.
        offsets: of shape (*B, s + 1), instead of lengths: where the segments begin, and where the last one ends.
        initial: takes part in every segment once; an empty segment gives it. Without it an empty segment gives the
            reduction's identity (nan for the mean). It does not count in the mean's denominator.

    Returns:
        shape (*B, s, *rest).

    >>> flambeau.segment_reduce(flambeau.tensor([1.0, 2.0, 3.0]), "sum", lengths=flambeau.tensor([2, 1]))
    tensor([3., 3.])
    """
    import flambeau

    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if not data.is_floating_point():
        raise NotImplementedError(f'"_segment_reduce_cpu" not implemented for {data.dtype}')
    axis = axis + data.dim() if axis < 0 else axis
    given, name = (lengths, "lengths") if lengths is not None else (offsets, "offsets")
    if given.dtype not in (flambeau.int32, flambeau.int64):
        raise NotImplementedError(f"segment_reduce(): {name} must be int32 or int64, got {given.dtype}")
    if not 0 <= axis < data.dim() or given.dim() != axis + 1:
        raise RuntimeError(
            f"segment_reduce(): Expected axis to be the last dimension of {name} but got {axis} "
            f"({name} has shape {list(given.shape)}, data {list(data.shape)})."
        )
    if given.shape[:axis] != data.shape[:axis]:
        raise RuntimeError(
            f"segment_reduce(): {name} of shape {list(given.shape)} do not fit data of shape {list(data.shape)}"
        )
    with flambeau.no_grad():
        counts, places = _places(given.to(flambeau.int64), name, data.size(axis), unsafe)
    segments = counts.size(-1)
    rest = (1,) * (data.dim() - axis - 1)
    shape = (*data.shape[:axis], segments, *data.shape[axis + 1 :])
    kind, identity = _REDUCTIONS[reduce]
    # One segment more takes what lies in none.
    result = data.new_full((*shape[:axis], segments + 1, *shape[axis + 1 :]), identity)
    index = places.reshape(*places.shape, *rest).expand(data.shape)
    result = result.scatter_reduce(axis, index, data, kind, include_self=False).narrow(axis, 0, segments)
    if initial is not None:
        initial = float(initial)
        if kind == "sum":
            result = result + initial
        elif kind == "prod":
            result = result * initial
        else:
            worse = result < initial if kind == "amax" else result > initial
            result = flambeau.where(worse, initial, result)
    if reduce == "mean":
        counts = counts.reshape(*counts.shape, *rest)
        empty = math.nan if initial is None else initial
        result = flambeau.where(counts == 0, empty, result / counts.clamp(min=1).to(data.dtype))
    return result


def _places(given, name, size, unsafe):
    """The segments' lengths, and for each of `size` elements its segment's number: one beyond the last if it is in none."""
    import flambeau

    if name == "lengths":
        if (given < 0).any():
            raise RuntimeError("segment_reduce(): lengths contains negative value!")
        if (given > size).any():
            raise RuntimeError(
                f"segment_reduce(): lengths contains a value above the {size} elements of data"
            )
        ends = given.cumsum(-1)
        total = given.sum(-1)
        if (total > size).any() or not (unsafe or (total == size).all()):
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) "
                "when !unsafe."
            )
        starts = ends - given
    else:
        if given.size(-1) == 0:
            raise RuntimeError(
                "segment_reduce(): offsets holds at least one number, the end of the last segment"
            )
        starts, ends = given[..., :-1], given[..., 1:]
        if (given < 0).any() or (given > size).any() or (ends < starts).any():
            raise RuntimeError(f"segment_reduce(): offsets must rise from 0 or above to at most {size}")
    positions = flambeau.arange(size).expand(*given.shape[:-1], size).contiguous()
    if starts.size(-1) == 0:
        return ends, flambeau.zeros_like(positions)
    places = flambeau.searchsorted(ends.contiguous(), positions, right=True)
    places = flambeau.where(positions < starts[..., :1], starts.size(-1), places)
    return ends - starts, places
