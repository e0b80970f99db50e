"""The parts of sparse tensors, and how operators get forms for them.

A sparse tensor has no memory of its own (see csrc/tensor/sparse.h): calls that are given one go to the operator's *form*,
declared here with `form`, or raise. A form is a Python function of the operator's parameters, in the signature's order;
it runs unrecorded, and the graph keeps what the operator's rule asks for, as for dense arguments.
"""

import math

import flambeau
from flambeau import _C

from .. import registry

COO = flambeau.sparse_coo
CSR, CSC = flambeau.sparse_csr, flambeau.sparse_csc
BSR, BSC = flambeau.sparse_bsr, flambeau.sparse_bsc
COMPRESSED = (CSR, CSC, BSR, BSC)
#: Layouts as PyTorch's messages call them.
WORDS = {
    flambeau.strided: "Strided",
    COO: "Sparse",
    CSR: "SparseCsr",
    CSC: "SparseCsc",
    BSR: "SparseBsr",
    BSC: "SparseBsc",
}
parts = _C._sparse_parts


def form(*names, vjp=None, node=None):
    """Declare a function as what the operators `names` do with sparse arguments. vjp: a rule of their own."""

    def declare(function):
        for name in names:
            record = registry.records.get(name)
            op = record.op if record else registry.inplace_records[name]
            _C._sparse_form(op, function, vjp, node)
        return function

    return declare


def operator(signature, function, vjp=None, why_not=None, node=None):
    """An operator of sparse tensors only, by no public name."""
    return _C.Op(signature, function.__doc__, vjp=vjp, why_not=why_not, node_name=node, python=function)


def is_coo(t):
    return isinstance(t, flambeau.Tensor) and t.layout is COO


def is_dense(t):
    return isinstance(t, flambeau.Tensor) and t.layout is flambeau.strided


def refuse(name, t):
    """What an operator raises that has no form for a layout."""
    backend = {flambeau.strided: "CPU", COO: "SparseCPU"}.get(t.layout, "SparseCsrCPU")
    raise NotImplementedError(
        f"Could not run 'aten::{name}' with arguments from the '{backend}' backend: got a tensor of layout "
        f"{WORDS[t.layout]} and shape {tuple(t.shape)}"
    )


def coo(indices, values, size, coalesced=False):
    """A COO tensor on these parts."""
    return _C._sparse_tensor(COO, indices, None, values, size, coalesced or values.size(0) < 2)


def compressed(layout, compressed_indices, plain, values, size):
    """A tensor of a compressed layout on these parts."""
    return _C._sparse_tensor(layout, compressed_indices, plain, values, size, False)


def with_values(t, values):
    """The places of `t` with other values, of any dtype."""
    indices, plain, _, coalesced = parts(t)
    return _C._sparse_tensor(t.layout, indices, plain, values, t.shape, coalesced)


def values_of(t):
    return parts(t)[2]


def empty_coo(size, dtype, sparse_dim=None):
    """Zeros."""
    sparse_dim = len(size) if sparse_dim is None else sparse_dim
    indices = flambeau.zeros((sparse_dim, 0), dtype=flambeau.int64)
    return coo(indices, flambeau.zeros((0, *size[sparse_dim:]), dtype=dtype), size, True)


def sparse_dim(t):
    return parts(t)[0].size(0)


def nnz(t):
    """How many elements a sparse tensor specifies (in each of its batches)."""
    indices, plain, _, _ = parts(t)
    return indices.size(1) if plain is None else plain.size(-1)


# ---- places as numbers


def strides_of(sizes):
    """Steps of the places of a contiguous tensor of these sizes; RuntimeError if they cannot be numbered."""
    if math.prod(sizes) >= 2**63:
        raise RuntimeError(
            f"numel: integer multiplication overflow: sparse dimensions {tuple(sizes)} are too large"
        )
    strides = [1] * len(sizes)
    for d in range(len(sizes) - 2, -1, -1):
        strides[d] = strides[d + 1] * sizes[d + 1]
    return strides


def check_range(indices, sizes):
    """IndexError unless every index lies inside its dimension."""
    if indices.numel() == 0:
        return
    low, high = indices.amin(1).tolist(), indices.amax(1).tolist()
    for d, size in enumerate(sizes):
        if low[d] < 0 or high[d] >= size:
            bad = low[d] if low[d] < 0 else high[d]
            raise IndexError(
                f"index {bad} is out of bounds for dimension {d} with size {size} of a sparse tensor"
            )


def flat(indices, sizes):
    """The places (sparse_dim, nnz) as numbers, in a contiguous tensor's order; they are checked."""
    check_range(indices, sizes)
    if len(sizes) == 1:
        return indices[0]
    total = flambeau.zeros((indices.size(1),), dtype=flambeau.int64)
    for row, stride in zip(indices, strides_of(sizes), strict=True):
        total.add_(row, alpha=stride)
    return total


def unflat(places, sizes):
    """The indices (len(sizes), n) of places that are numbers."""
    rows = []
    for size, stride in zip(sizes, strides_of(sizes), strict=True):
        row = places.div(stride, rounding_mode="floor") if stride != 1 else places
        rows.append(row.remainder(size) if rows else row)
    return flambeau.stack(rows) if rows else flambeau.zeros((0, places.size(0)), dtype=flambeau.int64)


def starts_of_sorted(rows, count):
    """`starts_of` of rows in order."""
    return flambeau.searchsorted(rows.contiguous(), flambeau.arange(count + 1))


def starts_of(rows, count):
    """How many of the sorted `rows` come before each of `count` rows, and after the last: compressed indices."""
    counts = flambeau.bincount(rows, minlength=count)
    return flambeau.cat((counts.new_zeros((1,)), counts.cumsum(0)))


def rows_of(starts, elements):
    """The inverse of `starts_of`: for each of `elements` elements its row. The counts are checked."""
    counts = starts[1:] - starts[:-1]
    if starts[0] != 0 or starts[-1] != elements or (counts.numel() and counts.min() < 0):
        raise RuntimeError(f"compressed indices must start at 0, never fall, and end with nnz (= {elements})")
    return flambeau.arange(starts.size(0) - 1).repeat_interleave(counts)


def sum_groups(places, values):
    """Equal places once, in order, with the sums of their values: (places, values)."""
    if places.numel() > 1 and not bool((places[1:] > places[:-1]).all()):
        places, order = places.sort(stable=True)
        values = values.index_select(0, order)
        first = flambeau.cat((places.new_ones((1,), dtype=flambeau.bool), places[1:] != places[:-1]))
        group = first.cumsum(0) - 1
        places = places[first]
        if values.dtype is flambeau.bool:
            summed = values.new_zeros((places.size(0), *values.shape[1:]), dtype=flambeau.uint8)
            values = summed.index_add(0, group, values.to(flambeau.uint8)).to(flambeau.bool)
        elif places.size(0) < values.size(0):
            values = values.new_zeros((places.size(0), *values.shape[1:])).index_add(0, group, values)
    return places, values


def coalesced(t):
    """`t` with every place once, in order; itself when it is declared to be so."""
    indices, _, values, done = parts(t)
    if done:
        return t
    sizes = t.shape[: indices.size(0)]
    if indices.size(0) == 0:
        return coo(
            indices.new_zeros((0, min(1, values.size(0)))),
            values.sum(0, keepdim=True, dtype=t.dtype),
            t.shape,
            True,
        )
    before = flat(indices, sizes)
    places, values = sum_groups(before, values)
    indices = indices.clone() if places is before else unflat(places, sizes)
    return coo(indices, values.clone() if places is before else values, t.shape, True)


def dense_coo(t, dtype=None):
    """The strided tensor."""
    indices, _, values, _ = parts(t)
    count = indices.size(0)
    sizes = t.shape[:count]
    values = values if dtype is None else values.to(dtype)
    out = values.new_zeros((math.prod(sizes), *t.shape[count:]))
    if values.dtype is flambeau.bool:
        return dense_coo(with_values(t, values.to(flambeau.uint8))).to(flambeau.bool)
    if values.size(0):
        places = flat(indices, sizes) if count else indices.new_zeros((indices.size(1),))
        out.index_add_(0, places, values)
    return out.reshape(tuple(t.shape))


def at_places(dense, indices, size):
    """The elements (or slices) of a strided tensor at the places `indices`: (nnz, *dense dimensions)."""
    count = indices.size(0)
    rows = dense.reshape(math.prod(size[:count]), *size[count:])
    if count == 0:
        return rows.expand(indices.size(1), *size)
    return rows.index_select(0, flat(indices, size[:count]))


def coo_at_places(t, indices, size):
    """The same of a COO tensor: zeros where it specifies nothing."""
    t = coalesced(t)
    own, _, values, _ = parts(t)
    count = indices.size(0)
    if own.size(0) != count:
        return at_places(dense_coo(t), indices, size)
    if count == 0:
        return dense_coo(t).unsqueeze(0).expand(indices.size(1), *size)
    wanted, known = flat(indices, size[:count]), flat(own, size[:count])
    if known.numel() == 0:
        return values.new_zeros((wanted.numel(), *values.shape[1:]))
    at = flambeau.searchsorted(known, wanted).clamp(max=known.numel() - 1)
    found = values.index_select(0, at)
    missing = (known.index_select(0, at) != wanted).view(-1, *[1] * (values.dim() - 1))
    return found.masked_fill(missing, 0)


# ---- compressed layouts as COO


def by_rows(layout):
    return layout in (CSR, BSR)


def blocks_of(t):
    """The block size of a tensor of a block layout; (1, 1) of the others."""
    if t.layout not in (BSR, BSC):
        return (1, 1)
    indices, _, values, _ = parts(t)
    return tuple(values.shape[indices.dim() : indices.dim() + 2])


def as_coo(t):
    """A tensor of a compressed layout as COO: of its batch and matrix dimensions."""
    starts, plain, values, _ = parts(t)
    starts, plain = starts.long(), plain.long()
    batch = starts.dim() - 1
    shape = tuple(t.shape)
    count, elements = math.prod(shape[:batch]), plain.size(-1)
    flat_starts, flat_plain = starts.reshape(count, starts.size(-1)), plain.reshape(count, elements)
    lines = [rows_of(row, elements) for row in flat_starts.unbind(0)]
    across = flambeau.cat(lines) if lines else plain.new_zeros((0,))
    along = flat_plain.reshape(-1)
    values = values.reshape(count * elements, *values.shape[batch + 1 :])
    which = flambeau.arange(count).repeat_interleave(elements)
    rows, columns = (across, along) if by_rows(t.layout) else (along, across)
    height, width = blocks_of(t)
    if t.layout in (BSR, BSC):
        inner_rows = flambeau.arange(height).view(1, -1, 1)
        inner_columns = flambeau.arange(width).view(1, 1, -1)
        spread = (rows.numel(), height, width)
        rows = (rows.view(-1, 1, 1) * height + inner_rows).expand(spread).reshape(-1)
        columns = (columns.view(-1, 1, 1) * width + inner_columns).expand(spread).reshape(-1)
        which = which.repeat_interleave(height * width)
        values = values.reshape(-1, *values.shape[3:])
    indices = [rows, columns]
    if batch:
        indices = [*unflat(which, shape[:batch]).unbind(0), *indices]
    return coo(flambeau.stack(indices), values, shape, t.layout is CSR)


def from_coo(t, layout, blocksize=None):
    """A COO tensor of two or more dimensions in a compressed layout; those before the last two sparse ones are batches."""
    t = coalesced(t)
    indices, _, values, _ = parts(t)
    if indices.size(0) < 2:
        raise RuntimeError(
            f"to_sparse: a tensor with {indices.size(0)} sparse dimensions has no {WORDS[layout]} layout: it "
            f"needs two or more"
        )
    batch = indices.size(0) - 2
    shape = tuple(t.shape)
    size = shape[batch], shape[batch + 1]
    block = tuple(blocksize) if layout in (BSR, BSC) else (1, 1)
    if size[0] % block[0] or size[1] % block[1]:
        raise RuntimeError(
            f"dense_to_sparse_{str(layout)[-3:]}: tensor sparse size ({size[0]},{size[1]}) must be divisible by given "
            f"blocksize ({block[0]},{block[1]})"
        )
    if layout is CSR and not batch:  # the elements stand in its order already
        return compressed(
            CSR, starts_of_sorted(indices[0], shape[0]), indices[1].clone(), values.clone(), shape
        )
    count = math.prod(shape[:batch])
    which = flat(indices[:batch], shape[:batch]) if batch else indices.new_zeros((indices.size(1),))
    rows, columns = indices[batch], indices[batch + 1]
    grid = size[0] // block[0], size[1] // block[1]
    block_row, block_column = rows, columns
    if layout in (BSR, BSC):
        block_row = rows.div(block[0], rounding_mode="floor")
        block_column = columns.div(block[1], rounding_mode="floor")
    outer, inner = (block_row, block_column) if by_rows(layout) else (block_column, block_row)
    lengths = grid if by_rows(layout) else grid[::-1]
    place = (which * lengths[0] + outer) * lengths[1] + inner
    if layout in (BSR, BSC):
        kept, position = place.unique(return_inverse=True)
        inside = (rows - block_row * block[0]) * block[1] + (columns - block_column * block[1])
        cells = values.new_zeros((kept.numel() * block[0] * block[1], *values.shape[1:]))
        cells[position * (block[0] * block[1]) + inside] = values
        values = cells.view(kept.numel(), *block, *values.shape[1:])
    else:
        kept, order = place.sort()
        values = values.index_select(0, order)
    line = kept.div(lengths[1], rounding_mode="floor")
    plain = kept.remainder(lengths[1])
    if not batch:
        return compressed(layout, starts_of(line, lengths[0]), plain, values, shape)
    per_batch = flambeau.bincount(line.div(lengths[0], rounding_mode="floor"), minlength=count)
    if per_batch.numel() and bool((per_batch != per_batch[0]).any()):
        raise RuntimeError("Expect the same number of specified elements per batch.")
    elements = kept.numel() // count if count else 0
    counts = flambeau.bincount(line, minlength=count * lengths[0]).view(count, lengths[0])
    starts = flambeau.cat((counts.new_zeros((count, 1)), counts.cumsum(1)), 1)
    return compressed(
        layout,
        starts.view(*shape[:batch], lengths[0] + 1),
        plain.view(*shape[:batch], elements),
        values.view(*shape[:batch], elements, *values.shape[1:]),
        shape,
    )


def to_coo(t):
    """Any sparse tensor as COO."""
    return t if t.layout is COO else as_coo(t)


def in_layout_of(t, like):
    """A COO tensor in the layout of `like`."""
    return t if like.layout is COO else from_coo(t, like.layout, blocks_of(like))
