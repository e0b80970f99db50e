"""Rearranging elements: repeating, turning, padding, triangles, and views composed of simpler views."""

from .casts import in_autocast
from .outputs import deliver
from .registry import Tensor, composite, op, takes

op(
    "repeat(Tensor input, int[] repeats) -> Tensor",
    """A copy repeated along every dimension; missing dimensions are added in front.

    >>> flambeau.arange(2).repeat(2, 2)
    tensor([[0, 1, 0, 1],
            [0, 1, 0, 1]])
    """,
    public=False,
    vjp={"input": lambda grad, input_shape, repeats: _repeat_vjp(grad, input_shape, repeats)},
)


def _repeat_vjp(grad, shape, repeats):
    if 0 in repeats:
        return grad.new_zeros(shape)
    padded = (1,) * (len(repeats) - len(shape)) + tuple(shape)
    blocks = [n for pair in zip(repeats, padded, strict=True) for n in pair]
    summed = grad.reshape(blocks)
    return (summed.sum(tuple(range(0, len(blocks), 2))) if blocks else summed).reshape(shape)


op(
    "_repeat_interleave_index(Tensor repeats, int? output_size=None) -> Tensor",
    "Positions 0, 1, ... each repeated as often as the vector says.",
    public=False,
    method=False,
)
op(
    "flip(Tensor input, int[1] dims) -> Tensor",
    """Reversed along the given dimensions (a copy).

    >>> flambeau.flip(flambeau.arange(3), (0,))
    tensor([2, 1, 0])
    """,
    vjp={"input": lambda grad, dims: grad.flip(dims)},
)
op(
    "roll(Tensor input, int[1] shifts, int[1]? dims=()) -> Tensor",
    """Shifted along dimensions, what leaves at one end coming in at the other; without `dims` as a flat sequence.

    >>> flambeau.roll(flambeau.arange(3), 1)
    tensor([2, 0, 1])
    """,
    vjp={
        "input": lambda grad, shifts, dims: grad.roll(
            -shifts if isinstance(shifts, int) else [-s for s in shifts], dims
        )
    },
)
op(
    "constant_pad_nd(Tensor input, int[] pad, Scalar value=0) -> Tensor",
    """Padded with `value`: (before, after) for the last dimension, then the one before it ...; negative amounts crop.

    >>> flambeau.constant_pad_nd(flambeau.ones(1), (1, 2))
    tensor([0., 1., 0., 0.])
    """,
    vjp={"input": lambda grad, pad: grad.constant_pad_nd([-p for p in pad])},
)
for _name, _keeps in (("tril", "below"), ("triu", "above")):
    op(
        f"{_name}(Tensor input, int diagonal=0, *, Tensor? out=None) -> Tensor",
        f"""The part of the last two dimensions on and {_keeps} a diagonal, zeros elsewhere.

        >>> flambeau.{_name}(flambeau.ones(2, 2)).sum()
        tensor(3.)
        """,
        inplace=True,
        vjp={
            "input": (lambda grad, diagonal: grad.tril(diagonal))
            if _name == "tril"
            else (lambda grad, diagonal: grad.triu(diagonal))
        },
    )
op(
    "view.dtype(Tensor input, dtype dtype) -> Tensor",
    "The same bytes as elements of another dtype; the last dimension changes with the width.",
    view=True,
    public=False,
)


@composite(method=True)
@takes("sum_to_size(Tensor input, int[] size)")
def sum_to_size(input, size):
    """Summed over the dimensions in which `size` has 1 or nothing, so that the result has that size.

    >>> flambeau.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    if not size:
        return input.sum()
    if tuple(input.shape) == size:
        return input
    lead = input.dim() - len(size)
    bad = lead < 0 or any(s not in (1, n) for s, n in zip(size, input.shape[lead:], strict=True))
    if bad:
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(input.shape)}}}.")
    dims = [*range(lead), *(lead + i for i, s in enumerate(size) if s == 1 and input.shape[lead + i] != 1)]
    if dims:
        input = input.sum(dims, True)
    return input.reshape(size) if lead else input


@composite(method=True)
@takes("view_as(Tensor input, Tensor other)")
def view_as(input, other):
    """`input` viewed in the shape of `other`."""
    return input.view(other.shape)


@composite(method=True, public=False)
@takes("reshape_as(Tensor input, Tensor other)")
def reshape_as(input, other):
    """`input` in the shape of `other`."""
    return input.reshape(other.shape)


@composite(method=True, public=False)
@takes("expand_as(Tensor input, Tensor other)")
def expand_as(input, other):
    """`input` expanded to the shape of `other`."""
    return input.expand(other.shape)


@composite(method=True)
@takes("broadcast_to(Tensor input, int[] size)")
def broadcast_to(input, size):
    """`input` expanded to `size`.

    >>> flambeau.broadcast_to(flambeau.ones(1), (2, 2)).shape
    torch.Size([2, 2])
    """
    return input.expand(size)


@composite
def broadcast_shapes(*shapes):
    """The shape that tensors of these shapes broadcast to.

    >>> flambeau.broadcast_shapes((2, 1), (3,))
    torch.Size([2, 3])
    """
    import flambeau

    shapes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    n = max((len(s) for s in shapes), default=0)
    out = [1] * n
    for shape in shapes:
        for i in range(-len(shape), 0):
            if shape[i] < 0:
                raise RuntimeError(
                    f"Trying to create tensor with negative dimension ({shape[i]}): ({shape[i]})"
                )
            if shape[i] == 1 or shape[i] == out[i]:
                continue
            if out[i] != 1:
                raise RuntimeError(
                    "Shape mismatch: objects cannot be broadcast to a single shape: " + str(shapes)
                )
            out[i] = shape[i]
    return flambeau.Size(out)


@composite
def broadcast_tensors(*tensors):
    """All tensors expanded to their common shape.

    >>> [t.shape for t in flambeau.broadcast_tensors(flambeau.ones(2, 1), flambeau.ones(3))]
    [torch.Size([2, 3]), torch.Size([2, 3])]
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tensors[0]
    shape = ()
    for t in tensors:
        shape = _broadcast_pair(shape, t.shape)
    return tuple(t.expand(shape) for t in tensors)


def _broadcast_pair(a, b):
    n = max(len(a), len(b))
    a, b = (1,) * (n - len(a)) + tuple(a), (1,) * (n - len(b)) + tuple(b)
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if x != y and 1 not in (x, y):
            raise RuntimeError(
                f"The size of tensor a ({x}) must match the size of tensor b ({y}) at non-singleton dimension {i}"
            )
    return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))


@composite(method=True)
@takes("flatten(Tensor input, int start_dim=0, int end_dim=-1)")
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions start_dim to end_dim merged into one.

    >>> flambeau.flatten(flambeau.ones(2, 3, 4), 1).shape
    torch.Size([2, 12])
    """
    n = input.dim()
    if n == 0:
        return input.reshape(1)
    start, end = _wrap(start_dim, n), _wrap(end_dim, n)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    shape = input.shape
    merged = 1
    for size in shape[start : end + 1]:
        merged *= size
    return input.reshape((*shape[:start], merged, *shape[end + 1 :]))


def _wrap(dim, n):
    least = -max(n, 1)
    if not least <= dim < -least:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{least}, {-least - 1}], but got {dim})"
        )
    return dim + max(n, 1) if dim < 0 else dim


@composite(method=True)
@takes("unflatten(Tensor input, int dim, int[] sizes)")
def unflatten(input, dim, sizes):
    """Dimension `dim` split into `sizes`, of which one may be -1.

    >>> flambeau.unflatten(flambeau.ones(6), 0, (2, -1)).shape
    torch.Size([2, 3])
    """
    dim = _wrap(dim, input.dim())
    sizes = list(sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    known = 1
    for s in sizes:
        known *= s if s != -1 else 1
    length = input.shape[dim]
    if sizes.count(-1) == 1 and known and length % known == 0:
        sizes[sizes.index(-1)] = length // known
    product = 1
    for s in sizes:
        product *= s
    if product != length or -1 in sizes:
        raise RuntimeError(
            f"unflatten: Provided sizes {sizes} don't multiply up to the size of dim {dim} ({length}) in the input tensor"
        )
    return input.view((*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))


@composite(method=True)
@takes("ravel(Tensor input)")
def ravel(input):
    """All elements as one dimension; a view where possible.

    >>> flambeau.ravel(flambeau.ones(2, 2)).shape
    torch.Size([4])
    """
    return input.contiguous().view(-1)


@composite(method=True, aliases=("moveaxis",))
@takes(
    "movedim(Tensor input, int source, int destination)",
    "movedim(Tensor input, int[] source, int[] destination)",
)
def movedim(input, source, destination):
    """Dimensions `source` moved to the places `destination`, the others keeping their order.

    >>> flambeau.movedim(flambeau.ones(2, 3, 4), 0, -1).shape
    torch.Size([3, 4, 2])
    """
    n = input.dim()
    source = (source,) if isinstance(source, int) else tuple(source)
    destination = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same number "
            f"of dims as destination ({list(destination)} dims)"
        )
    if n == 0 and not source:
        return input.view(())
    given = {"source": list(source), "destination": list(destination)}
    source, destination = [_wrap(d, n) for d in source], [_wrap(d, n) for d in destination]
    for (name, as_given), dims in zip(given.items(), (source, destination), strict=True):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({as_given})")
    if n == 0:
        return input.view(())
    order = [d for d in range(n) if d not in source]
    for d, s in sorted(zip(destination, source, strict=True)):
        order.insert(d, s)
    return input.permute(order)


@composite(method=True)
@takes("adjoint(Tensor input)")
def adjoint(input):
    """The conjugate transpose of the last two dimensions."""
    if input.dim() == 1:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor."
        )
    flipped = input.transpose(-2, -1) if input.dim() else input
    return flipped.conj() if input.is_complex() else flipped


@composite(method=True)
@takes("rot90(Tensor input, int k=1, int[] dims=(0, 1))")
def rot90(input, k=1, dims=(0, 1)):
    """Turned by 90 degrees k times in the plane of two dimensions, from the first towards the second.

    >>> flambeau.rot90(flambeau.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.dim() < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.dim()}")
    a, b = _wrap(dims[0], input.dim()), _wrap(dims[1], input.dim())
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return input.flip((a, b))
    return input.flip((b,)).transpose(a, b) if k == 1 else input.transpose(a, b).flip((b,))


@composite(method=True)
@takes("fliplr(Tensor input)")
def fliplr(input):
    """Reversed along dimension 1.

    >>> flambeau.fliplr(flambeau.tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    if input.dim() < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return input.flip((1,))


@composite(method=True)
@takes("flipud(Tensor input)")
def flipud(input):
    """Reversed along dimension 0.

    >>> flambeau.flipud(flambeau.tensor([1, 2]))
    tensor([2, 1])
    """
    if input.dim() < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return input.flip((0,))


@composite(method=True)
@takes("tile(Tensor input, int[] dims)")
def tile(input, dims):
    """Repeated as often as `dims` says, which may have fewer entries than the tensor has dimensions.

    >>> flambeau.tile(flambeau.arange(2), (2,))
    tensor([0, 1, 0, 1])
    """
    return input.repeat((1,) * (input.dim() - len(dims)) + dims)


@composite(method=True)
@takes(
    "repeat_interleave(Tensor repeats, *, int? output_size=None)",
    "repeat_interleave(Tensor input, Tensor repeats, int? dim=None, *, int? output_size=None)",
    "repeat_interleave(Tensor input, int repeats, int? dim=None, *, int? output_size=None)",
)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Every element (or slice along `dim`) repeated in place: `repeats` is a number or a vector, one entry each.

    With one argument, a vector of counts, the positions 0, 1, ... repeated accordingly.

    >>> flambeau.repeat_interleave(flambeau.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    """
    import flambeau

    from .registry import records

    positions = records["_repeat_interleave_index"].op
    if repeats is None:
        return positions(input, output_size)
    if dim is None:
        input, dim = input.reshape(-1), 0
    dim = _wrap(dim, input.dim())
    length = input.shape[dim] if input.dim() else 1
    if not isinstance(repeats, Tensor):
        if repeats < 0:
            raise RuntimeError(f"Repeats must be non-negative, got {repeats}")
        if output_size is not None and output_size != repeats * length:
            raise RuntimeError(
                f"repeat_interleave: Invalid output_size, expected {repeats * length} but got {output_size}"
            )
        if input.dim() == 0:
            input = input.reshape(1)
        shape = list(input.shape)
        spread = input.unsqueeze(dim + 1).expand((*shape[: dim + 1], repeats, *shape[dim + 1 :]))
        shape[dim] = length * repeats
        return spread.clone(memory_format=flambeau.contiguous_format).view(shape)
    if repeats.dim() == 0 or (repeats.dim() == 1 and repeats.shape[0] == 1):
        repeats = repeats.reshape(1).expand(length)
    elif repeats.dim() == 1 and repeats.shape[0] != length:
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {repeats.shape[0]} and "
            f"input.size({dim}) = {length}"
        )
    return input.index_select(dim, positions(repeats, output_size))


# ---- a slice replaced ---------------------------------------------------------------------------------------------------


def _scattered(input, view_of, src, name):
    """A copy of `input` with one view of it overwritten."""
    out = input.clone()
    window = view_of(out)
    if window.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, "
            f"slice size = {list(window.shape)} ({name})"
        )
    window.copy_(src)
    return out


@composite(method=True)
@takes("select_scatter(Tensor input, Tensor src, int dim, int index)")
def select_scatter(input, src, dim, index):
    """A copy of `input` with the slice at `index` of `dim` replaced by `src`.

    >>> flambeau.select_scatter(flambeau.zeros(2, 2), flambeau.ones(2), 0, 0)
    tensor([[1., 1.],
            [0., 0.]])
    """
    return _scattered(input, lambda t: t.select(dim, index), src, "select_scatter")


@composite(method=True)
@takes(
    "slice_scatter(Tensor input, Tensor src, int dim=0, int? start=None, int? end=None, int step=1, "
    "*, Tensor? out=None)",
)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1, *, out=None):
    """A copy of `input` with elements start, start + step, ... of `dim` replaced by `src`.

    >>> flambeau.slice_scatter(flambeau.zeros(3), flambeau.ones(2), 0, 1)
    tensor([0., 1., 1.])
    """
    made = _scattered(input, lambda t: t._slice(dim, start, end, step), src, "slice_scatter")
    return deliver(made, out, "slice_scatter", same_dtype=True)


@composite(method=True)
@takes("diagonal_scatter(Tensor input, Tensor src, int offset=0, int dim1=0, int dim2=1)")
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of `input` with a diagonal replaced by `src`.

    >>> flambeau.diagonal_scatter(flambeau.zeros(2, 2), flambeau.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    return _scattered(input, lambda t: t.diagonal(offset, dim1, dim2), src, "diagonal_scatter")


@composite(method=True)
@takes(
    "as_strided_scatter(Tensor input, Tensor src, int[] size, int[] stride, int? storage_offset=None)",
)
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of `input` with a strided window of it replaced by `src`."""
    return _scattered(input, lambda t: t.as_strided(size, stride, storage_offset), src, "as_strided_scatter")


# ---- diagonals and grids --------------------------------------------------------------------------------------------------


@composite(method=True)
@takes("diag(Tensor input, int diagonal=0, *, Tensor? out=None)")
def diag(input, diagonal=0, *, out=None):
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector.

    >>> flambeau.diag(flambeau.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if input.dim() not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.dim()}D")
    made = diag_embed(input, diagonal) if input.dim() == 1 else input.diagonal(diagonal).clone()
    return deliver(made, out, "diag")


@composite(method=True)
@takes("diag_embed(Tensor input, int offset=0, int dim1=-2, int dim2=-1)")
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """The last dimension as a diagonal of two new dimensions, zeros elsewhere.

    >>> flambeau.diag_embed(flambeau.ones(1, 2)).shape
    torch.Size([1, 2, 2])
    """
    n = input.dim() + 1
    a, b = _wrap(dim1, n), _wrap(dim2, n)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    length = input.shape[-1] + abs(offset)
    shape = list(input.shape[:-1])
    for d in sorted((a, b)):
        shape.insert(d, length)
    out = input.new_zeros(shape)
    out.diagonal(offset, a, b).copy_(input)
    return out


@composite(method=True)
@takes("diagflat(Tensor input, int offset=0)")
def diagflat(input, offset=0):
    """The flattened elements as the diagonal of a matrix.

    >>> flambeau.diagflat(flambeau.ones(1, 2)).shape
    torch.Size([2, 2])
    """
    return diag_embed(input.reshape(-1), offset)


@composite(method=True)
@takes("trace(Tensor input)")
@in_autocast("float32")
def trace(input):
    """The sum of the main diagonal of a matrix.

    >>> flambeau.trace(flambeau.ones(2, 2))
    tensor(2.)
    """
    if input.dim() != 2:
        raise RuntimeError("trace: expected a matrix")
    return input.diagonal().sum()


@composite(method=True, public=False)
@takes("fill_diagonal_(Tensor input, Scalar fill_value, bool wrap=False)")
def fill_diagonal_(input, fill_value, wrap=False):
    """Writes `fill_value` along the main diagonal, in place; `wrap` starts it anew below a tall matrix."""
    if input.dim() < 2:
        raise RuntimeError("dimensions must larger than 1")
    if input.dim() > 2 and len(set(input.shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = sum(input.stride())
    count = min(input.shape)
    input.as_strided((count,), (step,)).fill_(fill_value)
    if wrap and input.dim() == 2 and input.shape[0] > input.shape[1] + 1:
        rows, cols = input.shape
        start = cols + 1
        while start < rows:
            input[start:].as_strided(
                (min(rows - start, cols),), (step,), input.storage_offset() + start * input.stride(0)
            ).fill_(fill_value)
            start += cols + 1
    return input


@composite
def meshgrid(*tensors, indexing=None):
    """Coordinate grids of the given vectors: output i varies along dimension i ("ij"), or with the first two
    dimensions exchanged ("xy"). Without `indexing` "ij" is used, with a warning.

    >>> [t.shape for t in flambeau.meshgrid(flambeau.ones(2), flambeau.ones(3), indexing="ij")]
    [torch.Size([2, 3]), torch.Size([2, 3])]
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tensors[0]
    if indexing is None:
        import warnings

        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.",
            stacklevel=2,
        )
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in tensors:
        if t.dim() > 1:
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t.dim()}D tensor"
            )
        if t.dtype != tensors[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    tensors = list(tensors)
    swap = indexing == "xy" and len(tensors) >= 2
    if swap:
        tensors[0], tensors[1] = tensors[1], tensors[0]
    n = len(tensors)
    shape = [t.numel() for t in tensors]
    grids = [t.reshape([-1 if d == i else 1 for d in range(n)]).expand(shape) for i, t in enumerate(tensors)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@composite
def cartesian_prod(*tensors):
    """All combinations of one element from each vector, a row each.

    >>> flambeau.cartesian_prod(flambeau.arange(2), flambeau.arange(2)).shape
    torch.Size([4, 2])
    """
    import flambeau

    for t in tensors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    grids = meshgrid(*tensors, indexing="ij")
    return flambeau.stack([g.flatten() for g in grids], 1)


@composite
@takes("combinations(Tensor input, int r=2, bool with_replacement=False)")
def combinations(input, r=2, with_replacement=False):
    """All choices of r elements of a vector, in order, a row each.

    >>> flambeau.combinations(flambeau.arange(3)).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    import itertools

    import flambeau

    if input.dim() != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(pick(range(input.shape[0]), r))
    index = flambeau.tensor(rows, dtype=flambeau.int64).reshape(len(rows), r)
    return input[index]
