"""Linear algebra under PyTorch's names in `torch.linalg`: norms, products and the QR decomposition."""

import flambeau

from ._ops.registry import records

__all__ = ["cross", "diagonal", "matmul", "matrix_norm", "multi_dot", "norm", "qr", "vecdot", "vector_norm"]

vector_norm = records["linalg_vector_norm"].op
matmul = flambeau.matmul


def cross(input, other, *, dim=-1, out=None):
    """The cross product along a dimension of size 3; the shapes broadcast.

    >>> flambeau.linalg.cross(flambeau.tensor([1.0, 0.0, 0.0]), flambeau.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    return flambeau.cross(input, other, dim=dim, out=out)


def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """A view of the diagonals of the matrices in the last two dimensions, as the last dimension.

    >>> flambeau.linalg.diagonal(flambeau.ones(4, 2, 3)).shape
    torch.Size([4, 2])
    """
    return flambeau.diagonal(A, offset, dim1, dim2)


def vecdot(x, y, *, dim=-1, out=None):
    """The sum of ``conj(x) * y`` along `dim`; the shapes broadcast.

    >>> flambeau.linalg.vecdot(flambeau.ones(2, 3), flambeau.ones(3))
    tensor([3., 3.])
    """
    return flambeau.sum(flambeau.conj(x) * y, dim, out=out)


def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """The norm of matrices: "fro", or the largest (smallest with a minus) absolute column sum (1) or row sum (inf).

    The orders "nuc", 2 and -2 need singular values and are refused.

    >>> flambeau.linalg.matrix_norm(flambeau.ones(2, 2), 1)
    tensor(2.)
    """
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {tuple(dim)}")
    if ord == "fro":
        return vector_norm(A, 2, tuple(dim), keepdim, dtype=dtype, out=out)
    if ord in ("nuc", 2, -2):
        raise NotImplementedError(
            f"linalg.matrix_norm: order {ord!r} needs singular values, which are not there yet"
        )
    if ord not in (1, -1, float("inf"), -float("inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    row, column = (d % A.dim() for d in dim)
    summed, kept = (row, column) if abs(ord) == 1 else (column, row)
    sums = vector_norm(A, 1, summed, True, dtype=dtype)
    found = sums.amax(kept, True) if ord > 0 else sums.amin(kept, True)
    found = found if keepdim else found.squeeze((row, column))
    return found if out is None else out.copy_(found)


def norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None):
    """The norm of a vector or of a matrix: `vector_norm` or `matrix_norm`, as the number of dimensions says.

    Without `ord` the 2-norm of all the elements.

    >>> flambeau.linalg.norm(flambeau.tensor([3.0, 4.0]))
    tensor(5.)
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype, out=out)
    if (dims is not None and len(dims) == 2) or (dims is None and A.dim() == 2) or isinstance(ord, str):
        return matrix_norm(A, ord, dims or (-2, -1), keepdim, dtype=dtype, out=out)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype, out=out)


def multi_dot(tensors, *, out=None):
    """The product of several matrices, in the order of fewest multiplications; the ends may be vectors.

    >>> flambeau.linalg.multi_dot([flambeau.ones(2, 3), flambeau.ones(3, 4), flambeau.ones(4)])
    tensor([12., 12.])
    """
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    parts = list(tensors)
    first, last = parts[0].dim() == 1, parts[-1].dim() == 1
    parts[0] = parts[0].unsqueeze(0) if first else parts[0]
    parts[-1] = parts[-1].unsqueeze(1) if last else parts[-1]
    n = len(parts)
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
    return result if out is None else out.copy_(result)


def qr(A, mode="reduced", *, out=None):
    """Q with orthonormal columns and an upper triangular R with A = Q R, by Householder reflections.

    A: (*, m, n). mode: "reduced" (Q has min(m, n) columns), "complete" (Q is square) or "r" (Q is left empty). As in
    LAPACK, the diagonal of R may be negative. Gradients flow through it.

    >>> Q, R = flambeau.linalg.qr(flambeau.tensor([[3.0], [4.0]]))
    >>> R
    tensor([[-5.]])
    """
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if A.dim() < 2:
        raise RuntimeError("linalg.qr: The input tensor A must have at least 2 dimensions.")
    if not (A.is_floating_point() or A.is_complex()):
        raise RuntimeError(f"linalg.qr: Expected a floating point or complex tensor as input. Got {A.dtype}")
    m, n = A.shape[-2:]
    k = min(m, n)
    R = A
    Q = flambeau.eye(m, dtype=A.dtype).expand((*A.shape[:-2], m, m))
    for j in range(k if m > n else max(k - 1, 0) + int(A.is_complex())):
        # The reflection that turns column j into a multiple of the j-th unit vector, its sign away from cancellation.
        x = R[..., j:, j]
        lead = x[..., :1]
        size = vector_norm(x, 2, -1, True)
        phase = flambeau.where(lead == 0, flambeau.ones_like(lead), flambeau.sgn(lead))
        v = flambeau.cat([lead + phase * size, x[..., 1:]], -1)
        square = (v.abs() ** 2).sum(-1, True)
        scale = flambeau.where(
            square == 0, flambeau.zeros_like(square), 2 / flambeau.where(square == 0, 1.0, square)
        )
        pad = v.new_zeros((*v.shape[:-1], j))
        v = flambeau.cat([pad, v], -1).unsqueeze(-1)
        scale = scale.unsqueeze(-1).to(A.dtype)
        R = R - scale * v @ (v.mH @ R)
        Q = Q - scale * (Q @ v) @ v.mH
    R = R.triu()
    if mode == "reduced":
        Q, R = Q[..., :k], R[..., :k, :]
    elif mode == "r":
        Q, R = A.new_empty((0,)), R[..., :k, :]
    if out is not None:
        Q, R = out[0].resize_(Q.shape).copy_(Q), out[1].resize_(R.shape).copy_(R)
    return flambeau.return_types.linalg_qr((Q, R))


def __getattr__(name):
    raise AttributeError(
        f"module 'torch.linalg' has no attribute '{name}' in flambeau, which has {', '.join(__all__)}"
    )
