"""Rules of reading and writing by index. Indices that differ between examples get the number of the example beside them."""

import flambeau

from .. import _C
from .batching import (
    Tensor,
    batched_front,
    by_example,
    front,
    rank,
    register_rule,
    rule,
    wrapped_dim,
)

_call = _C._call


def _as_positions(indices, dims):
    """Masks that are the same for all examples become positions; those that differ have no shape of their own."""
    out, out_dims = [], []
    for index, dim in zip(indices, dims, strict=True):
        if index is not None and index.dtype in (flambeau.bool, flambeau.uint8):
            if dim is not None:
                raise RuntimeError(
                    "vmap: It looks like you're attempting to use an operator (index by a mask) whose result has a shape "
                    "that depends on the data. We don't support vmap over those. Use torch.where instead"
                )
            places = index.nonzero().unbind(1)
            out += places
            out_dims += [None] * len(places)
        else:
            out.append(index)
            out_dims.append(dim)
    return out, out_dims


def _aligned(indices, dims):
    """Examples in front of the indices that differ, and one rank for all; with that rank."""
    ranks = [rank(i, d) for i, d in zip(indices, dims, strict=True) if i is not None]
    n = max(ranks)
    out = []
    for index, dim in zip(indices, dims, strict=True):
        if index is not None and dim is not None:
            index = front(index, dim)
            index = index.reshape(index.shape[0], *(1,) * (n + 1 - index.ndim), *index.shape[1:])
        out.append(index)
    return out, n


def _adjacent(indices):
    used = [k for k, i in enumerate(indices) if i is not None]
    return used == list(range(used[0], used[-1] + 1))


def _numbers(size, n, device):
    return flambeau.arange(size, device=device).view(size, *(1,) * n)


@rule("index")
def index(op, values, dims, size):
    """x[i, :, j] of every example."""
    x, indices = values
    indices, idims = _as_positions(indices, dims[1])
    indices, n = _aligned(indices, idims)
    first = next(k for k, i in enumerate(indices) if i is not None)
    together = _adjacent(indices)
    if all(d is None for d in idims):
        out = _call(op, (front(x, dims[0]), (None, *indices)))
        return out, 0 if together else n
    if dims[0] is None:
        # The examples come with the indices, where those come in the result.
        return _call(op, (x, tuple(indices))), first if together else 0
    x = front(x, dims[0])
    out = _call(op, (x, (_numbers(size, n, x.device), *indices)))
    if together and first:
        # (B, I..., before..., after...) to (B, before..., I..., after...)
        out = out.movedim(tuple(range(1, n + 1)), tuple(range(first + 1, first + n + 1)))
    return out, 0


@rule("index_put_")
def index_put_(op, values, dims, size):
    """x[i, :, j] = values, in every example."""
    x, indices, source, accumulate = values
    if dims[0] is None:
        _call(op, values)
        return x, None
    target = x.movedim(dims[0], 0) if dims[0] else x
    masks = [k for k, i in enumerate(indices) if i is not None and i.dtype in (flambeau.bool, flambeau.uint8)]
    if masks and any(dims[1][k] is not None for k in masks):
        return _put_by_mask(x, target, indices, dims, source, accumulate)
    indices, idims = _as_positions(indices, dims[1])
    indices, n = _aligned(indices, idims)
    first = next(k for k, i in enumerate(indices) if i is not None)
    together = _adjacent(indices)
    used = [i for i in indices if i is not None]
    spread = flambeau.broadcast_shapes(*(tuple(i.shape[1:] if i.ndim > n else i.shape) for i in used))
    rest = [s for k, s in enumerate(target.shape[1:]) if k >= len(indices) or indices[k] is None]
    before = first if together else 0
    shape = (*rest[:before], *spread, *rest[before:])
    source = batched_front(source, dims[2], size)
    missing = len(shape) + 1 - source.ndim
    if missing > 0:
        source = source.reshape(source.shape[0], *(1,) * missing, *source.shape[1:])
    source = source.expand(size, *shape)
    if before:
        source = source.movedim(
            tuple(range(before + 1, before + 1 + len(spread))), tuple(range(1, 1 + len(spread)))
        )
    numbers = _numbers(size, max(n, len(spread)), target.device)
    _call(op, (target, (numbers, *indices), source, accumulate))
    return x, dims[0]


def _put_by_mask(x, target, indices, dims, source, accumulate):
    """One mask per example, and a value that fits everywhere."""
    if len(indices) > 1 or rank(source, dims[2]) > 0:
        raise RuntimeError(
            "vmap: It looks like you're attempting to write by a mask that differs between examples. We don't support that "
            "but for single values. Use torch.where instead"
        )
    mask = front(indices[0], dims[1][0]).bool()
    mask = mask.reshape(*mask.shape, *(1,) * (target.ndim - mask.ndim))
    if dims[2] is not None:
        source = source.reshape(-1, *(1,) * (target.ndim - 1))
    target.copy_(flambeau.where(mask, target + source if accumulate else source, target))
    return x, dims[0]


def _rows(value, dim, size, n):
    """Examples in front; a number per example as a row of one."""
    value = batched_front(value, dim, size)
    return value.unsqueeze(1) if n == 0 else value


def _as_before(result, n):
    return result.squeeze(1) if n == 0 else result


@rule("gather")
def gather(op, values, dims, size):
    """Input and index with the examples in front."""
    x, dim, picked = values[:3]
    n = rank(x, dims[0])
    many = rank(picked, dims[2])
    x, index = _rows(x, dims[0], size, n), _rows(picked, dims[2], size, many)
    out = _call(op, (x, wrapped_dim(dim, n) + 1, index, *values[3:]))
    return _as_before(out, many), 0


def _scatter(op, values, dims, size):
    target, dim, picked, *rest = values
    n = rank(target, dims[0])
    if op.__name__.partition(".")[0].endswith("_"):
        if dims[0] is None:
            _call(op, values)
            return target, None
        x = target.movedim(dims[0], 0)
        x = x.unsqueeze(1) if n == 0 else x
    else:
        x = _rows(target, dims[0], size, n)
    index = _rows(picked, dims[2], size, rank(picked, dims[2]))
    if rest and isinstance(rest[0], Tensor):
        rest[0] = _rows(rest[0], dims[3], size, rank(rest[0], dims[3]))
    out = _call(op, (x, wrapped_dim(dim, n) + 1, index, *rest))
    if op.__name__.partition(".")[0].endswith("_"):
        return target, dims[0]
    return _as_before(out, n), 0


for _name in (
    "scatter.src scatter.value scatter.reduce scatter.value_reduce scatter_add scatter_reduce scatter_.src "
    "scatter_.value scatter_.reduce scatter_.value_reduce scatter_add_ scatter_reduce_"
).split():
    register_rule(_name, _scatter)


@rule("index_select")
def index_select(op, values, dims, size):
    """One index for all examples is a dimension further; else every example has its own."""
    x, dim, picked = values[:3]
    n = rank(x, dims[0])
    dim = wrapped_dim(dim, n)
    if dims[2] is None:
        return _as_before(_call(op, (_rows(x, dims[0], size, n), dim + 1, picked, *values[3:])), n), 0
    picked = front(picked, dims[2])
    if picked.ndim == 1:
        picked = picked.unsqueeze(1)
    if n == 0:
        return by_example(op, values, dims, size)
    if dims[0] is None:
        out = flambeau.index_select(x, dim, picked.reshape(-1))
        return out.unflatten(dim, tuple(picked.shape)), dim
    x = front(x, dims[0])
    shape = [size, *(1,) * n]
    shape[dim + 1] = picked.shape[1]
    full = [*x.shape]
    full[dim + 1] = picked.shape[1]
    return x.gather(dim + 1, picked.reshape(shape).expand(full)), 0


def _index_write(op, values, dims, size):
    """Writing along a dimension at one index for all examples."""
    target, dim, picked, *rest = values
    in_place = op.__name__.partition(".")[0].endswith("_")
    if in_place and dims[0] is None:
        _call(op, values)
        return target, None
    n = rank(target, dims[0])
    if (
        dims[2] is not None
        or n == 0
        or (rest and isinstance(rest[0], Tensor) and op.__name__.startswith("index_fill"))
    ):
        return by_example(op, values, dims, size)
    x = target.movedim(dims[0], 0) if in_place else batched_front(target, dims[0], size)
    if rest and isinstance(rest[0], Tensor):
        rest[0] = batched_front(rest[0], dims[3], size)
        if rest[0].ndim < x.ndim:
            rest[0] = rest[0].unsqueeze(1)
    out = _call(op, (x, wrapped_dim(dim, n) + 1, picked, *rest))
    return (target, dims[0]) if in_place else (out, 0)


for _name in (
    "index_add index_copy index_reduce index_fill index_add_ index_copy_ index_reduce_ index_fill_"
).split():
    register_rule(_name, _index_write)


@rule("take")
def take(op, values, dims, size):
    """Positions in the flattened example."""
    x, picked = values[:2]
    if dims[0] is None:
        return _call(op, values), dims[1]
    x = front(x, dims[0]).reshape(size, -1)
    if dims[1] is None:
        return x[:, picked], 0
    picked = front(picked, dims[1])
    flat = picked.reshape(size, -1)
    return x.gather(1, flat.where(flat >= 0, flat + x.shape[1])).reshape(picked.shape), 0


def _depends(op, values, dims, size):
    raise RuntimeError(
        f"vmap: It looks like you're attempting to use an operator ({op.__name__}) whose result has a shape that depends on "
        "the data. We don't support vmap over those, because examples may differ. Use torch.where, or fixed sizes, instead"
    )


@rule("masked_select")
def masked_select(op, values, dims, size):
    """A mask that is the same for all examples picks the same places of each."""
    x, mask = values[:2]
    if dims[1] is not None:
        _depends(op, values, dims, size)
    x = front(x, dims[0])
    shape = flambeau.broadcast_shapes(tuple(x.shape[1:]), tuple(mask.shape))
    x = x.reshape(size, *(1,) * (len(shape) + 1 - x.ndim), *x.shape[1:]).expand(size, *shape)
    places = mask.expand(shape).reshape(-1).nonzero().squeeze(1)
    return x.reshape(size, -1).index_select(1, places), 0


for _name in "nonzero where.positions _unique_rows _repeat_interleave_index".split():
    register_rule(_name, _depends)


@rule("searchsorted")
def searchsorted(op, values, dims, size):
    """Sorted rows and values with the examples in front."""
    rows, wanted = values[:2]
    if (
        not isinstance(wanted, Tensor)
        or rank(wanted, dims[1]) != rank(rows, dims[0])
        or dims[4 + 1] is not None
    ):
        return by_example(op, values, dims, size)
    if rank(rows, dims[0]) == 1 and dims[0] is None:
        return _call(op, (rows, front(wanted, dims[1]), *values[2:])), 0
    return _call(
        op,
        (batched_front(rows, dims[0], size).contiguous(), batched_front(wanted, dims[1], size), *values[2:]),
    ), 0


@rule("bucketize")
def bucketize(op, values, dims, size):
    """The same boundaries for all examples."""
    if dims[1] is not None:
        return by_example(op, values, dims, size)
    return _call(op, values), dims[0]


@rule("embedding")
def embedding(op, values, dims, size):
    """Of one table, more indices; of many, rows of one long table."""
    table, indices, padding, *rest = values
    if dims[0] is None:
        return _call(op, (table, front(indices, dims[1]), padding, *rest)), 0
    table = front(table, dims[0])
    if dims[1] is None:
        out = table.index_select(1, indices.reshape(-1))
        return out.reshape(size, *indices.shape, table.shape[2]), 0
    indices = front(indices, dims[1])
    offsets = flambeau.arange(size, device=indices.device).mul(table.shape[1])
    places = indices + offsets.view(size, *(1,) * (indices.ndim - 1))
    return _call(op, (table.reshape(-1, table.shape[2]), places, -1, *rest)), 0


@rule("embedding_dense_backward")
def embedding_dense_backward(op, values, dims, size):
    """A table per example: together one long table."""
    grad, indices, count, padding, by_frequency = values
    grad = batched_front(grad, dims[0], size)
    indices = batched_front(indices, dims[1], size)
    if padding >= 0:
        grad = grad.masked_fill((indices == padding).unsqueeze(-1), 0)
    offsets = flambeau.arange(size, device=indices.device).mul(count)
    places = indices + offsets.view(size, *(1,) * (indices.ndim - 1))
    out = _call(op, (grad, places, size * count, -1, by_frequency))
    return out.reshape(size, count, grad.shape[-1]), 0
