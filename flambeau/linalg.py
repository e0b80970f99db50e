"""Linear algebra under PyTorch's names in `torch.linalg`. Each function's home is its family in `flambeau._ops`."""

import flambeau

from ._ops import factorizations, matrix_functions, solvers, spectral
from ._ops.casts import in_autocast
from ._ops.factorizations import LinAlgError
from ._ops.outputs import deliver
from ._ops.registry import overridable_functions, records, takes

vector_norm = records["linalg_vector_norm"].op
qr = records["linalg_qr"].op
matmul = flambeau.matmul
matrix_power = flambeau.matrix_power

__all__ = ["LinAlgError", "cross", "det", "diagonal", "matmul", "matrix_power", "qr", "vecdot", "vector_norm"]

for _family in (factorizations, solvers, spectral, matrix_functions):
    for _name in [name for name in vars(_family) if name.startswith("linalg_")]:
        globals()[_name.removeprefix("linalg_")] = getattr(_family, _name)
        __all__.append(_name.removeprefix("linalg_"))
__all__ = sorted(set(__all__))


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


@takes("linalg_det(Tensor A, *, Tensor? out=None)")
def det(A, *, out=None):
    """The determinants of square matrices (*, n, n).

    >>> flambeau.linalg.det(flambeau.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor(6.)
    """
    return flambeau.det(A, out=out)


@in_autocast("lower")
def vecdot(x, y, *, dim=-1, out=None):
    """The sum of ``conj(x) * y`` along `dim`; the shapes broadcast.

    >>> flambeau.linalg.vecdot(flambeau.ones(2, 3), flambeau.ones(3))
    tensor([3., 3.])
    """
    return deliver(flambeau.sum(flambeau.conj(x) * y, dim), out, "linalg.vecdot", same_dtype=True)


overridable_functions(globals())


def __getattr__(name):
    raise AttributeError(
        f"module 'torch.linalg' has no attribute '{name}' in flambeau, which has {', '.join(__all__)}"
    )
