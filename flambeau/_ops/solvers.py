"""Linear systems, inverses and determinants."""

import math

import flambeau

from .casts import in_autocast
from .factorizations import (
    FACTOR,
    check_info,
    check_matrix,
    check_sides,
    check_square,
    functions,
    triangular,
    wants_grad,
)
from .linalg import _h
from .outputs import deliver, deliver_all
from .registry import composite, op, takes


def _broadcast(A, B):
    """Both with the batch dimensions that the two have together."""
    batch = flambeau.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    return A.expand((*batch, *A.shape[-2:])), B.expand((*batch, *B.shape[-2:]))


def _is_vector(A, B):
    """Whether B is one right-hand side per matrix, not a matrix of them."""
    return B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])


def _check_fit(A, B, left, name):
    if A.size(-2 if left else -1) != B.size(-2 if left else -1):
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} "
            f"({A.size(-2)}x{A.size(-1)} and {B.size(-2)}x{B.size(-1)})"
        )


def _check_same(A, B, name):
    if A.dtype != B.dtype:
        raise RuntimeError(
            f"{name}: Expected A and B to have the same dtype, but found A of type {A.dtype} and B of type {B.dtype} instead"
        )


# ---- A X = B ------------------------------------------------------------------------------------------------


def _solve_vjp(grad, A, result, LU, pivots, needs):
    if flambeau.is_grad_enabled():
        grad_B = _solve(_h(A), grad)[0]
    else:
        grad_B = _lu_solve(LU, pivots, grad, True)
    return -(grad_B @ _h(result)) if needs[0] else None, grad_B


_solve = op(
    "_linalg_solve(Tensor A, Tensor B) -> (Tensor result, Tensor LU, Tensor pivots, Tensor info)",
    """Solution of A X = B for operands of equal batch dimensions, and what it was found with.""",
    vjp={"A, B": _solve_vjp},
    **FACTOR,
)


def _solved(A, B, left, name):
    check_square(A, name)
    _check_same(A, B, name)
    vector = left and _is_vector(A, B)
    columns = B.unsqueeze(-1) if vector else B
    check_matrix(columns, name, "B")
    _check_fit(A, columns, left, name)
    if left:
        result, _, _, info = _solve(*_broadcast(A, columns))
        return (result.squeeze(-1) if vector else result), info
    result, _, _, info = _solve(*_broadcast(A.mT, columns.mT))
    return result.mT, info


def _singular(place):
    return "The solver failed because the input matrix is singular."


@takes(
    "linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False, Tensor[]? out=None)",
)
def linalg_solve_ex(A, B, *, left=True, check_errors=False, out=None):
    """`linalg.solve` without an error for singular matrices: `info` is 0 or where the factorization met a zero.

    >>> flambeau.linalg.solve_ex(flambeau.zeros(1, 1), flambeau.ones(1)).info
    tensor(1, dtype=torch.int32)
    """
    results = _solved(A, B, left, "linalg.solve")
    if check_errors:
        check_info(results[1], "torch.linalg.solve_ex", _singular)
    return flambeau.return_types.linalg_solve_ex(deliver_all(results, out, "linalg.solve_ex"))


@takes("linalg_solve(Tensor A, Tensor B, *, bool left=True, Tensor? out=None)")
@in_autocast("float32")
def linalg_solve(A, B, *, left=True, out=None):
    """The solution X of A X = B, or of X A = B without `left`, by LU factorization; A: (*, n, n).

    B: (*, n, k), or (n) or A's shape without its last dimension for one right-hand side per matrix. Batch dimensions are
    broadcast. A singular matrix is a LinAlgError.

    >>> flambeau.linalg.solve(flambeau.tensor([[2.0, 0.0], [0.0, 4.0]]), flambeau.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    result, info = _solved(A, B, left, "linalg.solve")
    check_info(info, "torch.linalg.solve", _singular)
    return deliver(result, out, "linalg.solve")


@takes(
    "linalg_solve_triangular(Tensor input, Tensor B, *, bool upper, bool left=True, "
    "bool unitriangular=False, Tensor? out=None)",
)
@in_autocast("float32")
def linalg_solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """The solution X of A X = B, or of X A = B without `left`, for a triangular A; its other triangle is not read.

    unitriangular: A's diagonal counts as ones and is not read.

    >>> A = flambeau.tensor([[2.0, 0.0], [2.0, 1.0]])
    >>> flambeau.linalg.solve_triangular(A, flambeau.tensor([[2.0], [4.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    name = "linalg.solve_triangular"
    check_square(A, name)
    check_matrix(B, name, "B")
    _check_same(A, B, name)
    _check_fit(A, B, left, name)
    result = triangular(*_broadcast(A, B), upper=upper, left=left, unitriangular=unitriangular)
    return deliver(result, out, name)


@composite(method=True)
@takes(
    "triangular_solve(Tensor input, Tensor A, bool upper=True, bool transpose=False, "
    "bool unitriangular=False, *, Tensor[]? out=None)",
)
@in_autocast("float32")
def triangular_solve(b, A, upper=True, transpose=False, unitriangular=False, *, out=None):
    """`linalg.solve_triangular` under its older name, together with a copy of A; `transpose` solves A^T X = b.

    >>> flambeau.triangular_solve(flambeau.tensor([[2.0]]), flambeau.tensor([[4.0]])).solution
    tensor([[0.5000]])
    """
    if b.dim() < 2 or A.dim() < 2:
        argument, dims = ("b", b.dim()) if b.dim() < 2 else ("A", A.dim())
        raise RuntimeError(
            f"torch.triangular_solve: Expected {argument} to have at least 2 dimensions, but it has {dims} "
            "dimensions instead"
        )
    check_sides(A, "triangular_solve")
    _check_same(A, b, "triangular_solve")
    _check_fit(A, b, True, "triangular_solve")
    A, b = _broadcast(A, b)
    matrix = A.mT if transpose else A
    result = triangular(matrix, b, upper=upper != transpose, unitriangular=unitriangular)
    return flambeau.return_types.triangular_solve(deliver_all((result, A.clone()), out, "triangular_solve"))


_lu_solve = op(
    "_linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, bool adjoint=False) -> Tensor",
    """Solution of A X = B, or of A^H X = B, from A's LU factorization.""",
    vjp={
        "LU": None,
        "B": lambda grad, LU, pivots, adjoint: _lu_solve(LU, pivots, grad, not adjoint),
    },
    **FACTOR,
)


@takes(
    "linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False, "
    "Tensor? out=None)",
)
def linalg_lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None):
    """The solution X of A X = B from the factorization that `linalg.lu_factor` made of A.

    left: False solves X A = B. adjoint: A^H takes A's place.

    >>> A = flambeau.tensor([[2.0, 1.0], [0.0, 4.0]])
    >>> flambeau.linalg.lu_solve(*flambeau.linalg.lu_factor(A), flambeau.tensor([[3.0], [4.0]]))
    tensor([[1.],
            [1.]])
    """
    name = "linalg.lu_solve"
    check_square(LU, name, "LU")
    check_matrix(B, name, "B")
    _check_same(LU, B, name)
    _check_fit(LU, B, left, name)
    if pivots.shape != LU.shape[:-1]:
        raise RuntimeError(
            f"{name}: Number of pivots per batch should be same as the dimension of the matrix, got pivots of shape "
            f"{list(pivots.shape)} for LU of shape {list(LU.shape)}"
        )
    batch = flambeau.broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    LU, B = _broadcast(LU, B)
    pivots = pivots.expand((*batch, pivots.size(-1)))
    if not left:  # X A = B is A^H X^H = B^H
        B, adjoint = _h(B), not adjoint
    if wants_grad(LU):
        P, L, U = flambeau.lu_unpack(LU, pivots)
        if adjoint:
            inner = triangular(_h(U), B, upper=False)
            X = P @ triangular(_h(L), inner, upper=True, unitriangular=True)
        else:
            inner = triangular(L, P.mT @ B, upper=False, unitriangular=True)
            X = triangular(U, inner, upper=True)
    else:
        X = _lu_solve(LU, pivots, B, adjoint)
    return deliver(X if left else _h(X), out, name)


@composite(method=True)
@takes("lu_solve(Tensor input, Tensor LU_data, Tensor LU_pivots, *, Tensor? out=None)")
@in_autocast("float32")
def lu_solve(b, LU_data, LU_pivots, *, out=None):
    """`linalg.lu_solve` under its older name and with the right-hand side first.

    >>> flambeau.lu_solve(flambeau.tensor([[3.0]]), *flambeau.linalg.lu_factor(flambeau.tensor([[2.0]])))
    tensor([[1.5000]])
    """
    return linalg_lu_solve(LU_data, LU_pivots, b, out=out)


_ldl_solve = op(
    "_linalg_ldl_solve(Tensor LD, Tensor pivots, Tensor B, bool hermitian=False) -> Tensor",
    """Solution of A X = B from A's LDL factorization.""",
    vjp={
        "LD": None,
        # A is symmetric or Hermitian: so is its inverse.
        "B": lambda grad, LD, pivots, hermitian: (
            _ldl_solve(LD, pivots, grad, hermitian)
            if hermitian
            else _ldl_solve(LD, pivots, grad.conj(), hermitian).conj()
        ),
    },
    **FACTOR,
)


@takes(
    "linalg_ldl_solve(Tensor LD, Tensor pivots, Tensor B, *, bool hermitian=False, Tensor? out=None)",
)
def linalg_ldl_solve(LD, pivots, B, *, hermitian=False, out=None):
    """The solution X of A X = B from the factorization that `linalg.ldl_factor` made of A. No gradient reaches LD.

    >>> flambeau.linalg.ldl_solve(*flambeau.linalg.ldl_factor(flambeau.tensor([[2.0]])), flambeau.tensor([[3.0]]))
    tensor([[1.5000]])
    """
    name = "torch.linalg.ldl_solve"
    check_square(LD, name, "LD")
    if B.dim() < 2:
        raise RuntimeError(
            f"{name}: Expected B to have at least 2 dimensions, but it has {B.dim()} dimensions instead"
        )
    _check_same(LD, B, name)
    _check_fit(LD, B, True, name)
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.shape)} instead"
        )
    if pivots.dtype != flambeau.int32:
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype}")
    batch = flambeau.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    LD, B = _broadcast(LD, B)
    result = _ldl_solve(LD, pivots.expand((*batch, pivots.size(-1))), B, hermitian)
    return deliver(result, out, "linalg.ldl_solve")


def _definite_solve(B, L, upper):
    first, second = (_h(L), L) if upper else (L, _h(L))
    return triangular(second, triangular(first, B, upper=False), upper=True)


@composite(method=True)
@takes("cholesky_solve(Tensor input, Tensor input2, bool upper=False, *, Tensor? out=None)")
@in_autocast("float32")
def cholesky_solve(B, L, upper=False, *, out=None):
    """The solution X of A X = B from A's Cholesky factor L.

    >>> flambeau.cholesky_solve(flambeau.tensor([[8.0]]), flambeau.tensor([[2.0]]))
    tensor([[2.]])
    """
    if B.dim() < 2 or L.dim() < 2:
        raise RuntimeError(
            "b should have at least 2 dimensions, and u too: cholesky_solve takes batches of matrices"
        )
    check_sides(L, "cholesky_solve")
    _check_same(L, B, "cholesky_solve")
    _check_fit(L, B, True, "cholesky_solve")
    L, B = _broadcast(L, B)
    return deliver(functions().CholeskySolve.apply(B, L, upper), out, "cholesky_solve")


@composite(method=True)
@takes("cholesky_inverse(Tensor input, bool upper=False, *, Tensor? out=None)")
@in_autocast("float32")
def cholesky_inverse(L, upper=False, *, out=None):
    """The inverse of A from its Cholesky factor L.

    >>> flambeau.cholesky_inverse(flambeau.tensor([[2.0]]))
    tensor([[0.2500]])
    """
    check_square(L, "cholesky_inverse")
    eye = flambeau.eye(L.size(-1), dtype=L.dtype).expand(L.shape)
    return deliver(functions().CholeskySolve.apply(eye, L, upper), out, "cholesky_inverse")


# ---- inverses -----------------------------------------------------------------------------------------------


def _inverted(A, name):
    check_square(A, name)
    eye = flambeau.eye(A.size(-1), dtype=A.dtype, device=A.device).expand(A.shape)
    result, _, _, info = _solve(A, eye)
    return result, info


def _not_invertible(place):
    return (
        f"The diagonal element {place} is zero, the inversion could not be completed because the input matrix is "
        "singular."
    )


@takes("linalg_inv_ex(Tensor A, *, bool check_errors=False, Tensor[]? out=None)")
@in_autocast("float32")
def linalg_inv_ex(A, *, check_errors=False, out=None):
    """`linalg.inv` without an error for singular matrices: `info` is 0 or where the factorization met a zero.

    >>> flambeau.linalg.inv_ex(flambeau.zeros(1, 1)).info
    tensor(1, dtype=torch.int32)
    """
    results = _inverted(A, "linalg.inv")
    if check_errors:
        check_info(results[1], "linalg.inv_ex", _not_invertible)
    return flambeau.return_types.linalg_inv_ex(deliver_all(results, out, "linalg.inv_ex"))


@takes("linalg_inv(Tensor A, *, Tensor? out=None)")
@in_autocast("float32")
def linalg_inv(A, *, out=None):
    """The inverses of square matrices (*, n, n); a singular one is a LinAlgError. Prefer `linalg.solve` to a product.

    >>> flambeau.linalg.inv(flambeau.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    result, info = _inverted(A, "linalg.inv")
    check_info(info, "linalg.inv", _not_invertible)
    return deliver(result, out, "linalg.inv")


@composite(method=True)
@takes("inverse(Tensor input, *, Tensor? out=None)")
@in_autocast("float32")
def inverse(input, *, out=None):
    """The inverses of square matrices: `linalg.inv`.

    >>> flambeau.inverse(flambeau.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return linalg_inv(input, out=out)


@takes("linalg_tensorinv(Tensor input, int ind=2, *, Tensor? out=None)")
@in_autocast("float32")
def linalg_tensorinv(A, ind=2, *, out=None):
    """The inverse of `tensordot(A, ., ind)`: the first `ind` sizes must multiply to the same as the others.

    >>> flambeau.linalg.tensorinv(flambeau.eye(4).reshape(4, 2, 2), 1).shape
    torch.Size([2, 2, 4])
    """
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    first, rest = A.shape[:ind], A.shape[ind:]
    rows, cols = math.prod(first), math.prod(rest)
    if rows != cols:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), "
            f"but got {cols} != {rows}"
        )
    result, info = _inverted(A.reshape(rows, cols), "linalg.inv")
    check_info(info, "linalg.inv", _not_invertible)
    return deliver(result.reshape((*rest, *first)), out, "linalg.tensorinv")


@takes("linalg_tensorsolve(Tensor input, Tensor other, int[]? dims=None, *, Tensor? out=None)")
@in_autocast("float32")
def linalg_tensorsolve(A, B, dims=None, *, out=None):
    """The tensor X with `tensordot(A, X, X.dim()) == B`; `dims` of A are moved to its end first.

    >>> flambeau.linalg.tensorsolve(flambeau.eye(4).reshape(2, 2, 4), flambeau.ones(2, 2))
    tensor([1., 1., 1., 1.])
    """
    if dims is not None:
        moved = [d % A.dim() for d in dims]
        A = A.movedim(moved, list(range(A.dim() - len(moved), A.dim())))
    shape = A.shape[B.dim() :]
    size = math.prod(shape)
    if size * size != A.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {size} != {math.prod(A.shape[: B.dim()])}"
        )
    result, info = _solved(A.reshape(size, size), B.reshape(-1), True, "linalg.solve")
    check_info(info, "torch.linalg.solve", _singular)
    return deliver(result.reshape(shape), out, "linalg.tensorsolve")


# ---- determinants -------------------------------------------------------------------------------------------


@composite(method=True)
@takes("det(Tensor input, *, Tensor? out=None)")
def det(input, *, out=None):
    """The determinants of square matrices (*, n, n).

    >>> flambeau.det(flambeau.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(-2.0000)
    """
    check_square(input, "linalg.det")
    return deliver(functions().LinalgDet.apply(input), out, "linalg.det", same_dtype=True)


@composite(method=True)
@takes("slogdet(Tensor input, *, Tensor[]? out=None)")
def slogdet(input, *, out=None):
    """Sign (a number of modulus 1, or 0) and logarithm of the absolute value of the determinants of (*, n, n).

    >>> flambeau.slogdet(-flambeau.eye(3)).sign
    tensor(-1.)
    """
    check_square(input, "linalg.slogdet")
    return flambeau.return_types.slogdet(
        deliver_all(functions().LinalgSlogdet.apply(input), out, "linalg.slogdet")
    )


@takes("linalg_slogdet(Tensor A, *, Tensor[]? out=None)")
def linalg_slogdet(A, *, out=None):
    """Sign (a number of modulus 1, or 0) and logarithm of the absolute value of the determinants of (*, n, n).

    >>> flambeau.linalg.slogdet(-flambeau.eye(3)).logabsdet
    tensor(0.)
    """
    return flambeau.return_types.linalg_slogdet(tuple(slogdet(A, out=out)))


@composite(method=True)
@takes("logdet(Tensor input)")
def logdet(input):
    """The logarithm of the determinants of (*, n, n): NaN for a negative one, -inf for zero.

    >>> flambeau.logdet(flambeau.eye(2))
    tensor(0.)
    """
    check_square(input, "logdet")
    sign, logarithm = functions().LinalgSlogdet.apply(input)
    if input.is_complex():
        return sign.log() + logarithm
    return flambeau.where(sign == -1.0, float("nan"), logarithm)
