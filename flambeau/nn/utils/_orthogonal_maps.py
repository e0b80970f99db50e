"""Maps onto orthogonal matrices, built of matrix products so that they batch and differentiate.

Triangular and skew-plus-identity matrices are inverted by halves: every leading block of such a matrix is invertible, and
so is its Schur complement, so no pivots are needed and a recursion of products does it.
"""

import math

import flambeau

_TERMS = 18  # of exp's series: below half a unit of double precision for norms up to one half
_BASE = 1


def inverse_by_blocks(m):
    """The inverse of (..., n, n) matrices whose leading blocks are invertible and well conditioned."""
    n = m.size(-1)
    if n <= _BASE:
        return m.reciprocal()
    half = n // 2
    a, b = m[..., :half, :half], m[..., :half, half:]
    c, d = m[..., half:, :half], m[..., half:, half:]
    a = inverse_by_blocks(a)
    ab, ca = a @ b, c @ a
    s = inverse_by_blocks(d - c @ ab)
    abs_ = ab @ s
    top = flambeau.cat([a + abs_ @ ca, -abs_], -1)
    return flambeau.cat([top, flambeau.cat([-(s @ ca), s], -1)], -2)


def matrix_exp(a):
    """The exponential of (..., n, n) matrices: the series for the matrix halved often enough, squared as often."""
    norm = a.detach().abs().sum(-1).amax().item() if a.numel() else 0.0
    halvings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 and math.isfinite(norm) else 0
    a = a / 2**halvings
    identity = flambeau.eye(a.size(-1), dtype=a.dtype, device=a.device)
    result = identity + a / _TERMS
    for k in range(_TERMS - 1, 0, -1):  # Horner
        result = identity + a @ result / k
    for _ in range(halvings):
        result = result @ result
    return result


def cayley(a):
    """``(I - A/2)^-1 (I + A/2)`` for skew-symmetric (skew-Hermitian) `a`: orthogonal (unitary)."""
    identity = flambeau.eye(a.size(-1), dtype=a.dtype, device=a.device)
    return inverse_by_blocks(identity - a / 2) @ (identity + a / 2)


def householder_product(v, tau):
    """The first k columns of ``H_1 H_2 ... H_k`` with ``H_i = I - tau_i v_i v_i^H``.

    v: (..., n, k) with the vectors as columns, ones and zeros above included. tau: (..., k), none zero.
    The product is ``I - V T V^H`` with T upper triangular and ``T^-1 = diag(1 / tau) + strictly upper part of V^H V``
    (Puglisi, 1992).
    """
    n, k = v.shape[-2:]
    inverse = flambeau.triu(v.mH @ v, 1) + flambeau.diag_embed(tau.reciprocal().to(v.dtype))
    identity = flambeau.eye(n, k, dtype=v.dtype, device=v.device)
    return identity - v @ (inverse_by_blocks(inverse) @ v[..., :k, :].mH)


def reflectors(q):
    """The Householder vectors of (..., n, k) matrices with orthonormal columns, below the diagonal; on it, the signs.

    ``householder_product`` of the vectors, with its columns times the signs, is `q` again.
    """
    q = q.clone()
    k = q.size(-1)
    packed = flambeau.zeros_like(q)
    for i in range(k):
        column = q[..., i:, i]  # (..., n - i)
        first = column[..., :1]
        norm = flambeau.linalg.vector_norm(column, dim=-1, keepdim=True)
        sign = flambeau.where(first >= 0, 1.0, -1.0).to(q.dtype)
        v = column / (first + sign * norm)
        v[..., 0] = 1
        tail = (v[..., 1:] * v[..., 1:]).sum(-1, keepdim=True)
        # The last vector of a square matrix has no tail: it reflects nothing unless it is counted as a reflection.
        tau = 2 / (1 + tail)
        rest = q[..., i:, i:]
        q[..., i:, i:] = rest - (tau * v).unsqueeze(-1) * (v.unsqueeze(-2) @ rest)
        packed[..., i + 1 :, i] = v[..., 1:]
        packed[..., i, i] = flambeau.where(q[..., i, i] >= 0, 1.0, -1.0).to(q.dtype)
    return packed


def orthonormal_columns(a):
    """The Q of ``a = Q R`` whose R has a positive diagonal."""
    q, r = flambeau.linalg.qr(a)
    return q * flambeau.sgn(r.diagonal(dim1=-2, dim2=-1)).unsqueeze(-2)


def has_orthonormal_columns(q):
    """Whether ``q^H q`` is the identity, up to rounding."""
    n, k = q.shape[-2:]
    # A product of n rounded terms is off by about this much; the factor leaves room.
    eps = 10.0 * n * flambeau.finfo(q.dtype).eps
    identity = flambeau.eye(k, dtype=q.dtype, device=q.device)
    return bool(flambeau.allclose(q.mH @ q, identity, atol=eps))
