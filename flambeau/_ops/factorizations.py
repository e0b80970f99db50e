"""Factorizations of matrices by LAPACK: Cholesky, LU, LDL and QR.

Formulas of the derivatives: Murray, Differentiation of the Cholesky decomposition (2016); Giles, An extended collection
of matrix derivative results (2008); Walter and Lehmann, Algorithmic differentiation of linear algebra functions (2018).
"""

import flambeau

from .. import _C
from .casts import in_autocast
from .linalg import _h
from .outputs import _class_name, deliver, deliver_all
from .registry import composite, op, takes
from .truth import any_true, whole

FACTOR = {"method": False, "public": False}

#: `info` of a matrix that holds infinities or NaN, which no iteration is begun on (kNotFinite in the kernels).
NOT_FINITE = -1


class LinAlgError(RuntimeError):
    """A matrix is singular, not positive definite, or an iteration on it does not converge."""


def check_matrix(t, name, argument="A"):
    """Raises unless `t` is a batch of matrices of floating-point or complex numbers."""
    if t.dim() < 2:
        raise RuntimeError(
            f"{name}: The input tensor {argument} must have at least 2 dimensions, got shape {list(t.shape)}"
        )
    if not (t.is_floating_point() or t.is_complex()):
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {_class_name(t.dtype)}"
        )


def check_square(t, name, argument="A"):
    """Raises unless `t` is a batch of square matrices of floating-point or complex numbers."""
    check_matrix(t, name, argument)
    check_sides(t, name, argument)


def check_sides(t, name, argument="A"):
    """Raises unless the last two dimensions of `t` are equal."""
    if t.dim() < 2 or t.size(-1) != t.size(-2):
        rows, cols = t.shape[-2:] if t.dim() > 1 else (1, t.numel())
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {rows} by {cols} matrices"
        )


def check_info(info, name, problem, error=LinAlgError):
    """Raises for the first matrix whose `info` is not 0; problem(number) says what that means."""
    if info.is_meta or not any_true(info):
        return
    info = whole(info)
    flat = info.reshape(-1)
    first = int(flat.nonzero()[0])
    where = f"(Batch element {first}): " if info.dim() else ""
    raise error(f"{name}: {where}{problem(int(flat[first]))}")


def functions():
    """The custom functions of linear algebra, loaded at first use: they bring the whole of autograd with them."""
    from . import linalg_functions

    return linalg_functions


def wants_grad(*tensors):
    if _C._transforms() and any(_C._wrapped(t) is not None for t in tensors):
        return True  # a tangent, or a gradient outside of this transform
    return flambeau.is_grad_enabled() and any(t.requires_grad for t in tensors)


# ---- Cholesky -----------------------------------------------------------------------------------------------


def _cholesky_vjp(grad, L, upper):
    if upper:
        L, grad = _h(L), _h(grad)
    inner = (_h(L) @ grad).tril()
    inner = 0.5 * (inner + _h(inner.tril(-1)))
    left = triangular(_h(L), inner, upper=True)
    return triangular(L, left, upper=False, left=False)


def _cholesky_jvp(primals, tangents, results):
    upper, L = primals[1], _h(results[0]) if primals[1] else results[0]
    inner = triangular(_h(L), triangular(L, tangents[0], upper=False), upper=True, left=False)
    # Half of the diagonal of a Hermitian matrix belongs to each of its factors.
    moved = L @ (inner.tril(-1) + 0.5 * flambeau.diag_embed(inner.diagonal(0, -2, -1)))
    return (_h(moved) if upper else moved), None


_cholesky_ex = op(
    "linalg_cholesky_ex(Tensor input, *, bool upper=False, bool check_errors=False, Tensor[]? out=None)"
    " -> (Tensor L, Tensor info)",
    """The Cholesky factor, without an error for a matrix that is not positive definite.

    `info` is 0, or the order of the first leading minor that is not positive definite.

    >>> flambeau.linalg.cholesky_ex(-flambeau.eye(2)).info
    tensor(1, dtype=torch.int32)
    """,
    vjp={"input": lambda grad, L, upper: _cholesky_vjp(grad, L, upper)},
    jvp=_cholesky_jvp,
    **FACTOR,
)


def _not_definite(order):
    return (
        "The factorization could not be completed because the input is not positive-definite "
        f"(the leading minor of order {order} is not positive-definite)."
    )


@takes(
    "linalg_cholesky_ex(Tensor input, *, bool upper=False, bool check_errors=False, Tensor[]? out=None)",
)
@in_autocast("float32")
def linalg_cholesky_ex(input, *, upper=False, check_errors=False, out=None):
    """The Cholesky factor L of `linalg.cholesky` and, per matrix, the order of the leading minor that is not positive
    definite (0: none). With `check_errors` that is a LinAlgError.

    >>> flambeau.linalg.cholesky_ex(-flambeau.eye(2)).info
    tensor(1, dtype=torch.int32)
    """
    result = _cholesky_ex(input, upper=upper, out=out)
    if check_errors:
        check_info(result.info, "linalg.cholesky_ex", _not_definite)
    return result


@takes("linalg_cholesky(Tensor input, *, bool upper=False, Tensor? out=None)")
@in_autocast("float32")
def linalg_cholesky(A, *, upper=False, out=None):
    """The lower triangular L with A = L L^H, for Hermitian positive-definite matrices (*, n, n); `upper`: L^H.

    Only one triangle of A is read. A matrix that is not positive definite is a LinAlgError.

    >>> flambeau.linalg.cholesky(flambeau.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    L, info = _cholesky_ex(A, upper=upper)
    check_info(info, "linalg.cholesky", _not_definite)
    return deliver(L, out, "linalg.cholesky")


@composite(method=True)
@takes("cholesky(Tensor input, bool upper=False, *, Tensor? out=None)")
@in_autocast("float32")
def cholesky(input, upper=False, *, out=None):
    """The Cholesky factor: `linalg.cholesky` under its older name.

    >>> flambeau.cholesky(flambeau.eye(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_square(input, "cholesky")
    L, info = _cholesky_ex(input, upper=upper)
    check_info(info, "cholesky", _not_definite)
    return deliver(L, out, "cholesky")


# ---- LU -----------------------------------------------------------------------------------------------------


def _permutation(pivots, m):
    """Where each row of L U stands in A, from LAPACK's successive swaps."""
    k = pivots.size(-1)
    order = pivots.new_empty((*pivots.shape[:-1], m), dtype=flambeau.int64).copy_(flambeau.arange(m))
    swaps = pivots.to(flambeau.int64) - 1
    for i in range(k):
        j = swaps[..., i : i + 1]
        here, there = order[..., i : i + 1].clone(), order.gather(-1, j)
        order.scatter_(-1, j, here)
        order[..., i : i + 1] = there
    return order


def _permutation_matrix(pivots, m, dtype):
    order = _permutation(pivots, m)
    zeros = order.new_zeros((*order.shape, m), dtype=dtype)
    return zeros.scatter_(-2, order.unsqueeze(-2), 1)


def _split_lu(LU):
    k = min(LU.shape[-2:])
    L = LU[..., :k].tril(-1) + flambeau.eye(LU.size(-2), k, dtype=LU.dtype)
    return L, LU[..., :k, :].triu()


def _lu_vjp(grad, LU, pivots):
    m, n = LU.shape[-2:]
    k = min(m, n)
    L, U = _split_lu(LU)
    grad_L, grad_U = grad[..., :k].tril(-1), grad[..., :k, :].triu()
    L1, U1 = L[..., :k, :], U[..., :, :k]
    lower = _h(L1) @ grad_L[..., :k, :]
    upper = grad_U[..., :, :k] @ _h(U1)
    if n > k:
        lower = lower - grad_U[..., :, k:] @ _h(U[..., :, k:])
    if m > k:
        upper = upper - _h(L[..., k:, :]) @ grad_L[..., k:, :]
    inner = triangular(_h(L1), lower.tril(-1) + upper.triu(), upper=True, unitriangular=True)
    inner = triangular(_h(U1), inner, upper=False, left=False)
    if n > k:
        right = triangular(_h(L1), grad_U[..., :, k:], upper=True, unitriangular=True)
        inner = flambeau.cat([inner, right], -1)
    if m > k:
        below = triangular(_h(U1), grad_L[..., k:, :], upper=False, left=False)
        inner = flambeau.cat([inner, below], -2)
    return _permutation_matrix(pivots, m, LU.dtype) @ inner


_lu_factor_ex = op(
    "linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False, Tensor[]? out=None)"
    " -> (Tensor LU, Tensor pivots, Tensor info)",
    """The compact LU factorization; `info` is 0 or the first place where U's diagonal is zero.

    >>> flambeau.linalg.lu_factor_ex(flambeau.zeros(2, 2)).info
    tensor(1, dtype=torch.int32)
    """,
    vjp={"A": _lu_vjp},
    **FACTOR,
)


def _zero_pivot(place):
    return (
        f"U[{place},{place}] is zero and using it on lu_solve would result in a division by zero. If you still want to "
        "perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
    )


@takes(
    "linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False, Tensor[]? out=None)",
)
def linalg_lu_factor_ex(A, *, pivot=True, check_errors=False, out=None):
    """The compact LU factorization of `linalg.lu_factor`, and per matrix the first zero on U's diagonal (0: none).

    >>> flambeau.linalg.lu_factor_ex(flambeau.zeros(2, 2)).info
    tensor(1, dtype=torch.int32)
    """
    result = _lu_factor_ex(A, pivot=pivot, out=out)
    if check_errors:
        check_info(result.info, "torch.linalg.lu_factor_ex", _zero_pivot, RuntimeError)
    return result


@takes("linalg_lu_factor(Tensor A, *, bool pivot=True, Tensor[]? out=None)")
def linalg_lu_factor(A, *, pivot=True, out=None):
    """L and U in one matrix (L's diagonal, all ones, is left out) and the pivots, for `linalg.lu_solve`.

    >>> flambeau.linalg.lu_factor(flambeau.tensor([[0.0, 2.0], [4.0, 1.0]])).pivots
    tensor([2, 2], dtype=torch.int32)
    """
    LU, pivots, info = _lu_factor_ex(A, pivot=pivot)
    check_info(info, "torch.linalg.lu_factor", _zero_pivot, RuntimeError)
    return flambeau.return_types.linalg_lu_factor(deliver_all((LU, pivots), out, "linalg.lu_factor"))


@takes("linalg_lu(Tensor A, *, bool pivot=True, Tensor[]? out=None)")
def linalg_lu(A, *, pivot=True, out=None):
    """A permutation P, a unit lower triangular L and an upper triangular U with A = P L U, for matrices (*, m, n).

    >>> P, L, U = flambeau.linalg.lu(flambeau.tensor([[0.0, 2.0], [4.0, 1.0]]))
    >>> U
    tensor([[4., 1.],
            [0., 2.]])
    """
    check_matrix(A, "linalg.lu")
    LU, pivots, _ = _lu_factor_ex(A, pivot=pivot)
    L, U = _split_lu(LU)
    P = _permutation_matrix(pivots, A.size(-2), A.dtype)
    return flambeau.return_types.linalg_lu(deliver_all((P, L, U), out, "linalg.lu"))


@composite
@takes(
    "lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True, *, "
    "Tensor[]? out=None)",
)
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True, *, out=None):
    """P, L and U from a compact factorization; what is not unpacked is an empty tensor.

    >>> P, L, U = flambeau.lu_unpack(*flambeau.linalg.lu_factor(flambeau.tensor([[2.0]])))
    >>> U
    tensor([[2.]])
    """
    if unpack_pivots and LU_pivots.dtype != flambeau.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype. "
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    P = L = U = LU_data.new_empty((0,))
    if unpack_data:
        L, U = _split_lu(LU_data)
    if unpack_pivots:
        m = LU_data.size(-2)
        if LU_pivots.numel() and not LU_pivots.is_meta and any_true((LU_pivots < 1) | (LU_pivots > m)):
            raise RuntimeError(f"torch.lu_unpack: pivots must lie between 1 and the number of rows, {m}")
        P = _permutation_matrix(LU_pivots, m, LU_data.dtype)
    return flambeau.return_types.lu_unpack(deliver_all((P, L, U), out, "lu_unpack"))


@composite(method=True)
def lu(A, pivot=True, get_infos=False, out=None):
    """The compact LU factorization and its pivots; with `get_infos` also the place of the first zero on U's diagonal.

    >>> flambeau.lu(flambeau.tensor([[2.0]]))[0]
    tensor([[2.]])
    """
    LU, pivots, info = _lu_factor_ex(A, pivot=pivot)
    results = (LU, pivots, info) if get_infos else (LU, pivots)
    return deliver_all(results, out, "lu")


# ---- LDL ----------------------------------------------------------------------------------------------------

_ldl_factor_ex = op(
    "linalg_ldl_factor_ex(Tensor input, *, bool hermitian=False, bool check_errors=False, Tensor[]? out=None)"
    " -> (Tensor LD, Tensor pivots, Tensor info)",
    """The compact LDL factorization of symmetric matrices (Hermitian ones with `hermitian`).

    >>> flambeau.linalg.ldl_factor_ex(flambeau.eye(2)).pivots
    tensor([1, 2], dtype=torch.int32)
    """,
    why_not="not differentiable",
    **FACTOR,
)


def _zero_block(place):
    return f"D[{place},{place}] is zero: a solution with this factorization would divide by it."


@takes(
    "linalg_ldl_factor_ex(Tensor input, *, bool hermitian=False, bool check_errors=False, "
    "Tensor[]? out=None)",
)
def linalg_ldl_factor_ex(A, *, hermitian=False, check_errors=False, out=None):
    """The factorization of `linalg.ldl_factor`, and per matrix the first zero block of D (0: none).

    >>> flambeau.linalg.ldl_factor_ex(flambeau.eye(2)).info
    tensor(0, dtype=torch.int32)
    """
    result = _ldl_factor_ex(A, hermitian=hermitian, out=out)
    if check_errors:
        check_info(result.info, "torch.linalg.ldl_factor_ex", _zero_block, RuntimeError)
    return result


@takes("linalg_ldl_factor(Tensor input, *, bool hermitian=False, Tensor[]? out=None)")
def linalg_ldl_factor(A, *, hermitian=False, out=None):
    """A = L D L^T (L D L^H with `hermitian`) in compact form, for `linalg.ldl_solve`; by Bunch and Kaufman's pivoting.

    >>> flambeau.linalg.ldl_factor(flambeau.eye(2)).LD
    tensor([[1., 0.],
            [0., 1.]])
    """
    LD, pivots, info = _ldl_factor_ex(A, hermitian=hermitian)
    check_info(info, "torch.linalg.ldl_factor", _zero_block, RuntimeError)
    return flambeau.return_types.linalg_ldl_factor(deliver_all((LD, pivots), out, "linalg.ldl_factor"))


# ---- QR -----------------------------------------------------------------------------------------------------


def _qr_vjp(grads, Q, R, mode, needs):
    grad_Q, grad_R = grads
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
            "linalg.qr(A, mode='reduced') if you are going to require gradients"
        )
    m, n, k = Q.size(-2), R.size(-1), min(Q.size(-2), R.size(-1))
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    grad_Q = flambeau.zeros_like(Q) if grad_Q is None else grad_Q
    grad_R = flambeau.zeros_like(R) if grad_R is None else grad_R
    if n > k:
        # Columns beyond the square part are Q times their part of R.
        right = Q @ grad_R[..., :, k:]
        # In exact arithmetic A's right part is Q R's: its product with the gradient reaches Q.
        grad_Q = grad_Q + Q @ R[..., :, k:] @ _h(grad_R[..., :, k:])
    grad_R, R1 = grad_R[..., :, :k], R[..., :, :k]
    inner = (grad_R @ _h(R1) - _h(Q) @ grad_Q).triu()
    diagonal = inner.diagonal(0, -2, -1)
    inner = inner + _h(inner) - flambeau.diag_embed(_real_like(diagonal))
    result = triangular(_h(R1), grad_Q + Q @ inner, upper=False, left=False)
    return flambeau.cat([result, right], -1) if n > k else result


def _real_like(t):
    """The real part, in the dtype of `t`."""
    return t.real.to(t.dtype) if t.is_complex() else t


op(
    "linalg_qr(Tensor A, str mode='reduced', *, Tensor[]? out=None) -> (Tensor Q, Tensor R)",
    """Q with orthonormal columns and an upper triangular R with A = Q R, by Householder reflections.

    A: (*, m, n). mode: "reduced" (Q has min(m, n) columns), "complete" (Q is square) or "r" (Q is left empty). The
    diagonal of R may be negative.

    >>> Q, R = flambeau.linalg.qr(flambeau.tensor([[3.0], [4.0]]))
    >>> R
    tensor([[-5.]])
    """,
    vjp={"A": _qr_vjp},
    **FACTOR,
)


@composite(method=True)
@takes("qr(Tensor input, bool some=True, *, Tensor[]? out=None)")
@in_autocast("float32")
def qr(input, some=True, *, out=None):
    """`linalg.qr` under its older name: `some` stands for the mode "reduced", its absence for "complete".

    >>> flambeau.qr(flambeau.tensor([[3.0], [4.0]])).R
    tensor([[-5.]])
    """
    from .registry import records

    found = records["linalg_qr"].op(input, "reduced" if some else "complete")
    return flambeau.return_types.qr(deliver_all(tuple(found), out, "qr"))


op(
    "geqrf(Tensor input, *, Tensor[]? out=None) -> (Tensor a, Tensor tau)",
    """The QR decomposition as LAPACK keeps it: R, below its diagonal the Householder vectors, and their factors `tau`.

    >>> flambeau.geqrf(flambeau.tensor([[3.0], [4.0]])).a
    tensor([[-5.0000],
            [ 0.5000]])
    """,
    why_not="not written",
)
_householder_product = op(
    "_linalg_householder_product(Tensor input, Tensor tau) -> Tensor",
    """The first columns of the product of Householder matrices.""",
    why_not="not written",
    **FACTOR,
)


def _reflections(input, tau):
    """Vectors v, one after the other, and factors t of the matrices I - t v v^H."""
    m = input.size(-2)
    for i in range(tau.size(-1)):
        unit = flambeau.zeros(m, dtype=input.dtype)
        unit[i] = 1
        below = (flambeau.arange(m) > i).to(input.dtype)
        yield (input[..., :, i] * below + unit).unsqueeze(-1), tau[..., i, None, None]


def _apply_reflections(factors, c, adjoint):
    c = c.view_as(c)  # without reflections, too, the result is a tensor of its own
    for v, t in factors:
        c = c - (t.conj() if adjoint else t) * (v @ (_h(v) @ c))
    return c


@composite(public=False)
@takes("linalg_householder_product(Tensor input, Tensor tau, *, Tensor? out=None)")
@in_autocast("float32")
def linalg_householder_product(input, tau, *, out=None):
    """The first n columns of H_1 H_2 ... H_k with H_i = I - tau_i v_i v_i^H; input: (*, m, n) with m >= n, tau: (*, k).

    The vector v_i is column i of `input` below the diagonal, with a one on it: the form that `geqrf` gives.

    >>> flambeau.linalg.householder_product(*flambeau.geqrf(flambeau.tensor([[3.0], [4.0]])))
    tensor([[-0.6000],
            [-0.8000]])
    """
    if wants_grad(input, tau):
        _householder_product(input.detach(), tau.detach())  # its checks
        columns = flambeau.eye(*input.shape[-2:], dtype=input.dtype).expand(input.shape)
        if tau.numel() == 0:  # depends on neither, and its gradients are zeros
            result = (
                flambeau.where(flambeau.zeros_like(input, dtype=flambeau.bool), input, columns) + tau.sum()
            )
        else:
            result = _apply_reflections(reversed(list(_reflections(input, tau))), columns, False)
    else:
        result = _householder_product(input, tau)
    return deliver(result, out, "linalg.householder_product", same_dtype=True)


@composite(method=True)
@takes("orgqr(Tensor input, Tensor input2, *, Tensor? out=None)")
@in_autocast("float32")
def orgqr(input, tau, *, out=None):
    """`linalg.householder_product` under LAPACK's name.

    >>> flambeau.orgqr(*flambeau.geqrf(flambeau.tensor([[3.0], [4.0]])))
    tensor([[-0.6000],
            [-0.8000]])
    """
    return linalg_householder_product(input, tau, out=out)


_ormqr = op(
    "_ormqr(Tensor input, Tensor tau, Tensor other, bool left=True, bool transpose=False) -> Tensor",
    """Product with the square Q of a QR decomposition in the form of `geqrf`.""",
    why_not="not written",
    **FACTOR,
)


@composite(method=True)
@takes(
    "ormqr(Tensor input, Tensor input2, Tensor input3, bool left=True, bool transpose=False, *, "
    "Tensor? out=None)",
)
@in_autocast("float32")
def ormqr(input, tau, other, left=True, transpose=False, *, out=None):
    """Q @ other, or other @ Q without `left`, where Q is the square matrix that `geqrf` left as reflections.

    transpose: multiply with Q^H instead.

    >>> flambeau.ormqr(*flambeau.geqrf(flambeau.tensor([[3.0], [4.0]])), flambeau.tensor([[-5.0], [0.0]]))
    tensor([[3.],
            [4.]])
    """
    for argument, t in (("input", input), ("other", other)):
        if t.dim() < 2:
            raise RuntimeError(
                f"torch.ormqr: {argument} must have at least 2 dimensions, got shape {list(t.shape)}"
            )
    dim = -2 if left else -1
    k = tau.size(-1) if tau.dim() else 0
    if other.size(dim) < k:
        raise RuntimeError(
            f"torch.ormqr: other.shape[{dim}] must be greater than or equal to tau.shape[-1], got {other.size(dim)} and {k}"
        )
    if other.size(dim) != input.size(-2):
        raise RuntimeError(
            f"torch.ormqr: other.shape[{dim}] must be equal to input.shape[-2], got {other.size(dim)} and {input.size(-2)}"
        )
    if k != min(other.size(dim), input.size(-1)):
        raise RuntimeError(
            f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{dim}], input.shape[-1]), got {k}, "
            f"{other.size(dim)} and {input.size(-1)}"
        )
    if wants_grad(input, tau, other):
        _ormqr(input.detach(), tau.detach(), other.detach(), left, transpose)  # its checks
        factors = list(_reflections(input, tau))
        if left:
            result = _apply_reflections(factors if transpose else reversed(factors), other, transpose)
        else:  # C Q = (Q^H C^H)^H
            result = _h(
                _apply_reflections(reversed(factors) if transpose else factors, _h(other), not transpose)
            )
    else:
        result = _ormqr(input, tau, other, left, transpose)
    return deliver(result, out, "ormqr", same_dtype=True)


# ---- triangular systems -------------------------------------------------------------------------------------


def _triangular_vjp(grad, A, result, upper, left, unitriangular, needs):
    grad_B = triangular(_h(A), grad, upper=not upper, left=left, unitriangular=unitriangular)
    grad_A = None
    if needs[0]:
        grad_A = -(grad_B @ _h(result) if left else _h(result) @ grad_B)
        offset = int(unitriangular)
        grad_A = grad_A.triu(offset) if upper else grad_A.tril(-offset)
    return grad_A, grad_B


_solve_triangular = op(
    "_linalg_solve_triangular(Tensor A, Tensor B, bool upper, bool left=True, bool unitriangular=False) -> Tensor",
    """Solution of A X = B, or of X A = B, for triangular A with the batch dimensions of B.""",
    vjp={"A, B": _triangular_vjp},
    **FACTOR,
)


def triangular(A, B, *, upper, left=True, unitriangular=False):
    """`linalg.solve_triangular` for operands of equal batch dimensions."""
    return _solve_triangular(A, B, upper, left, unitriangular)
