"""Joining tensors, and cutting them up."""

from .outputs import deliver
from .registry import composite, op, takes

op(
    "cat(Tensor[] tensors, int dim=0, *, Tensor? out=None) -> Tensor",
    """The tensors one after another along `dim`; all other sizes must agree, dtypes are promoted.

    >>> flambeau.cat([flambeau.zeros(1), flambeau.ones(2)])
    tensor([0., 1., 1.])
    """,
    method=False,
    aliases=("concat", "concatenate"),
    vjp={"tensors": lambda grad, tensors, dim: _cat_vjp(grad, tensors, dim)},
)


def _cat_vjp(grad, tensors, dim):
    empty_vector = (0,)
    lengths = [0 if tuple(t.shape) == empty_vector and grad.dim() > 1 else t.shape[dim] for t in tensors]
    parts = grad.split_with_sizes(lengths, dim)
    return [
        p if p.dim() == t.dim() else p.new_zeros(empty_vector) for p, t in zip(parts, tensors, strict=True)
    ]


op(
    "stack(Tensor[] tensors, int dim=0, *, Tensor? out=None) -> Tensor",
    """Tensors of one size side by side along a new dimension `dim`.

    >>> flambeau.stack([flambeau.zeros(2), flambeau.ones(2)], 1)
    tensor([[0., 1.],
            [0., 1.]])
    """,
    method=False,
    vjp={"tensors": lambda grad, dim: grad.unbind(dim)},
)


def _atleast(n, name):
    def apply(*tensors):
        import flambeau

        if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
            return tuple(one(t) for t in tensors[0])
        if len(tensors) == 1:
            return one(tensors[0])
        for t in tensors:
            if not isinstance(t, flambeau.Tensor):
                raise TypeError(f"{name}(): arguments must be tensors, not {type(t).__name__}")
        return tuple(one(t) for t in tensors)

    def one(t):
        if t.dim() >= n:
            return t
        if t.dim() == 0:
            return t.reshape((1,) * n)
        if n == 2 or t.dim() == 1:
            return t[None, :] if n == 2 else t[None, :, None]
        return t[:, :, None]

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"""Each tensor with at least {n} dimension{"s" if n > 1 else ""}; several give a tuple.

    >>> flambeau.{name}(flambeau.tensor(1)).shape
    torch.Size([{", ".join("1" * n)}])
    """
    return composite(apply)


atleast_1d = _atleast(1, "atleast_1d")
atleast_2d = _atleast(2, "atleast_2d")
atleast_3d = _atleast(3, "atleast_3d")


def _joined(name, at_least, dim, doc, aliases=()):
    def apply(tensors, *, out=None):
        import flambeau

        if len(tensors) == 0:
            raise RuntimeError(f"{name} expects a non-empty TensorList")
        parts = at_least(list(tensors))
        return flambeau.cat(parts, dim if parts[0].dim() > 1 or dim == 0 else 0, out=out)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    return composite(apply, aliases=aliases)


hstack = _joined(
    "hstack",
    atleast_1d,
    1,
    """Joined column by column: along dimension 1, vectors along 0.

    >>> flambeau.hstack((flambeau.zeros(1), flambeau.ones(1)))
    tensor([0., 1.])
    """,
)
vstack = _joined(
    "vstack",
    atleast_2d,
    0,
    """Joined row by row: along dimension 0, vectors being rows.

    >>> flambeau.vstack((flambeau.zeros(1), flambeau.ones(1))).shape
    torch.Size([2, 1])
    """,
    aliases=("row_stack",),
)
dstack = _joined(
    "dstack",
    atleast_3d,
    2,
    """Joined along the third dimension.

    >>> flambeau.dstack((flambeau.zeros(1), flambeau.ones(1))).shape
    torch.Size([1, 1, 2])
    """,
)


@composite
@takes("column_stack(Tensor[] tensors, *, Tensor? out=None)")
def column_stack(tensors, *, out=None):
    """Vectors as the columns of a matrix; matrices side by side.

    >>> flambeau.column_stack((flambeau.zeros(2), flambeau.ones(2))).shape
    torch.Size([2, 2])
    """
    import flambeau

    if len(tensors) == 0:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    return flambeau.hstack([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in tensors], out=out)


@composite
def block_diag(*tensors):
    """A matrix with the given matrices along its diagonal and zeros elsewhere.

    >>> flambeau.block_diag(flambeau.ones(1, 1), flambeau.ones(1, 2)).shape
    torch.Size([2, 3])
    """
    import flambeau

    if not tensors:
        return flambeau.empty((1, 0))
    dtype = None
    blocks = []
    for i, t in enumerate(tensors):
        if t.dim() > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t.dim()} dimensions"
            )
        blocks.append(flambeau.atleast_2d(t))
        dtype = t.dtype if dtype is None else flambeau.promote_types(dtype, t.dtype)
    width = sum(b.shape[1] for b in blocks)
    rows, at = [], 0
    for b in blocks:
        rows.append(flambeau.constant_pad_nd(b.to(dtype), (at, width - at - b.shape[1])))
        at += b.shape[1]
    return flambeau.cat(rows)


# ---- cutting ---------------------------------------------------------------------------------------------------------


def _check_dim(input, name):
    if input.dim() == 0:
        raise RuntimeError(f"{name} expects at least a 1-dimensional tensor")


def _sizes_of_split(input, size, dim):
    """The sizes of pieces of `size` each, the last perhaps smaller."""
    _check_dim(input, "split")
    length = input.size(dim)
    if isinstance(size, float):
        raise TypeError(
            f"split(): argument 'split_sizes' (position 1) must be tuple of ints, not {type(size).__name__}"
        )
    size = size.__index__()
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and length != 0:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {length}"
        )
    count = max((length + size - 1) // size, 1) if size else 1
    return [size] * (count - 1) + [length - size * (count - 1)]


def _sizes_of_chunk(input, chunks, dim):
    """The sizes of at most `chunks` equal pieces, the last perhaps smaller."""
    _check_dim(input, "chunk")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = (input.size(dim) + chunks - 1) // chunks
    return [0] * chunks if size == 0 else _sizes_of_split(input, size, dim)


@composite
def split(tensor, split_size_or_sections, dim=0):
    """Consecutive views along `dim`: of a given size each (the last may be smaller), or of the sizes in a list.

    >>> flambeau.split(flambeau.arange(3), 2)
    (tensor([0, 1]), tensor([2]))
    """
    if isinstance(split_size_or_sections, (list, tuple)):
        return tensor.split_with_sizes(split_size_or_sections, dim)
    return tensor.split_with_sizes(_sizes_of_split(tensor, split_size_or_sections, dim), dim)


@composite(method="split", public=False)
def _tensor_split_method(self, split_size, dim=0):
    return split(self, split_size, dim)


@composite(method=True)
@takes("chunk(Tensor input, int chunks, int dim=0)")
def chunk(input, chunks, dim=0):
    """At most `chunks` views of equal size along `dim` (the last may be smaller).

    >>> flambeau.chunk(flambeau.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    return input.split_with_sizes(_sizes_of_chunk(input, chunks, dim), dim)


def _as_ints(values):
    return values.tolist() if hasattr(values, "tolist") else values


@composite(method=True)
@takes(
    "tensor_split(Tensor input, int sections, int dim=0)",
    "tensor_split(Tensor input, int[] indices, int dim=0)",
    "tensor_split(Tensor input, Tensor tensor_indices_or_sections, int dim=0)",
)
def tensor_split(input, indices_or_sections, dim=0):
    """Views along `dim`: `sections` of nearly equal size, or cut before each of the given positions.

    >>> flambeau.tensor_split(flambeau.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    if input.dim() == 0:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    length = input.size(dim)
    where = _as_ints(indices_or_sections)
    if isinstance(where, int):
        if where <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {where}")
        base, extra = divmod(length, where)
        sizes = [base + 1] * extra + [base] * (where - extra)
        return input.split_with_sizes(sizes, dim)
    cuts = [slice(0, length)] if not where else []
    start = 0
    for cut in [*where, length] if where else []:
        cuts.append(slice(start, cut))
        start = cut
    return tuple(input._slice(dim, c.start, c.stop, 1) for c in cuts)


def _split_along(name, dim, least, doc):
    def apply(input, indices_or_sections):
        if input.dim() < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, "
                f"but got a tensor with {input.dim()} dimensions!"
            )
        along = 0 if name == "hsplit" and input.dim() == 1 else dim
        if isinstance(indices_or_sections, int) and (
            indices_or_sections == 0 or input.shape[along] % indices_or_sections
        ):
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {along}, but the size of the dimension "
                f"{input.shape[along]} is not divisible by the split_size {indices_or_sections}!"
            )
        return tensor_split(input, indices_or_sections, along)

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = doc
    parsed = takes(f"{name}(Tensor input, int sections)", f"{name}(Tensor input, int[] indices)")(apply)
    return composite(parsed, method=True)


hsplit = _split_along(
    "hsplit",
    1,
    1,
    """Cut into equal columns, or before the given columns; a vector is cut along its only dimension.

    >>> flambeau.hsplit(flambeau.arange(4), 2)
    (tensor([0, 1]), tensor([2, 3]))
    """,
)
vsplit = _split_along(
    "vsplit",
    0,
    2,
    """Cut into equal rows, or before the given rows.

    >>> len(flambeau.vsplit(flambeau.ones(4, 1), 2))
    2
    """,
)
dsplit = _split_along(
    "dsplit",
    2,
    3,
    """Cut along the third dimension.

    >>> len(flambeau.dsplit(flambeau.ones(1, 1, 4), 2))
    2
    """,
)


@composite(method=True)
@takes("unsafe_split(Tensor input, int split_size, int dim=0)")
def unsafe_split(input, split_size, dim=0):
    """`split`, whose pieces may be written in place: see `unsafe_split_with_sizes`."""
    return input.unsafe_split_with_sizes(_sizes_of_split(input, split_size, dim), dim)


@composite(method=True)
@takes("unsafe_chunk(Tensor input, int chunks, int dim=0)")
def unsafe_chunk(input, chunks, dim=0):
    """`chunk`, whose pieces may be written in place: see `unsafe_split_with_sizes`."""
    return input.unsafe_split_with_sizes(_sizes_of_chunk(input, chunks, dim), dim)


@composite
def _chunk_cat(tensors, dim, num_chunks, *, out=None):
    """Every tensor cut into `num_chunks` along `dim`, padded with zeros, and the chunks side by side as rows.

    The tensors agree in the dimensions before `dim`; all from there on are flattened. The result has the shape
    (*before, num_chunks, all the chunks' sizes together). It is what sharded parameters are packed with.

    >>> flambeau._chunk_cat([flambeau.tensor([1, 2, 3]), flambeau.tensor([4, 5])], 0, 2)
    tensor([[1, 2, 4],
            [3, 0, 5]])
    """
    from .. import cat

    tensors = list(tensors)
    if not tensors:
        raise RuntimeError("_chunk_cat expects a non-empty input tensor list")
    if num_chunks <= 0:
        raise RuntimeError(f"_chunk_cat expects positive num_chunks, got {num_chunks}")
    first = tensors[0]
    if dim < 0 and any(t.dim() != first.dim() for t in tensors):
        raise RuntimeError("_chunk_cat expects non-negative dim when input tensors have different ndims")
    at = dim
    if dim < 0:
        first.size(dim)  # raises for a dimension that there is not
        at = dim + first.dim()
    for t in tensors:
        if t.numel() == 0:
            raise RuntimeError(f"_chunk_cat expects non-empty tensor, got shape {list(t.shape)}")
        if t.dtype != first.dtype:
            raise RuntimeError(
                f"_chunk_cat expects all input tensors with the same dtype, got {first.dtype} and {t.dtype}"
            )
        if at >= t.dim():
            raise RuntimeError(
                f"_chunk_cat expects dim < ndim for all input tensors, got dim {dim} and shape {list(t.shape)}"
            )
        if t.shape[:at] != first.shape[:at]:
            raise RuntimeError(
                "_chunk_cat expects same sizes of 0,...,dim-1 dimensions for all tensors, got shapes "
                f"{list(first.shape)} and {list(t.shape)}"
            )
    rows = []
    for t in tensors:
        missing = -t.size(at) % num_chunks
        if missing:
            t = cat([t, t.new_zeros((*t.shape[:at], missing, *t.shape[at + 1 :]))], at)
        rows.append(t.reshape(*t.shape[:at], num_chunks, -1))
    if out is not None and out.dtype != first.dtype:
        raise TypeError(
            f"_chunk_cat(): Expected out tensor to have dtype {first.dtype}, but got {out.dtype} instead"
        )
    return deliver(cat(rows, -1), out, "_chunk_cat")
