"""Reading and writing by index."""

from .registry import composite, op, takes

op(
    "index(Tensor input, Tensor?[] indices) -> Tensor",
    "Elements at index tensors, one per dimension (None keeps a dimension): what ``x[i, :, j]`` calls.",
    public=False,
    method=False,
    vjp={
        "input": lambda grad, input_shape, indices: grad.new_zeros(input_shape).index_put(indices, grad, True)
    },
)
op(
    "index_put_(Tensor input, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
    """Writes `values` at index tensors, one per dimension; with `accumulate` adds them, repeated positions included.

    >>> flambeau.zeros(3).index_put_((flambeau.tensor([0, 0]),), flambeau.tensor(1.0), accumulate=True)
    tensor([2., 0., 0.])
    """,
    public=False,
    vjp={
        "input": lambda grad, indices, accumulate: (
            grad if accumulate else grad.index_put(indices, grad.new_zeros(()))
        ),
        "values": lambda grad, indices: grad[tuple(slice(None) if i is None else i for i in indices)],
    },
)


@composite(method=True)
def index_put(input, indices, values, accumulate=False):
    """A copy of `input` with `values` at index tensors: see `Tensor.index_put_`.

    >>> flambeau.index_put(flambeau.zeros(3), (flambeau.tensor([1]),), flambeau.tensor(5.0))
    tensor([0., 5., 0.])
    """
    return input.clone().index_put_(indices, values, accumulate)


def _inside(input, indices):
    """The indices with those beyond an end moved to it: what they find is masked out."""
    return [index.clamp(-size, size - 1) for index, size in zip(indices, input.shape, strict=False)]


@composite
def _unsafe_masked_index(input, mask, indices, fill):
    """``input[indices]`` where `mask` (bool, of the result's shape) holds, the number `fill` elsewhere.

    Indices outside `input` count as its nearest element.

    >>> mask = flambeau.tensor([True, False])
    >>> flambeau._unsafe_masked_index(flambeau.arange(3), mask, [flambeau.tensor([2, 9])], -1)
    tensor([ 2, -1])
    """
    if input.numel() == 0:  # nothing can be found, but the shape can
        input = input.new_full([max(size, 1) for size in input.shape], fill)
    return input[tuple(_inside(input, indices))].masked_fill(mask.logical_not(), fill)


@composite
def _unsafe_masked_index_put_accumulate(input, mask, indices, values):
    """A copy of `input` with `values` added at `indices` where `mask` holds: the gradient of `_unsafe_masked_index`.

    >>> mask = flambeau.tensor([True, False])
    >>> flambeau._unsafe_masked_index_put_accumulate(flambeau.zeros(3), mask, [flambeau.tensor([2, 9])], flambeau.ones(2))
    tensor([0., 0., 1.])
    """
    if input.numel() == 0:
        return input.clone()
    values = values.masked_fill(mask.logical_not(), 0)
    return input.index_put(tuple(_inside(input, indices)), values, True)


op(
    "nonzero(Tensor input, *, Tensor? out=None) -> Tensor",
    "The positions of nonzero elements, a row each: shape (n, input.dim()), int64.",
    name="_nonzero",
    method=False,
    why_not=None,
)

# ---- along one dimension -------------------------------------------------------------------------------------------

op(
    "gather(Tensor input, int dim, Tensor index, *, bool sparse_grad=False, Tensor? out=None) -> Tensor",
    """Elements picked along `dim`: for dim=0, ``out[i, j] = input[index[i, j], j]``.

    `index` has as many dimensions as `input`; the result has its shape. sparse_grad: the gradient of `input` is a sparse
    COO tensor of the elements picked.

    >>> flambeau.gather(flambeau.tensor([[1, 2], [3, 4]]), 1, flambeau.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """,
    vjp={
        "input": lambda grad, input_shape, dim, index, sparse_grad: (
            _picked_gradient(grad, input_shape, dim, index)
            if sparse_grad
            else grad.new_zeros(input_shape).scatter_add(dim, index, grad)
        )
    },
)


def _picked_gradient(grad, shape, dim, index):
    """The gradient of `gather` as a COO tensor: one element for every one picked."""
    import flambeau

    from .sparse.construct import make_coo

    if not shape:
        return make_coo(index.reshape(1)[None][:0], grad.reshape(1), ())
    dim %= len(shape)
    rows = []
    for d, size in enumerate(index.shape):
        along = flambeau.arange(size).view([-1 if k == d else 1 for k in range(index.dim())])
        rows.append((index if d == dim else along.expand(index.shape)).reshape(-1))
    return make_coo(flambeau.stack(rows), grad.reshape(-1), shape)


_SCATTER_SRC = {
    "input": lambda grad, dim, index: grad.scatter(dim, index, 0),
    "src": lambda grad, dim, index, src_shape: _pad_back(grad.gather(dim, index), src_shape),
}


def _pad_back(grad, shape):
    """The gradient of a source of which only the leading window of the index's size was read."""
    if grad.shape == shape:
        return grad
    full = grad.new_zeros(shape)
    full[tuple(slice(0, n) for n in grad.shape)] = grad
    return full


def _scatter(native, signature, doc, vjp):
    op(f"{native}({signature}) -> Tensor", doc, inplace=True, vjp=vjp)


_scatter(
    "scatter.src",
    "Tensor input, int dim, Tensor index, Tensor src, *, Tensor? out=None",
    """A copy of `input` with `src` written at positions along `dim`: for dim=0, ``out[index[i, j], j] = src[i, j]``.

    `src` may be a number. With reduce="add" or "multiply" the elements are combined instead.

    >>> flambeau.scatter(flambeau.zeros(3), 0, flambeau.tensor([2, 0]), flambeau.tensor([5.0, 6.0]))
    tensor([6., 0., 5.])
    """,
    vjp=_SCATTER_SRC,
)
_scatter(
    "scatter.value",
    "Tensor input, int dim, Tensor index, Scalar value, *, Tensor? out=None",
    "",
    vjp={"input": lambda grad, dim, index: grad.scatter(dim, index, 0)},
)
_scatter(
    "scatter.reduce",
    "Tensor input, int dim, Tensor index, Tensor src, *, str reduce, Tensor? out=None",
    "",
    vjp={
        "input": lambda grad, reduce: _scatter_reduce_once(grad, reduce),
        "src": lambda grad, reduce, dim, index, src_shape: _pad_back(
            _scatter_reduce_once(grad, reduce).gather(dim, index), src_shape
        ),
    },
)
_scatter(
    "scatter.value_reduce",
    "Tensor input, int dim, Tensor index, Scalar value, *, str reduce, Tensor? out=None",
    "",
    vjp={"input": lambda grad, reduce: _scatter_reduce_once(grad, reduce)},
)


def _scatter_reduce_once(grad, reduce):
    if reduce == "add":
        return grad
    raise NotImplementedError(
        'derivative for aten::scatter is not implemented with reduce="multiply"; use scatter_reduce with reduce="prod"'
    )


op(
    "scatter_add(Tensor input, int dim, Tensor index, Tensor src, *, Tensor? out=None) -> Tensor",
    """A copy of `input` with `src` added at positions along `dim`; repeated positions add up.

    >>> flambeau.scatter_add(flambeau.zeros(2), 0, flambeau.tensor([1, 1]), flambeau.ones(2))
    tensor([0., 2.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad: grad,
        "src": lambda grad, dim, index, src_shape: _pad_back(grad.gather(dim, index), src_shape),
    },
)
op(
    "scatter_reduce(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True, "
    "Tensor? out=None) -> Tensor",
    """Combines `src` into a copy of `input` at positions along `dim` by "sum", "prod", "mean", "amax" or "amin" (in short
    "max", "min").

    Without `include_self` the elements of `input` at those positions do not take part.

    >>> flambeau.scatter_reduce(flambeau.ones(2), 0, flambeau.tensor([0, 0]), flambeau.tensor([3.0, 4.0]), "prod")
    tensor([12.,  1.])
    """,
    inplace=True,
    vjp={
        "input, src": lambda grad, input, dim, index, src, reduce, include_self, result: _scatter_reduce_vjp(
            grad, input, dim, index, src, reduce, include_self, result
        )
    },
)


def _scatter_reduce_vjp(grad, input, dim, index, src, reduce, include_self, result):
    """Gradients of both inputs; ties of amax and amin share alike."""
    taken = grad.gather(dim, index)
    hit = input.new_zeros(input.shape).scatter(dim, index, 1).bool()
    read = src[tuple(slice(0, n) for n in index.shape)] if src.shape != index.shape else src
    if reduce in ("sum", "mean"):
        if reduce == "mean":
            count = input.new_ones(input.shape) if include_self else input.new_zeros(input.shape)
            count = count.scatter_add(dim, index, input.new_ones(index.shape)).clamp(min=1)
            grad = grad / count
            taken = grad.gather(dim, index)
        for_input = grad
    elif reduce in ("amax", "amin", "max", "min"):
        from_input = input == result
        from_src = (read == result.gather(dim, index)).to(grad.dtype)
        share = (from_input & hit).to(grad.dtype) if include_self else grad.new_zeros(grad.shape)
        share = share.scatter_add(dim, index, from_src).clamp(min=1)
        for_input = from_input.to(grad.dtype) * grad / share
        taken = from_src * (grad / share).gather(dim, index)
    else:  # prod, without dividing by zeros
        for_input = grad * input.new_ones(input.shape).scatter_reduce(dim, index, read, "prod")
        taken = _product_without(input, dim, index, read, include_self) * grad.gather(dim, index)
    if not include_self:
        for_input = for_input.masked_fill(hit, 0)
    return for_input, _pad_back(taken, src.shape)


def _product_without(input, dim, index, src, include_self):
    """For every element of src the product of all others that meet at its position."""
    start = input if include_self else input.new_ones(input.shape).scatter(dim, index, 1)
    zero = src == 0
    nonzero_src = src.masked_fill(zero, 1)
    zeros = input.new_zeros(input.shape).scatter_add(dim, index, zero.to(input.dtype))
    product = start.scatter_reduce(dim, index, nonzero_src, "prod").gather(dim, index)
    others = zeros.gather(dim, index) - zero.to(input.dtype)
    return (product / nonzero_src).masked_fill(others > 0, 0)


# ---- whole slices --------------------------------------------------------------------------------------------------

op(
    "index_select(Tensor input, int dim, Tensor index, *, Tensor? out=None) -> Tensor",
    """Slices of `input` along `dim` at the positions in the vector `index`.

    >>> flambeau.index_select(flambeau.arange(4).view(2, 2), 0, flambeau.tensor([1, 1]))
    tensor([[2, 3],
            [2, 3]])
    """,
    vjp={
        "input": lambda grad, input_shape, dim, index: grad.new_zeros(input_shape).index_add(dim, index, grad)
    },
)
op(
    "index_add(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1, Tensor? out=None) -> Tensor",
    """A copy of `input` with alpha * source added to the slices at `index` along `dim`; repeated ones add up.

    >>> flambeau.index_add(flambeau.zeros(2), 0, flambeau.tensor([1, 1]), flambeau.ones(2))
    tensor([0., 2.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad: grad,
        "source": lambda grad, dim, index, alpha, source_shape: (
            grad.index_select(dim, index).reshape(source_shape) * alpha
        ),
    },
)
op(
    "index_copy(Tensor input, int dim, Tensor index, Tensor source, *, Tensor? out=None) -> Tensor",
    """A copy of `input` with its slices at `index` along `dim` replaced by those of `source`.

    >>> flambeau.index_copy(flambeau.zeros(3), 0, flambeau.tensor([2]), flambeau.ones(1))
    tensor([0., 0., 1.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad, dim, index: grad.index_fill(dim, index, 0),
        "source": lambda grad, dim, index, source_shape: grad.index_select(dim, index).reshape(source_shape),
    },
)
op(
    "index_reduce(Tensor input, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True, "
    "Tensor? out=None) -> Tensor",
    """Combines slices of `source` into a copy of `input` at `index` along `dim` by "prod", "mean", "amax" or "amin".

    >>> flambeau.index_reduce(flambeau.ones(2), 0, flambeau.tensor([0, 0]), flambeau.tensor([3.0, 4.0]), "prod")
    tensor([12.,  1.])
    """,
    inplace=True,
    vjp={
        "input, source": lambda grad, input, dim, index, source, reduce, include_self, result: (
            _scatter_reduce_vjp(
                grad, input, dim, _spread(index, dim, source), source, reduce, include_self, result
            )
        )
    },
)


def _spread(index, dim, like):
    """A vector of positions along `dim`, repeated to the shape of `like`."""
    shape = [1] * like.dim()
    if shape:
        shape[dim] = -1
    return index.reshape(shape).expand(like.shape).contiguous()


def _filled(grad, dim, index):
    """`grad` where the fill wrote, zero elsewhere; a slice that is named twice counts once."""
    import flambeau

    kept = flambeau.ones(grad.shape, dtype=flambeau.bool, device=grad.device).index_fill(dim, index, False)
    return grad.masked_fill(kept, 0)


_INDEX_FILL = {"input": lambda grad, dim, index: grad.index_fill(dim, index, 0)}
op(
    "index_fill(Tensor input, int dim, Tensor index, Operand value) -> Tensor",
    """A copy of `input` with `value` in its slices at `index` along `dim`.

    >>> flambeau.index_fill(flambeau.zeros(3), 0, flambeau.tensor([0, 2]), 7)
    tensor([7., 0., 7.])
    """,
    inplace=True,
    vjp={**_INDEX_FILL, "value": lambda grad, dim, index: _filled(grad, dim, index).sum()},
)

# ---- by flat position, and by mask -----------------------------------------------------------------------------------

op(
    "take(Tensor input, Tensor index, *, Tensor? out=None) -> Tensor",
    """Elements at positions of the flattened `input`; the result has the shape of `index`.

    >>> flambeau.take(flambeau.tensor([[1, 2], [3, 4]]), flambeau.tensor([0, 3]))
    tensor([1, 4])
    """,
    vjp={"input": lambda grad, input_shape, index: grad.new_zeros(input_shape).put(index, grad, True)},
)
op(
    "put(Tensor input, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
    """A copy of `input` with `source` at positions of its flattened form, or added there.

    >>> flambeau.put(flambeau.zeros(3), flambeau.tensor([1]), flambeau.tensor([5.0]))
    tensor([0., 5., 0.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad, index, accumulate: (
            grad if accumulate else grad.put(index, grad.new_zeros(index.shape), False)
        ),
        "source": lambda grad, index, source_shape: grad.take(index).reshape(source_shape),
    },
)
op(
    "masked_select(Tensor input, Tensor mask, *, Tensor? out=None) -> Tensor",
    """The elements where the bool `mask` is true, as a vector; both are broadcast.

    >>> flambeau.masked_select(flambeau.arange(3), flambeau.tensor([True, False, True]))
    tensor([0, 2])
    """,
    vjp={"input": lambda grad, input, mask: _masked_select_vjp(grad, input, mask)},
)


def _masked_select_vjp(grad, input, mask):
    import flambeau

    shape = flambeau.broadcast_shapes(input.shape, mask.shape)
    return grad.new_zeros(shape).masked_scatter(mask, grad)


op(
    "masked_scatter(Tensor input, Tensor mask, Tensor source) -> Tensor",
    """A copy of `input` whose elements where `mask` is true are taken from `source`, in order.

    >>> flambeau.masked_scatter(flambeau.zeros(3), flambeau.tensor([True, False, True]), flambeau.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])
    """,
    inplace=True,
    vjp={
        "input": lambda grad, mask: grad.masked_fill(mask, 0),
        "source": lambda grad, mask, source_shape: _masked_scatter_source(grad, mask, source_shape),
    },
)


def _masked_scatter_source(grad, mask, shape):
    taken = grad.masked_select(mask)
    full = grad.new_zeros(shape).reshape(-1)
    return full.slice_scatter(taken, 0, 0, taken.numel()).reshape(shape)


@composite(method=True)
def nonzero(input, *, out=None, as_tuple=False):
    """The positions of nonzero elements: shape (n, input.dim()), or with `as_tuple` one index tensor per dimension.

    >>> flambeau.nonzero(flambeau.tensor([0, 3, 5]))
    tensor([[1],
            [2]])
    """
    from .registry import records

    found = records["nonzero"].op
    if not as_tuple:
        return found(input, out=out)
    if input.dim() == 0:
        return found(input.unsqueeze(0)).unbind(1)
    return found(input).unbind(1)


@composite(method=True)
@takes("argwhere(Tensor input)")
def argwhere(input):
    """The positions of nonzero elements, a row each.

    >>> flambeau.argwhere(flambeau.tensor([0, 3]))
    tensor([[1]])
    """
    return nonzero(input)


@composite(method=True)
def take_along_dim(input, indices, dim=None, *, out=None):
    """Elements along `dim` at `indices`, broadcast against `input` elsewhere; without `dim` from the flattened tensor.

    >>> flambeau.take_along_dim(flambeau.tensor([[3, 1, 2]]), flambeau.tensor([[1, 2, 0]]), 1)
    tensor([[1, 2, 3]])
    """
    import flambeau

    if indices.dtype != flambeau.int64:
        raise RuntimeError(
            f"torch.take_along_dim(): dtype of indices should be Long but got {str(indices.dtype).split('.')[-1]}"
        )
    # Negative indices count from the end, which gather does not know.
    length = input.numel() if dim is None else input.size(dim)
    indices = flambeau.where(indices < 0, indices + length, indices)
    if dim is None:
        return input.reshape(-1).gather(0, indices.reshape(-1), out=out)
    if input.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.dim()} dimensions for input, and {indices.dim()} dimensions for indices"
        )
    dim = dim + input.dim() if dim < 0 else dim
    common = list(flambeau.broadcast_shapes(_with(input.shape, dim, 1), _with(indices.shape, dim, 1)))
    return input.expand(_with(common, dim, input.shape[dim])).gather(
        dim, indices.expand(_with(common, dim, indices.shape[dim])), out=out
    )


def _with(shape, dim, size):
    shape = list(shape)
    shape[dim] = size
    return shape
