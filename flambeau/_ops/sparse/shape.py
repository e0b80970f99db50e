"""Other orders of dimensions, pieces, and tensors joined."""

import flambeau

from .convert import sparse_mask
from .core import (
    BSC,
    BSR,
    CSC,
    CSR,
    WORDS,
    coalesced,
    compressed,
    coo,
    form,
    is_coo,
    parts,
    refuse,
    sparse_dim,
    to_coo,
)
from .pointwise import deliver

_TURNED = {CSR: CSC, CSC: CSR, BSR: BSC, BSC: BSR}


def _masked(dense, input):
    """A strided gradient at the places of the sparse operand that it belongs to."""
    pattern = input.detach()
    return sparse_mask(dense, pattern.coalesce() if is_coo(pattern) else pattern)


def _zeros(grad, shape):
    return flambeau.zeros(tuple(shape), dtype=grad.dtype)


def _wrap(dim, ndim):
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-max(ndim, 1)}, {max(ndim, 1) - 1}], but got {dim})"
        )
    return dim % max(ndim, 1)


def _permuted(t, order):
    indices, _, values, _ = parts(t)
    count = indices.size(0)
    sizes = [t.size(d) for d in order]
    if list(order) == list(range(t.dim())):
        return t.detach()
    if any((d < count) != (place < count) for place, d in enumerate(order)):
        raise RuntimeError(
            "permute(sparse_coo): transpositions between sparse and dense dimensions are not allowed.Only transpositions "
            "within sparse and dense dimensions are supported."
        )
    inner = [0, *(d - count + 1 for d in order[count:])]
    return coo(indices[list(order[:count])], values.permute(inner).contiguous(), sizes)


def _turned(t, a, b):
    if a == b:
        return t.detach()
    if is_coo(t):
        count = sparse_dim(t)
        if a >= count or b >= count:
            raise RuntimeError(
                f"sparse transpose: transposed dimensions must be sparse Got sparse_dim: {count}, d0: {a}, d1: {b}"
            )
        order = list(range(t.dim()))
        order[a], order[b] = b, a
        return _permuted(t, order)
    starts, plain, values, _ = parts(t)
    batch = starts.dim() - 1
    if {a, b} != {batch, batch + 1}:
        raise RuntimeError(
            f"transpose(): can only transpose the two sparse dimensions of a tensor of layout {WORDS[t.layout]}, which are "
            f"{batch} and {batch + 1}, got {a} and {b}"
        )
    size = list(t.shape)
    size[a], size[b] = size[b], size[a]
    if t.layout in (BSR, BSC):
        values = values.transpose(batch + 1, batch + 2).contiguous()
    return compressed(_TURNED[t.layout], starts, plain, values, size)


@form("transpose")
def _transpose(input, dim0, dim1):
    return _turned(input, _wrap(dim0, input.dim()), _wrap(dim1, input.dim()))


@form("transpose_")
def _transpose_in_place(input, dim0, dim1):
    if not is_coo(input):
        refuse("transpose_", input)
    return flambeau._C._sparse_assign(input, _transpose(input, dim0, dim1))


@form("t")
def _t(input):
    if input.dim() > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.dim()}D")
    return _turned(input, 0, 1) if input.dim() == 2 else input.detach()


@form("permute")
def _permute(input, dims):
    order = [_wrap(d, input.dim()) for d in ((dims,) if isinstance(dims, int) else dims)]
    if len(order) != input.dim():
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the "
            f"desired ordering "
            f"of dimensions i.e. input.dim() = {input.dim()} is not equal to len(dims) = {len(order)}"
        )
    if len(set(order)) != len(order):
        raise RuntimeError("permute(sparse_coo): duplicate dims are not allowed.")
    if is_coo(input):
        return _permuted(input, order)
    if order == [1, 0]:
        return _turned(input, 0, 1)
    return refuse("permute", input)


@form("unsqueeze", vjp={"input": lambda grad, input, dim: _masked(grad.to_dense().squeeze(dim), input)})
def _unsqueeze(input, dim):
    if not is_coo(input):
        refuse("unsqueeze", input)
    dim = _wrap(dim, input.dim() + 1)
    indices, _, values, _ = parts(input)
    size = list(input.shape)
    size.insert(dim, 1)
    if dim <= indices.size(0):
        zeros = indices.new_zeros((1, indices.size(1)))
        return coo(flambeau.cat((indices[:dim], zeros, indices[dim:])), values, size)
    return coo(indices, values.unsqueeze(dim - indices.size(0) + 1), size)


def _slice_at(t, dim, index):
    """The slice at one index: strided if no sparse dimension stays."""
    indices, _, values, done = parts(t)
    count = indices.size(0)
    size = [n for d, n in enumerate(t.shape) if d != dim]
    if dim >= count:
        return coo(indices, values.select(dim - count + 1, index), size, done)
    here = (indices[dim] == index).nonzero().squeeze(1)
    values = values.index_select(0, here)
    if count == 1:
        return values.sum(0, dtype=values.dtype)
    rows = [d for d in range(count) if d != dim]
    return coo(indices[rows].index_select(1, here), values, size, done)


@form(
    "select",
    vjp={
        "input": lambda grad, input, dim, index: _masked(
            flambeau.select_scatter(_zeros(grad, input.shape), grad.to_dense(), dim, index), input
        )
    },
)
def _select(input, dim, index):
    dim = _wrap(dim, input.dim())
    if input.dim() == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    size = input.size(dim)
    if not -size <= index < size:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {dim}"
        )
    return _slice_at(to_coo(input), dim, index % size)


def _unbind_vjp(grads, input, dim):
    shape = [n for d, n in enumerate(input.shape) if d != dim % input.dim()]
    dense = [flambeau.zeros(shape, dtype=input.dtype) if g is None else g.to_dense() for g in grads]
    return _masked(flambeau.stack(dense, dim), input)


@form("unbind", vjp={"input": _unbind_vjp})
def _unbind(input, dim):
    dim = _wrap(dim, input.dim())
    return tuple(_select(input, dim, i) for i in range(input.size(dim)))


def _narrow_vjp(grad, input, dim, start, length):
    start = start + input.size(dim) if start < 0 else start
    zeros = _zeros(grad, input.shape)
    return _masked(flambeau.slice_scatter(zeros, grad.to_dense(), dim, start, start + length), input)


@form("narrow", vjp={"input": _narrow_vjp})
def _narrow(input, dim, start, length):
    if not is_coo(input):
        refuse("narrow", input)
    dim = _wrap(dim, input.dim())
    size = input.size(dim)
    start = start + size if start < 0 else start
    if length < 0 or start < 0 or start + length > size:
        raise RuntimeError(
            f"Invalid range to narrow. range(start, start+length) must be a subset of range(0, {size}). start ({start}) + "
            f"length ({length}) exceeds dimension size ({size})."
        )
    indices, _, values, done = parts(input)
    count = indices.size(0)
    shape = list(input.shape)
    shape[dim] = length
    if dim >= count:
        return coo(indices, values.narrow(dim - count + 1, start, length).clone(), shape, done)
    inside = ((indices[dim] >= start) & (indices[dim] < start + length)).nonzero().squeeze(1)
    indices = indices.index_select(1, inside)
    indices[dim] -= start
    return coo(indices, values.index_select(0, inside), shape, done)


@form(
    "index_select",
    vjp={
        "input": lambda grad, input, dim, index: _masked(
            _zeros(grad, input.shape).index_add(dim, index, grad.to_dense()), input
        ),
        "index": None,
    },
)
def _index_select(input, dim, index, out):
    if not is_coo(input):
        refuse("index_select", input)
    if index.dim() > 1 or index.dtype not in (flambeau.int64, flambeau.int32):
        raise IndexError(
            f"index_select(): Expected a vector of int32 or int64 indices, got {index.dim()}-D {index.dtype}"
        )
    dim = _wrap(dim, input.dim())
    index = index.reshape(-1).long()
    size = input.size(dim)
    if index.numel() and (int(index.min()) < -size or int(index.max()) >= size):
        bad = int(index.min()) if int(index.min()) < -size else int(index.max())
        raise IndexError(
            f"index_select(): index contains {bad} that is out of range for tensor of size {list(input.shape)} at dimension "
            f"{dim}"
        )
    index = flambeau.where(index < 0, index + size, index)
    indices, _, values, done = parts(input)
    count = indices.size(0)
    shape = list(input.shape)
    shape[dim] = index.numel()
    if dim >= count:
        return deliver(
            coo(indices, values.index_select(dim - count + 1, index), shape, done), out, "index_select"
        )
    # Every wanted index meets the elements that have it: those stand together once they are sorted.
    known, order = indices[dim].sort(stable=True)
    begin = flambeau.searchsorted(known, index)
    counts = flambeau.searchsorted(known, index, right=True) - begin
    place = flambeau.arange(index.numel()).repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    chosen = order.index_select(
        0, begin.index_select(0, place) + flambeau.arange(place.numel()) - first.index_select(0, place)
    )
    indices = indices.index_select(1, chosen)
    indices[dim] = place
    result = coo(indices, values.index_select(0, chosen), shape)
    return deliver(coalesced(result) if done else result, out, "index_select")


def _joined(tensors, dim):
    for place, t in enumerate(tensors):
        if not is_coo(t):
            kind = (
                "a dense tensor" if t.layout is flambeau.strided else f"a tensor of layout {WORDS[t.layout]}"
            )
            raise RuntimeError(f"Concatenating sparse tensors, but {kind} was found at position {place}.")
    head = tensors[0]
    dim = _wrap(dim, head.dim())
    count = sparse_dim(head)
    for place, t in enumerate(tensors):
        same = t.dim() == head.dim() and all(
            a == b for d, (a, b) in enumerate(zip(t.shape, head.shape, strict=True)) if d != dim
        )
        if not same:
            raise RuntimeError(
                f"All tensors must have the same shape: {list(head.shape)} (except in the concatenating "
                f"dimension), but found "
                f"shape: {list(t.shape)} at position {place}"
            )
        if sparse_dim(t) != count:
            raise RuntimeError(
                f"All tensors must have the same sparse_dim ({count}), but {sparse_dim(t)} was found at position {place}"
            )
    dtype = head.dtype
    for t in tensors[1:]:
        dtype = flambeau.promote_types(dtype, t.dtype)
    size = list(head.shape)
    size[dim] = sum(t.size(dim) for t in tensors)
    places, values, offset = [], [], 0
    for t in tensors:
        indices, _, own, _ = parts(t)
        own = own.to(dtype)
        if dim < count:
            indices = indices.clone()
            indices[dim] += offset
        else:
            wide = own.new_zeros((own.size(0), *size[count:]))
            wide.narrow(dim - count + 1, offset, t.size(dim)).copy_(own)
            own = wide
        places.append(indices)
        values.append(own)
        offset += t.size(dim)
    return coo(flambeau.cat(places, 1), flambeau.cat(values), size)


def _cat_vjp(grad, tensors, dim):
    parts_of = grad.to_dense().split([t.size(dim) for t in tensors], dim)
    return [_masked(part, t) for part, t in zip(parts_of, tensors, strict=True)]


@form("cat", vjp={"tensors": _cat_vjp})
def _cat(tensors, dim, out):
    return deliver(_joined(tensors, dim), out, "cat")


@form(
    "stack",
    vjp={
        "tensors": lambda grad, tensors, dim: [
            _masked(part, t) for part, t in zip(grad.to_dense().unbind(dim), tensors, strict=True)
        ]
    },
)
def _stack(tensors, dim, out):
    for t in tensors:
        if t.shape != tensors[0].shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(tensors[0].shape)} and {list(t.shape)}"
            )
    dim = _wrap(dim, tensors[0].dim() + 1)
    return deliver(_joined([_unsqueeze(t, dim) if is_coo(t) else t for t in tensors], dim), out, "stack")


def getitem(t, key):
    """``t[key]`` of a sparse tensor: integers, None and one ellipsis; other keys have no form."""
    keys = key if isinstance(key, tuple) else (key,)
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > t.dim():
        raise IndexError(f"too many indices for tensor of dimension {t.dim()}")
    dim = 0
    for k in keys:
        if k is Ellipsis:
            dim += t.dim() - used - dim
        elif k is None:
            t = t.unsqueeze(dim)
            dim += 1
        elif isinstance(k, slice):
            if k != slice(None):
                refuse("as_strided", t)
            dim += 1
        elif isinstance(k, flambeau.Tensor) or isinstance(k, (bool, list)) or not hasattr(k, "__index__"):
            refuse("index.Tensor", t)
        else:
            t = t.select(dim, k.__index__())
    return t
