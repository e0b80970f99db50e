"""Products of vectors and matrices beyond the matrix product: cross, Kronecker, gradients on a grid."""

from .outputs import deliver
from .registry import composite, takes


@composite(method=True)
@takes("cross(Tensor input, Tensor other, int? dim=None, *, Tensor? out=None)")
def cross(input, other, dim=None, *, out=None):
    """Vector product along a dimension of size 3 (the first such one when `dim` is not given).

    >>> flambeau.cross(flambeau.tensor([1.0, 0, 0]), flambeau.tensor([0.0, 1, 0]))
    tensor([0., 0., 1.])
    """
    import flambeau

    if dim is None:
        sizes = [i for i, n in enumerate(flambeau.broadcast_shapes(input.shape, other.shape)) if n == 3]
        if not sizes:
            raise RuntimeError("no dimension of size 3 in input")
        dim = sizes[0]
    return _cross(input, other, dim, out)


def _cross(input, other, dim, out=None):
    import flambeau

    if input.dim() != other.dim():
        raise RuntimeError(
            "linalg.cross: inputs must have the same number of dimensions. "
            f"Got {input.dim()} and {other.dim()} dimensions."
        )
    if input.size(dim) != 3 or other.size(dim) != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.size(dim)} and {other.size(dim)}"
        )
    a, b = input.unbind(dim), other.unbind(dim)
    parts = [a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    dim = dim + input.dim() if dim < 0 else dim
    return deliver(flambeau.stack(parts, dim), out, "linalg.cross")


@composite(method=True)
@takes("kron(Tensor input, Tensor other, *, Tensor? out=None)")
def kron(input, other, *, out=None):
    """Kronecker product: every element of `input` times all of `other`, block by block.

    >>> flambeau.kron(flambeau.tensor([1, 2]), flambeau.tensor([1, 10]))
    tensor([ 1, 10,  2, 20])
    """
    n = max(input.dim(), other.dim())
    a = input.reshape((1,) * (n - input.dim()) + tuple(input.shape))
    b = other.reshape((1,) * (n - other.dim()) + tuple(other.shape))
    product = a.reshape([s for size in a.shape for s in (size, 1)]) * b.reshape(
        [s for size in b.shape for s in (1, size)]
    )
    product = product.reshape([x * y for x, y in zip(a.shape, b.shape, strict=True)])
    return deliver(product, out, "kron")


@composite
def unravel_index(indices, shape):
    """Positions in a flattened tensor of `shape` as one index tensor per dimension.

    >>> flambeau.unravel_index(flambeau.tensor([5]), (2, 3))
    (tensor([1]), tensor([2]))
    """
    import flambeau

    if not isinstance(indices, flambeau.Tensor):
        raise TypeError(f"expected 'indices' to be a tensor, but got {type(indices).__name__}")
    if indices.is_complex() or indices.is_floating_point() or indices.dtype == flambeau.bool:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    indices = indices.to(flambeau.int64)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"'shape' cannot have negative values, but got {shape}")
    out = []
    for n in reversed(shape):
        out.append(indices % n if n else indices)
        indices = indices // n if n else indices
    return tuple(reversed(out))


@composite(method=True)
def nonzero_static(input, *, size, fill_value=-1):
    """`nonzero` with exactly `size` rows: cut off, or filled up with `fill_value`.

    >>> flambeau.nonzero_static(flambeau.tensor([0, 3]), size=2)
    tensor([[ 1],
            [-1]])
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = input.nonzero()[:size]
    out = found.new_full((size, input.dim()), fill_value)
    out[: found.shape[0]] = found
    return out


@composite(method=True)
@takes("is_same_size(Tensor input, Tensor other)")
def is_same_size(input, other):
    """Whether both tensors have the same size.

    >>> flambeau.is_same_size(flambeau.ones(2), flambeau.zeros(2))
    True
    """
    return input.shape == other.shape


@composite
@takes(
    "gradient(Tensor input, *, Scalar? spacing=None, int? dim=None, int edge_order=1)",
    "gradient(Tensor input, *, Scalar? spacing=None, int[] dim, int edge_order=1)",
    "gradient(Tensor input, *, float[] spacing, int? dim=None, int edge_order=1)",
    "gradient(Tensor input, *, float[] spacing, int[] dim, int edge_order=1)",
    "gradient(Tensor input, *, Tensor[] spacing, int? dim=None, int edge_order=1)",
    "gradient(Tensor input, *, Tensor[] spacing, int[] dim, int edge_order=1)",
)
def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """Derivatives of sampled values along dimensions, by central differences inside and one-sided ones at the ends.

    spacing: the distance between samples, one number for all or one per dimension, or a vector of coordinates each.
    edge_order: 1 or 2, the order of the one-sided estimates.

    >>> flambeau.gradient(flambeau.tensor([1.0, 2.0, 4.0]))
    (tensor([1.0000, 1.5000, 2.0000]),)
    """
    import flambeau

    n = input.dim()
    dims = list(range(n)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    for d in dims:
        if not -n <= d < n:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {d})"
            )
    dims = [d % n for d in dims]
    for d in dims:
        if dims.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    if spacing is None:
        spacing = 1
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    for d in dims:
        if input.shape[d] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    if isinstance(spacing, (list, tuple)):
        steps = list(spacing)
        if any(isinstance(step, flambeau.Tensor) and step.device != input.device for step in steps):
            raise RuntimeError("torch.gradient expected each tensor to be on the same device, the input's")
        if len(steps) != len(dims):
            raise RuntimeError(
                f"torch.gradient expected spacing to be unspecified, a scalar or a list of length {len(dims)}, but got "
                f"a list of length {len(steps)}"
            )
    else:
        steps = [spacing] * len(dims)
    if not input.is_floating_point() and not input.is_complex():
        input = input.to(flambeau.get_default_dtype())
    return tuple(_gradient_along(input, d, h, edge_order) for d, h in zip(dims, steps, strict=True))


def _gradient_along(f, dim, step, edge_order):
    import flambeau

    size = f.shape[dim]

    def part(t, start, stop):
        return t.narrow(dim, start, stop - start)

    if isinstance(step, flambeau.Tensor) and step.dim():
        h = (step[1:] - step[:-1]).to(f.dtype).reshape([-1 if d == dim else 1 for d in range(f.dim())])
    else:
        h = flambeau.full([size - 1 if d == dim else 1 for d in range(f.dim())], float(step), dtype=f.dtype)
    if not (isinstance(step, flambeau.Tensor) and step.dim()):
        # Evenly spaced, the general formulas below become these, which round less.
        step = float(step)
        inner = (part(f, 2, size) - part(f, 0, size - 2)) / (2 * step)
        if edge_order == 2:
            a, b, c = (part(f, i, i + 1) for i in range(3))
            first = (-1.5 * a + 2 * b - 0.5 * c) / step
            a, b, c = (part(f, size - i, size - i + 1) for i in (3, 2, 1))
            last = (0.5 * a - 2 * b + 1.5 * c) / step
            return flambeau.cat([first, inner, last], dim)
    else:
        before, after = part(h, 0, size - 2), part(h, 1, size - 1)
        inner = (
            -after / (before * (before + after)) * part(f, 0, size - 2)
            + (after - before) / (before * after) * part(f, 1, size - 1)
            + before / (after * (before + after)) * part(f, 2, size)
        )
        if edge_order == 2:
            near, far = part(h, 0, 1), part(h, 1, 2)
            a, b, c = (part(f, i, i + 1) for i in range(3))
            first = (
                -(2 * near + far) / (near * (near + far)) * a
                + (near + far) / (near * far) * b
                - near / (far * (near + far)) * c
            )
            far, near = part(h, size - 3, size - 2), part(h, size - 2, size - 1)
            a, b, c = (part(f, size - i, size - i + 1) for i in (3, 2, 1))
            last = (
                near / (far * (far + near)) * a
                - (near + far) / (far * near) * b
                + (2 * near + far) / (near * (far + near)) * c
            )
            return flambeau.cat([first, inner, last], dim)
    first = (part(f, 1, 2) - part(f, 0, 1)) / part(h, 0, 1)
    last = (part(f, size - 1, size) - part(f, size - 2, size - 1)) / part(h, size - 2, size - 1)
    return flambeau.cat([first, inner, last], dim)
