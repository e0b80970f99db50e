"""Rules of products of matrices and of linear algebra, which have batches of their own in front."""

import flambeau

from .. import _C
from .batching import Tensor, batched_front, front, rank, register_rule, rule

_call = _C._call


@rule("mm bmm mv dot vdot matmul")
def products(op, values, dims, size):
    """All are matmul, with the examples as one more batch dimension."""
    a, b = values[0], values[1]
    da, db = dims[0], dims[1]
    na, nb = rank(a, da), rank(b, db)
    _check_ranks(op.__name__, na, nb)
    if op.__name__ == "vdot" and a.dtype.is_complex:
        a = a.conj()
    return _matmul(a, da, na, b, db, nb), 0


_RANKS = {"mm": (2, 2), "bmm": (3, 3), "mv": (2, 1), "dot": (1, 1), "vdot": (1, 1)}


def _check_ranks(name, na, nb):
    wanted = _RANKS.get(name)
    if wanted and wanted != (na, nb):
        raise RuntimeError(
            f"{name}(): expected tensors with {wanted[0]} and {wanted[1]} dimensions, got {na} and {nb} dimensions"
        )


def _matmul(a, da, na, b, db, nb):
    """matmul of one example each; the examples come first in the result."""
    if na == 0 or nb == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {na}D and {nb}D")
    if da is not None:
        a = front(a, da)
    if db is not None:
        b = front(b, db)
    if db is None and nb <= 2:
        # Rows of all examples are rows of one matrix.
        return a @ b if na > 1 or nb == 1 else (a @ b)
    if da is None and na == 1:
        return (b @ a) if nb == 1 else (a.reshape(1, -1) @ b).squeeze(-2)
    if da is None and na == 2 and nb == 1:
        return b @ a.mT
    # Vectors become matrices, then batch dimensions are aligned.
    if na == 1:
        a = a.unsqueeze(-2)
    if nb == 1:
        b = b.unsqueeze(-1)
    la, lb = a.ndim - (da is not None), b.ndim - (db is not None)
    n = max(la, lb)
    if da is not None and la < n:
        a = a.reshape(a.shape[0], *(1,) * (n - la), *a.shape[1:])
    if db is not None and lb < n:
        b = b.reshape(b.shape[0], *(1,) * (n - lb), *b.shape[1:])
    out = a @ b
    if nb == 1:
        out = out.squeeze(-1)
    if na == 1:
        out = out.squeeze(-1 if nb == 1 else -2)
    return out


@rule("linear")
def linear(op, values, dims, size):
    """Where only the input differs between examples, its batch is larger; else products of matrices."""
    x, weight, bias = values[:3]
    dx, dw, db = dims[:3]
    if dw is None and db is None:
        return _call(op, (front(x, dx), weight, bias, *values[3:])), 0
    nx = rank(x, dx)
    if dw is None:
        out = flambeau.nn.functional.linear(front(x, dx) if dx is not None else x, weight)
        lead = nx - 1
        if dx is None:
            out = out.unsqueeze(0)
    else:
        w = front(weight, dw)
        if w.ndim == 2:
            # A weight of one row.
            w = w.unsqueeze(1)
            out = _matmul(x, dx, nx, w.mT, 0, 2).squeeze(-1)
        else:
            out = _matmul(x, dx, nx, w.mT, 0, 2)
        lead = nx - 1
    if bias is None:
        return out, 0
    if db is not None:
        bias = front(bias, db)
        bias = bias.reshape(size, *(1,) * lead, *bias.shape[1:])
    return out + bias, 0


@rule("addmm addmv baddbmm addbmm")
def add_product(op, values, dims, size):
    """beta * input + alpha * product."""
    base, a, b, beta, alpha = values[:5]
    na, nb = rank(a, dims[1]), rank(b, dims[2])
    if dims[1] is None and dims[2] is None:
        product = _call(op, (_zero_like_product(op, base, a, b), a, b, 0, alpha, *values[5:])).unsqueeze(0)
    else:
        product = _matmul(a, dims[1], na, b, dims[2], nb)
        if op.__name__ == "addbmm":
            product = product.sum(1)
        if alpha != 1:
            product = product * alpha
    if beta == 0:
        return product.expand(size, *product.shape[1:]), 0
    if dims[0] is not None:
        base = front(base, dims[0])
        missing = product.ndim - base.ndim
        base = base.reshape(base.shape[0], *(1,) * missing, *base.shape[1:])
    scaled = base if beta == 1 else base * beta
    return product + scaled, 0


def _zero_like_product(op, base, a, b):
    return flambeau.zeros((), dtype=a.dtype, device=a.device)


# ---- decompositions: they take batches in front --------------------------------------------------------------------


def stacked(*positions):
    """The rule of an operator that takes batches of matrices in these parameters."""

    def run(op, values, dims, size):
        out = list(values)
        ranks = [rank(values[i], dims[i]) for i in positions if isinstance(values[i], Tensor)]
        n = max(ranks)
        for i in positions:
            if isinstance(values[i], Tensor):
                value = batched_front(values[i], dims[i], size)
                missing = n + 1 - value.ndim
                if missing > 0 and len(positions) > 1:
                    value = value.reshape(size, *(1,) * missing, *value.shape[1:])
                out[i] = value
        return _call(op, tuple(out)), 0

    return run


for _name in (
    "linalg_cholesky_ex linalg_lu_factor_ex linalg_ldl_factor_ex linalg_qr geqrf _linalg_eigh _linalg_eig _linalg_svd"
).split():
    register_rule(_name, stacked(0))
register_rule("_linalg_solve_triangular", stacked(0, 1))
register_rule("_linalg_solve", stacked(0, 1))
register_rule("_cdist", stacked(0, 1))


@rule("_linalg_lu_solve _linalg_ldl_solve _linalg_householder_product _ormqr")
def parts_of_decompositions(op, values, dims, size):
    """Several tensors that all have the same batches in front."""
    out = list(values)
    for i, value in enumerate(values):
        if isinstance(value, Tensor):
            out[i] = batched_front(value, dims[i], size)
    return _call(op, tuple(out)), 0
