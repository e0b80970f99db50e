"""Sums, norms and softmax of sparse tensors."""

import flambeau

from .construct import at_values, with_values_of
from .convert import _coalesce, _values
from .core import (
    BSC,
    BSR,
    coalesced,
    coo,
    flat,
    form,
    is_coo,
    nnz,
    operator,
    parts,
    refuse,
    sparse_dim,
    sum_groups,
    to_coo,
    unflat,
    values_of,
)
from .pointwise import deliver


def _dims(dim, ndim):
    """`dim` as a sorted list counted from the front; None and () mean all."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return list(range(ndim))
    found = []
    for d in (dim,) if isinstance(dim, int) else dim:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got {d})"
            )
        d = d % ndim if ndim else 0
        if d in found:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        found.append(d)
    return sorted(found) if ndim else []


def _reduced_places(t, dims):
    """The places of a COO tensor without the dimensions `dims`, as COO indices, and the sizes that stay."""
    indices = parts(t)[0]
    kept = [d for d in range(indices.size(0)) if d not in dims]
    return indices[kept], [t.size(d) for d in range(t.dim()) if d not in dims]


def _sum_along(input, dims):
    """The sum over some dimensions: sparse unless all sparse ones are among them."""
    t = to_coo(input)
    count = sparse_dim(t)
    values = values_of(t)
    dense = [d - count + 1 for d in dims if d >= count]
    if dense:
        values = values.sum(dense, dtype=values.dtype)
    indices, sizes = _reduced_places(t, dims)
    if indices.size(0) == 0:
        return values.sum(0, dtype=values.dtype)
    if len(dense) == len(dims):  # the places stay
        return coo(indices.clone(), values, sizes, parts(t)[3])
    places, values = sum_groups(flat(indices, sizes[: indices.size(0)]), values)
    return coo(unflat(places, sizes[: indices.size(0)]), values, sizes, True)


def _sum_along_vjp(grad, input, dim):
    """Every element that went into a sum gets its gradient; what is not specified gets none."""
    t = input.detach()
    pattern = to_coo(t)
    dims = _dims(dim, t.dim())
    count = sparse_dim(pattern)
    indices, sizes = _reduced_places(pattern, dims)
    elements = parts(pattern)[0].size(1)
    if indices.size(0) == 0:
        given = (grad if grad.layout is flambeau.strided else grad.to_dense()).unsqueeze(0)
        given = given.expand(elements, *sizes)
    else:
        hollow = flambeau.zeros((), dtype=grad.dtype).expand(elements, *sizes[indices.size(0) :])
        given = at_values(grad, coo(indices, hollow, sizes))
    for d in dims:
        if d >= count:
            given = given.unsqueeze(d - count + 1)
    given = given.expand(elements, *pattern.shape[count:])
    if not is_coo(t):
        given = at_values(with_values_of(pattern, given), t)
    return with_values_of(t, given)


_sparse_sum = operator(
    "_sparse_sum(Tensor input, int[] dim) -> Tensor",
    lambda input, dim: _sum_along(input, _dims(dim, input.dim())),
    vjp={"input": _sum_along_vjp},
    node="SparseSumBackward0",
)


def sparse_sum(input, dim=None, dtype=None):
    """The sum of a COO tensor over all dimensions (a strided tensor) or some of them (a COO tensor, unless no sparse
    dimension stays). Gradients have the places of the input.

    >>> t = flambeau.tensor([[0.0, 2.0], [3.0, 1.0]]).to_sparse()
    >>> flambeau.sparse.sum(t)
    tensor(6.)
    >>> flambeau.sparse.sum(t, 0).to_dense()
    tensor([3., 3.])
    """
    if not is_coo(input):
        refuse("_indices", input)
    if dtype is not None:
        input = input.to(dtype)
    if dim is None:
        return _values(input if parts(input)[3] else _coalesce(input)).sum()
    return _sparse_sum(input, [dim] if isinstance(dim, int) else list(dim))


def _sum_vjp(grad, input, dim, keepdim):
    dims = _dims(dim, input.dim())
    if len(dims) == input.dim() and grad.layout is flambeau.strided:
        return grad.reshape([1] * input.dim()).expand(tuple(input.shape))
    if keepdim:
        grad = grad.to_dense().sum(dims)
    return _sum_along_vjp(grad, input, dim)


@form("sum", vjp={"input": _sum_vjp})
def _sum(input, dim, keepdim, dtype, out):
    dims = _dims(dim, input.dim())
    if dtype is None and not (input.dtype.is_floating_point or input.dtype.is_complex):
        dtype = flambeau.int64
    if dtype is not None:
        input = input.to(dtype)
    if dim is None or (is_coo(input) and len(dims) == input.dim() and not keepdim):
        return deliver(values_of(input).sum(), out, "sum")
    if not is_coo(input) and not keepdim:
        raise RuntimeError("reduction operations on CSR tensors with keepdim=False is unsupported")
    result = _sum_along(input, dims)
    if keepdim:
        sizes = [1 if d in dims else n for d, n in enumerate(input.shape)]
        result = _with_ones(result, dims, sizes, sparse_dim(to_coo(input)))
        if not is_coo(input):
            result = result.to_sparse(layout=input.layout, blocksize=_ones_like_blocks(input))
    return deliver(result, out, "sum")


def _ones_like_blocks(t):
    return (1, 1) if t.layout in (BSR, BSC) else None


def _with_ones(t, dims, sizes, count):
    """The result of a reduction with the dimensions `dims` back as size 1; the first `count` dimensions are sparse."""
    if t.layout is flambeau.strided:
        return t.reshape(sizes)
    rows, _, values, _ = parts(t)
    rows, lines = iter(rows.unbind(0)), []
    elements = values.size(0)
    for d in range(count):
        lines.append(flambeau.zeros((elements,), dtype=flambeau.int64) if d in dims else next(rows))
    indices = flambeau.stack(lines) if lines else flambeau.zeros((0, elements), dtype=flambeau.int64)
    return coo(indices, values.reshape(elements, *sizes[count:]), sizes)


@form("any")
def _any(input, *rest):
    if len(rest) > 1 and rest[0] is not None:
        refuse("any.dim", input)
    return values_of(coalesced(input) if is_coo(input) else input).any()


@form("linalg_vector_norm")
def _vector_norm(x, ord, dim, keepdim, dtype, out):
    if len(_dims(dim, x.dim())) != x.dim():
        raise RuntimeError(
            "norm_sparse currently only supports full reductions, so 'dim' must either be empty or contain "
            "all dimensions of "
            "the input"
        )
    values = values_of(coalesced(x) if is_coo(x) else x).reshape(-1)
    if values.numel() < x.numel():  # what is not specified counts as one more zero
        values = flambeau.cat((values, values.new_zeros((1,))))
    result = flambeau.linalg.vector_norm(values, ord, dtype=dtype)
    result = result.reshape([1] * x.dim()) if keepdim else result
    return deliver(result, out, "linalg_vector_norm")


# ---- softmax


def _softmax(name, input, dim, dtype, logarithm):
    if not is_coo(input):
        refuse(name, input)
    if dtype is not None:
        input = input.to(dtype)
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected a floating point tensor, got {input.dtype}")
    (dim,) = _dims(dim, input.dim()) or (0,)
    input = input.coalesce()
    pattern = input.detach()
    values = _values(input)
    count = sparse_dim(pattern)
    if dim >= count:
        function = flambeau.log_softmax if logarithm else flambeau.softmax
        return with_values_of(pattern, function(values, dim - count + 1))
    if nnz(pattern) == 0:
        return with_values_of(pattern, values * 1)
    # Elements that differ along `dim` only form a group.
    others = [d for d in range(count) if d != dim]
    places = flat(parts(pattern)[0][others], [pattern.size(d) for d in others]) if others else None
    groups, group = (1, parts(pattern)[0][0] * 0) if places is None else _numbered(places)
    shape = (groups, *values.shape[1:])
    known = values.detach()
    top = known.new_full(shape, -float("inf")).index_reduce(0, group, known, "amax")
    moved = values - top.index_select(0, group)
    total = values.new_zeros(shape).index_add(0, group, moved.exp()).index_select(0, group)
    return with_values_of(pattern, moved - total.log() if logarithm else moved.exp() / total)


def _numbered(places):
    """How many different places there are, and the number of each: in order."""
    if bool((places[1:] >= places[:-1]).all()):
        number = flambeau.cat((places.new_zeros((1,)), (places[1:] != places[:-1]).cumsum(0)))
        return int(number[-1]) + 1, number
    kept, number = places.unique(return_inverse=True)
    return kept.numel(), number


def softmax(input, dim, *, dtype=None):
    """Softmax along `dim` over the elements that a COO tensor specifies: the others count as minus infinity.

    >>> t = flambeau.tensor([[0.0, 2.0], [3.0, 3.0]]).to_sparse()
    >>> flambeau.sparse.softmax(t, 1).to_dense()
    tensor([[0.0000, 1.0000],
            [0.5000, 0.5000]])
    """
    return _softmax("_sparse_softmax", input, dim, dtype, False)


def log_softmax(input, dim, *, dtype=None):
    """The logarithm of `softmax`, at the same places.

    >>> flambeau.sparse.log_softmax(flambeau.tensor([[0.0, 2.0]]).to_sparse(), 1).values()
    tensor([0.])
    """
    return _softmax("_sparse_log_softmax", input, dim, dtype, True)
