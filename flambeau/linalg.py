"""Linear algebra under PyTorch's names in `torch.linalg`: norms and products. There are no decompositions yet."""

import flambeau

from ._ops.registry import records

__all__ = ["cross", "diagonal", "matmul", "vecdot", "vector_norm"]

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


def __getattr__(name):
    raise AttributeError(f"module 'torch.linalg' has no attribute '{name}' in flambeau, which has {', '.join(__all__)}")
