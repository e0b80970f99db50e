"""Operators of linear algebra whose derivatives are not those of the steps they are computed in."""

import flambeau

from ..autograd.function import Function
from .factorizations import NOT_FINITE, _lu_factor_ex, check_info
from .linalg import _h
from .solvers import _definite_solve, _solve
from .spectral import _eigh_of, _lstsq, _svd_of, linalg_pinv
from .truth import all_true


def _diagonal_and_sign(A):
    """U's diagonal and the sign of the permutation."""
    LU, pivots, _ = _lu_factor_ex(A)
    swaps = (pivots != flambeau.arange(1, A.size(-1) + 1, dtype=flambeau.int32)).sum(-1)
    return LU.diagonal(0, -2, -1), (1 - 2 * (swaps % 2)).to(A.dtype)


class LinalgDet(Function):
    """The determinant. Its gradient is det(A) A^-H, for singular matrices the cofactors, from singular values."""

    @staticmethod
    def forward(ctx, A):
        diagonal, sign = _diagonal_and_sign(A)
        result = diagonal.prod(-1) * sign
        ctx.save_for_backward(A, result)
        return result

    @staticmethod
    def backward(ctx, grad):
        A, det = ctx.saved_tensors
        weight = (grad * det.conj())[..., None, None]
        if all_true(det != 0):
            eye = flambeau.eye(A.size(-1), dtype=A.dtype).expand(A.shape)
            return _solve(_h(A), weight * eye)[0]
        U, S, Vh = flambeau.linalg.svd(A)
        phase = flambeau.linalg.det(U.detach()) * flambeau.linalg.det(Vh.detach())
        n = A.size(-1)
        others = (
            S.unsqueeze(-2).expand(*S.shape, n).masked_fill(flambeau.eye(n, dtype=flambeau.bool), 1).prod(-1)
        )
        return (grad * phase.conj())[..., None, None] * (U * others.unsqueeze(-2)) @ Vh


class LinalgSlogdet(Function):
    """Sign and logarithm of the determinant."""

    @staticmethod
    def forward(ctx, A):
        diagonal, parity = _diagonal_and_sign(A)
        sign = flambeau.sgn(diagonal).prod(-1) * parity
        logarithm = diagonal.abs().log().sum(-1)
        ctx.save_for_backward(A, sign)
        ctx.set_materialize_grads(False)
        return sign, logarithm

    @staticmethod
    def backward(ctx, grad_sign, grad_logarithm):
        A, sign = ctx.saved_tensors
        if grad_logarithm is None and (grad_sign is None or not A.is_complex()):
            return None  # the sign of a real determinant is constant
        weight = flambeau.zeros_like(sign) if grad_logarithm is None else grad_logarithm.to(A.dtype)
        if A.is_complex() and grad_sign is not None:
            weight = weight - 1j * (grad_sign.conj() * sign).imag
        eye = flambeau.eye(A.size(-1), dtype=A.dtype).expand(A.shape)
        return _solve(_h(A), weight[..., None, None] * eye)[0]


class CholeskySolve(Function):
    """A^-1 B for A = L L^H; the gradient is that of the whole product, both triangles of L counted."""

    @staticmethod
    def forward(ctx, B, L, upper):
        ctx.upper = upper
        X = _definite_solve(B, L, upper)
        ctx.save_for_backward(L, X)
        return X

    @staticmethod
    def backward(ctx, grad):
        L, X = ctx.saved_tensors
        grad_B = CholeskySolve.apply(grad, L, ctx.upper)
        grad_A = -(grad_B @ _h(X))
        grad_A = grad_A + _h(grad_A)
        return grad_B, L @ grad_A if ctx.upper else grad_A @ L, None


def _pinv_gradient(grad, P, A):
    """The gradient of A's pseudo-inverse P (Golub and Pereyra, theorem 4.3)."""
    adjoint = _h(grad)
    across = _h(P) @ grad @ _h(P)
    left = adjoint @ P @ _h(P)
    right = _h(P) @ P @ adjoint
    return left - A @ (P @ left) + right - (right @ P) @ A - across


class LinalgPinv(Function):
    @staticmethod
    def forward(ctx, A, cutoff, hermitian):
        if hermitian:
            values, U = _eigh_of(A, "L", True)
            V, sizes = U, values.abs()
        else:
            U, values, Vh = _svd_of(A, False, True)
            V, sizes = _h(Vh), values
        kept = sizes > cutoff(sizes)
        inverse = flambeau.where(kept, 1 / flambeau.where(kept, values, 1), 0).to(A.dtype)
        P = (V * inverse.unsqueeze(-2)) @ _h(U)
        ctx.save_for_backward(A, P)
        return P

    @staticmethod
    def backward(ctx, grad):
        A, P = ctx.saved_tensors
        return _pinv_gradient(grad, P, A), None, None


class LinalgLstsq(Function):
    @staticmethod
    def forward(ctx, A, B, rcond, driver):
        m, n = A.shape[-2:]
        found, rank, values, info = _lstsq(A, B, rcond, driver)
        check_info(
            info,
            "torch.linalg.lstsq",
            lambda code: (
                "input and other should not contain infs or NaNs."
                if code == NOT_FINITE
                else "The least squares solution could not be computed because the input matrix does not have full rank "
                f"(error code: {code})."
            ),
        )
        solution = found[..., :n, :]
        residuals = A.abs().new_empty((0,))
        if m > n and driver != "gelsy" and (driver == "gels" or all_true(rank == n)):
            residuals = (found[..., n:, :].abs() ** 2).sum(-2)
        if driver == "gels":
            rank = flambeau.empty(0, dtype=flambeau.int64)
        if driver in ("gels", "gelsy"):
            values = values.new_empty((0,))
        ctx.save_for_backward(A, B)
        ctx.mark_non_differentiable(rank, values)
        return solution, residuals, rank, values

    @staticmethod
    def backward(ctx, grad, grad_residuals, _rank, _values):
        saved = ctx.saved_tensors
        dtype = saved[0].dtype
        # Squares of the condition number enter: single precision would not do.
        wide = flambeau.complex128 if dtype.is_complex else flambeau.float64
        A, B, grad = (t.to(wide) for t in (*saved, grad))
        P = linalg_pinv(A, rtol=flambeau.finfo(dtype).eps * max(A.shape[-2:]))
        grad_B = _h(P) @ grad
        grad_A = _pinv_gradient(grad @ _h(B), P, A)
        if grad_residuals.numel():
            solution = P @ B
            difference = 2 * (A @ solution - B) * grad_residuals.to(A.dtype).unsqueeze(-2)
            grad_A, grad_B = grad_A + difference @ _h(solution), grad_B - difference
        return grad_A.to(dtype), grad_B.to(dtype), None, None
