"""Powers, exponentials and norms of matrices."""

import math

import flambeau

from .factorizations import check_sides, check_square
from .outputs import deliver
from .registry import composite, records, takes
from .solvers import _solve, linalg_inv
from .spectral import linalg_svdvals
from .truth import whole


@composite(method=True)
@takes("matrix_power(Tensor input, int n, *, Tensor? out=None)")
def matrix_power(input, n, *, out=None):
    """The n-th power of square matrices (*, m, m), by repeated squaring; a negative n inverts them first.

    >>> flambeau.matrix_power(flambeau.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    check_sides(input, "linalg.matrix_power")
    if n < 0:
        input, n = linalg_inv(input), -n
    if n == 0:
        eye = flambeau.eye(input.size(-1), dtype=input.dtype, device=input.device)
        # It does not depend on the input, but is part of its graph: the gradient is zeros.
        result = flambeau.where(flambeau.zeros_like(input, dtype=flambeau.bool), input, eye)
        return deliver(result, out, "linalg.matrix_power")
    result, square = None, input
    while n:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        if n:
            square = square @ square
    if result is input:
        result = input.clone()
    return deliver(result, out, "linalg.matrix_power")


# Numerator of the diagonal Pade approximant of degree 13 and the norm up to which it is exact to double precision:
# Higham, The scaling and squaring method for the matrix exponential revisited (2005).
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_LARGEST = 5.371920351148152
_WIDER = {
    flambeau.float16: flambeau.float64,
    flambeau.bfloat16: flambeau.float64,
    flambeau.float32: flambeau.float64,
    flambeau.complex64: flambeau.complex128,
}


@composite(method=True)
@takes("matrix_exp(Tensor input)")
def matrix_exp(input):
    """The exponentials of square matrices (*, n, n), by a Pade approximant with scaling and squaring.

    >>> flambeau.matrix_exp(flambeau.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_square(input, "linalg.matrix_exp")
    if input.numel() == 0:
        return input.clone()
    wider = _WIDER.get(input.dtype)
    if wider is not None:  # squaring doubles the error of every step before it
        return matrix_exp(input.to(wider)).to(input.dtype)
    with flambeau.no_grad():
        size = input.abs().sum(-2).amax(-1)
        doublings = (size / _LARGEST).log2().ceil().nan_to_num(0.0, 0.0, 0.0).clamp(0)
        most = int(whole(doublings).max())
        scale = (-doublings).exp2().to(input.dtype)[..., None, None]
    A = input * scale
    b = [c / _PADE[0] for c in _PADE]
    eye = flambeau.eye(A.size(-1), dtype=A.dtype)
    A2 = A @ A
    A4 = A2 @ A2
    A6 = A4 @ A2
    odd = A @ (A6 @ (b[13] * A6 + b[11] * A4 + b[9] * A2) + b[7] * A6 + b[5] * A4 + b[3] * A2 + b[1] * eye)
    even = A6 @ (b[12] * A6 + b[10] * A4 + b[8] * A2) + b[6] * A6 + b[4] * A4 + b[2] * A2 + b[0] * eye
    result = _solve(even - odd, even + odd)[0]
    for i in range(most):
        more = (doublings > i)[..., None, None]
        # What is squared often enough must not overflow behind the mask: its gradient would be NaN.
        square = flambeau.where(more, result, 0)
        result = flambeau.where(more, square @ square, result)
    return result


@takes("linalg_matrix_exp(Tensor input)")
def linalg_matrix_exp(A):
    """The exponentials of square matrices (*, n, n): `matrix_exp`.

    >>> flambeau.linalg.matrix_exp(flambeau.zeros(1, 1))
    tensor([[1.]])
    """
    return matrix_exp(A)


@takes(
    "linalg_matrix_norm(Tensor input, Scalar ord, int[] dim=(-2, -1), bool keepdim=False, *, "
    "dtype? dtype=None, Tensor? out=None)",
    "linalg_matrix_norm(Tensor input, str ord='fro', int[] dim=(-2, -1), bool keepdim=False, *, "
    "dtype? dtype=None, Tensor? out=None)",
)
def linalg_matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """The norms of the matrices in two dimensions.

    ord: "fro" (the root of the sum of squares), "nuc" (the sum of singular values), 2 and -2 (the largest and the smallest
    singular value), 1 and -1 (largest and smallest sum of a column), inf and -inf (of a row).

    >>> flambeau.linalg.matrix_norm(flambeau.ones(2, 2), 1)
    tensor(2.)
    """
    name = "linalg.matrix_norm"
    if A.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {tuple(dim)}")
    if not (A.is_floating_point() or A.is_complex()):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {A.dtype}")
    row, column = (d % A.dim() if -A.dim() <= d < A.dim() else d for d in dim)
    if not (0 <= row < A.dim() and 0 <= column < A.dim()):
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-A.dim()}, {A.dim() - 1}], but got {tuple(dim)})"
        )
    if row == column:
        raise RuntimeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    vector_norm = records["linalg_vector_norm"].op
    if ord == "fro":
        return vector_norm(A, 2, (row, column), keepdim, dtype=dtype, out=out)
    if ord in ("nuc", 2, -2):
        if dtype is not None:
            A = A.to(dtype)
        S = linalg_svdvals(A.movedim((row, column), (-2, -1)))
        if ord == "nuc":
            result = S.sum(-1)
        elif S.size(-1) == 0 and ord == -2:
            raise IndexError(f"{name}: amin(): Expected reduction dim -1 to have non-zero size: {_empty(A)}")
        elif S.size(-1) == 0:
            result = S.sum(-1)
        else:
            result = S.amax(-1) if ord == 2 else S.amin(-1)
        for d in sorted((row, column)) if keepdim else ():
            result = result.unsqueeze(d)
        return deliver(result, out, name)
    if isinstance(ord, str):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if ord not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    summed, kept = (row, column) if abs(ord) == 1 else (column, row)
    sums = vector_norm(A, 1, summed, True, dtype=dtype)
    if sums.size(kept):
        result = sums.amax(kept, True) if ord > 0 else sums.amin(kept, True)
    elif ord > 0:
        result = sums.sum(kept, True)
    else:
        raise IndexError(f"{name}: amin(): Expected reduction dim {kept} to have non-zero size: {_empty(A)}")
    return deliver(result if keepdim else result.squeeze((row, column)), out, name)


def _empty(A):
    return f"there is no smallest value in empty matrices, shape {list(A.shape)}"


@takes(
    "linalg_norm(Tensor input, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, "
    "dtype? dtype=None, Tensor? out=None)",
    "linalg_norm(Tensor input, str ord, int[1]? dim=None, bool keepdim=False, *, dtype? dtype=None, "
    "Tensor? out=None)",
)
def linalg_norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None):
    """The norm of a vector or of a matrix: `vector_norm` or `matrix_norm`, as the number of dimensions says.

    Without `ord` the 2-norm of all the elements.

    >>> flambeau.linalg.norm(flambeau.tensor([3.0, 4.0]))
    tensor(5.)
    """
    dims = (dim,) if isinstance(dim, int) else dim
    vector_norm = records["linalg_vector_norm"].op
    if dims is not None and len(dims) not in (1, 2) and ord is not None:
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if dims is None and ord is not None and A.dim() not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D."
        )
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype, out=out)
    if (dims is not None and len(dims) == 2) or (dims is None and A.dim() == 2):
        return linalg_matrix_norm(A, ord, dims or (-2, -1), keepdim, dtype=dtype, out=out)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: the order {ord!r} is one of matrices, but dim names one dimension")
    return vector_norm(A, ord, dims, keepdim, dtype=dtype, out=out)


@takes("linalg_vander(Tensor x, *, int? N=None)")
def linalg_vander(x, N=None):
    """The powers 0 to N-1 of every element, along a new last dimension. N: by default the size of the last dimension.

    >>> flambeau.linalg.vander(flambeau.tensor([2, 3]), N=3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    x = flambeau.atleast_1d(x)
    N = x.size(-1) if N is None else N
    if N <= 1:
        raise RuntimeError(f"N must be greater than 1, but got {N}.")
    if x.dtype == flambeau.bool:
        x = x.to(flambeau.int64)
    elif not (x.is_floating_point() or x.is_complex()):
        x = x.to(flambeau.int64)
    powers = x.unsqueeze(-1).expand((*x.shape, N - 1)).cumprod(-1)
    return flambeau.cat([powers.new_ones((*x.shape, 1)), powers], -1)


@takes("linalg_multi_dot(Tensor[] tensors, *, Tensor? out=None)")
def linalg_multi_dot(tensors, *, out=None):
    """The product of several matrices, in the order of fewest multiplications; the ends may be vectors.

    >>> flambeau.linalg.multi_dot([flambeau.ones(2, 3), flambeau.ones(3, 4), flambeau.ones(4)])
    tensor([12., 12.])
    """
    name = "multi_dot()"
    if len(tensors) < 2:
        raise RuntimeError(f"{name}: expected at least 2 tensors but got {len(tensors)}")
    parts = list(tensors)
    for i, part in enumerate(parts):
        allowed = (1, 2) if i in (0, len(parts) - 1) else (2,)
        if part.dim() not in allowed:
            raise RuntimeError(
                f"{name}: the {'first and last tensors' if len(allowed) == 2 else 'tensors between them'} must be "
                f"{'1D or 2D' if len(allowed) == 2 else '2D'} but tensor {i} is {part.dim()}D"
            )
        if part.dtype != parts[0].dtype:
            raise RuntimeError(
                f"{name}: all tensors must have be the same dtype, but tensor 0 is {parts[0].dtype} "
                f"and tensor {i} is {part.dtype}"
            )
    first, last = parts[0].dim() == 1, parts[-1].dim() == 1
    parts[0] = parts[0].unsqueeze(0) if first else parts[0]
    parts[-1] = parts[-1].unsqueeze(1) if last else parts[-1]
    n = len(parts)
    for i in range(n - 1):
        if parts[i].size(1) != parts[i + 1].size(0):
            raise RuntimeError(
                f"{name}: tensors {i} and {i + 1} with shapes {list(parts[i].shape)} and {list(parts[i + 1].shape)} "
                "cannot be multiplied"
            )
    sizes = [p.size(0) for p in parts] + [parts[-1].size(1)]
    # Dynamic programming over intervals (Cormen et al., Introduction to Algorithms, 15.2).
    cost = [[0] * n for _ in range(n)]
    cut = [[0] * n for _ in range(n)]
    for width in range(1, n):
        for i in range(n - width):
            j = i + width
            cost[i][j], cut[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )

    def product(i, j):
        return parts[i] if i == j else product(i, cut[i][j]) @ product(cut[i][j] + 1, j)

    result = product(0, n - 1)
    result = result.squeeze(0) if first else result
    result = result.squeeze(-1) if last else result
    return deliver(result, out, "multi_dot")
