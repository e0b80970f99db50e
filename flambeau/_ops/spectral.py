"""Eigenvalues and singular values, and what rests on them: pseudo-inverse, rank, condition, least squares, norms.

Formulas of the derivatives: Giles, An extended collection of matrix derivative results (2008); Wan and Zhang, Automatic
differentiation for complex valued SVD (2019); Golub and Pereyra, The differentiation of pseudo-inverses (1973).
"""

import math

import flambeau

from .casts import in_autocast
from .factorizations import (
    FACTOR,
    NOT_FINITE,
    check_info,
    check_matrix,
    check_square,
    functions,
    wants_grad,
)
from .linalg import _h
from .outputs import deliver, deliver_all
from .registry import composite, op, takes
from .solvers import _is_vector, _solve
from .truth import any_true


def _diag(values, like):
    return flambeau.diag_embed(values.to(like.dtype))


def _gaps(values):
    """values[j] - values[i] at (i, j), with ones on the diagonal."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    return gaps + flambeau.eye(values.size(-1), dtype=gaps.dtype)


def _without_diagonal(t):
    return t.masked_fill(flambeau.eye(t.size(-1), dtype=flambeau.bool), 0)


def _check_phase(imaginary, size, what):
    """Raises when a loss depends on the phases of complex vectors, which nothing determines."""
    if not flambeau.allclose(
        imaginary, flambeau.zeros_like(imaginary), atol=1e-2 * max(1.0, float(size)), rtol=1e-2
    ):
        raise RuntimeError(
            f"{what}: The eigenvectors in the complex case are specified up to multiplication by e^{{i phi}}. "
            "The specified loss function depends on this quantity, so it is ill-defined."
        )


# ---- symmetric and Hermitian --------------------------------------------------------------------------------


def _eigh_vjp(grads, eigenvalues, eigenvectors, vectors):
    grad_values, grad_vectors, _ = grads
    if not vectors:
        raise RuntimeError(
            "linalg.eigvalsh: the eigenvectors, on which the gradient rests, were not computed"
        )
    V = eigenvectors
    if grad_vectors is None:
        return (V * grad_values.to(V.dtype).unsqueeze(-2)) @ _h(V)
    inner = _h(V) @ grad_vectors
    if V.is_complex():
        _check_phase(
            inner.diagonal(0, -2, -1).imag, inner.abs().max() if inner.numel() else 0, "linalg_eigh_backward"
        )
    # Orthonormal vectors move along skew-Hermitian directions only.
    inner = _without_diagonal(0.5 * (inner - _h(inner)) / _gaps(eigenvalues))
    if grad_values is not None:
        inner = inner + _diag(grad_values, inner)
    return V @ inner @ _h(V)


def _eigh_jvp(primals, tangents, results):
    values, V, _ = results
    inner = _h(V) @ tangents[0] @ V
    return inner.diagonal(0, -2, -1).real, V @ _without_diagonal(inner / _gaps(values)), None


_eigh = op(
    "_linalg_eigh(Tensor A, str UPLO='L', bool vectors=True)"
    " -> (Tensor eigenvalues, Tensor eigenvectors, Tensor info)",
    """Eigenvalues and eigenvectors of Hermitian matrices.""",
    vjp={"A": _eigh_vjp},
    jvp=_eigh_jvp,
    **FACTOR,
)


def _eigh_of(A, UPLO, vectors):
    check_square(A, "linalg.eigh")
    if not isinstance(UPLO, str) or UPLO not in ("L", "U", "l", "u"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    failed = (
        "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
        "eigenvalues"
    )
    values, found, info = _eigh(A, UPLO, vectors)
    check_info(
        info,
        "linalg.eigh",
        lambda code: (
            f"{failed} ({'it contains infinities or NaN' if code == NOT_FINITE else f'error code: {code}'})."
        ),
    )
    return values, found


@takes("linalg_eigh(Tensor input, str UPLO='L', *, Tensor[]? out=None)")
@in_autocast("float32")
def linalg_eigh(A, UPLO="L", *, out=None):
    """Eigenvalues (real, ascending) and orthonormal eigenvectors (columns) of symmetric or Hermitian matrices (*, n, n).

    UPLO: which triangle of A is read, "L" or "U". Signs (phases) of the eigenvectors are arbitrary.

    >>> flambeau.linalg.eigh(flambeau.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    return flambeau.return_types.linalg_eigh(deliver_all(_eigh_of(A, UPLO, True), out, "linalg.eigh"))


@takes("linalg_eigvalsh(Tensor input, str UPLO='L', *, Tensor? out=None)")
@in_autocast("float32")
def linalg_eigvalsh(A, UPLO="L", *, out=None):
    """The eigenvalues (real, ascending) of symmetric or Hermitian matrices (*, n, n).

    >>> flambeau.linalg.eigvalsh(flambeau.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    values, _ = _eigh_of(A, UPLO, wants_grad(A))
    return deliver(values, out, "linalg.eigvalsh")


# ---- general square matrices --------------------------------------------------------------------------------


def _eig_vjp(grads, A, eigenvalues, eigenvectors, vectors):
    grad_values, grad_vectors, _ = grads
    V = eigenvectors
    if grad_vectors is None:
        inner = _diag(grad_values, V) @ _h(V)
    else:
        inner = _h(V) @ grad_vectors
        diagonal = inner.diagonal(0, -2, -1)
        _check_phase(diagonal.imag, inner.abs().max() if inner.numel() else 0, "linalg_eig_backward")
        inner = inner - (_h(V) @ V) * diagonal.real.to(V.dtype).unsqueeze(-2)
        inner = _without_diagonal(inner / _gaps(eigenvalues).conj())
        if grad_values is not None:
            inner = inner + _diag(grad_values, inner)
        inner = inner @ _h(V)
    result = _solve(_h(V), inner)[0]
    return result if A.is_complex() else result.real


def _eig_jvp(primals, tangents, results):
    values, V, _ = results
    inner = _solve(V, tangents[0].to(V.dtype) @ V)[0]
    moved = V @ _without_diagonal(inner / _gaps(values))
    # The vectors keep their length.
    longer = (V.conj() * moved).sum(-2, keepdim=True).real
    return inner.diagonal(0, -2, -1), moved - V * longer, None


_eig = op(
    "_linalg_eig(Tensor A, bool vectors=True) -> (Tensor eigenvalues, Tensor eigenvectors, Tensor info)",
    """Eigenvalues and right eigenvectors of square matrices.""",
    vjp={"A": _eig_vjp},
    jvp=_eig_jvp,
    **FACTOR,
)


def _eig_of(A, vectors):
    check_square(A, "linalg.eig")
    values, found, info = _eig(A, vectors)
    if not info.is_meta and any_true(info == NOT_FINITE):
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    check_info(
        info,
        "linalg.eig",
        lambda code: (
            "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated "
            f"eigenvalues (error code: {code})."
        ),
    )
    return values, found


@takes("linalg_eig(Tensor input, *, Tensor[]? out=None)")
@in_autocast("float32")
def linalg_eig(A, *, out=None):
    """Eigenvalues and right eigenvectors (columns of norm 1) of square matrices (*, n, n); both complex, in no order.

    >>> flambeau.linalg.eig(flambeau.tensor([[0.0, 1.0], [0.0, 0.0]])).eigenvalues
    tensor([0.+0.j, 0.+0.j])
    """
    return flambeau.return_types.linalg_eig(deliver_all(_eig_of(A, True), out, "linalg.eig"))


@takes("linalg_eigvals(Tensor input, *, Tensor? out=None)")
@in_autocast("float32")
def linalg_eigvals(A, *, out=None):
    """The complex eigenvalues of square matrices (*, n, n), in no order.

    >>> flambeau.linalg.eigvals(flambeau.tensor([[3.0]]))
    tensor([3.+0.j])
    """
    values, _ = _eig_of(A, wants_grad(A))
    return deliver(values, out, "linalg.eigvals")


# ---- singular values ----------------------------------------------------------------------------------------


def _svd_vjp(grads, U, S, Vh, vectors):
    grad_U, grad_S, grad_Vh, _ = grads
    if not vectors:
        raise RuntimeError(
            "linalg.svdvals: the singular vectors, on which the gradient rests, were not computed"
        )
    m, n, k = U.size(-2), Vh.size(-1), S.size(-1)
    # Nothing determines the vectors of the null space: no gradient flows through them.
    U, Vh = U[..., :k], Vh[..., :k, :]
    grad_U = None if grad_U is None else grad_U[..., :k]
    grad_Vh = None if grad_Vh is None else grad_Vh[..., :k, :]
    if grad_U is None and grad_Vh is None:
        return (U * grad_S.to(U.dtype).unsqueeze(-2)) @ Vh
    inverse = 1 / S.to(U.dtype)
    squares = S * S
    gaps = _gaps(squares)
    inner = _diag(grad_S, U) if grad_S is not None else None

    def skew(t):
        return t - _h(t)

    def plus(total, term):
        return term if total is None else total + term

    phase = None
    if grad_U is not None:
        product = _h(U) @ grad_U
        phase = product
        inner = plus(inner, _without_diagonal(skew(product) / gaps) * S.to(U.dtype).unsqueeze(-2))
    if grad_Vh is not None:
        product = Vh @ _h(grad_Vh)
        phase = product if phase is None else phase + product
        inner = plus(inner, S.to(U.dtype).unsqueeze(-1) * _without_diagonal(skew(product) / gaps))
    if U.is_complex():
        _check_phase(
            phase.diagonal(0, -2, -1).imag, phase.abs().max() if phase.numel() else 0, "svd_backward"
        )
        if grad_U is not None:
            turned = (_h(U) @ grad_U).diagonal(0, -2, -1).imag
            inner = inner + flambeau.diag_embed(1j * turned * inverse)
    result = U @ inner @ Vh
    if grad_U is not None and m > k:
        rest = grad_U * inverse.unsqueeze(-2)
        result = result + (rest - U @ (_h(U) @ rest)) @ Vh
    if grad_Vh is not None and n > k:
        rest = inverse.unsqueeze(-1) * grad_Vh
        result = result + U @ (rest - (rest @ _h(Vh)) @ Vh)
    return result


def _svd_jvp(primals, tangents, results):
    """Vectors of the null space, which nothing determines, do not move."""
    whole_U, S, whole_Vh, _ = results
    m, n, k = whole_U.size(-2), whole_Vh.size(-1), S.size(-1)
    U, Vh = whole_U[..., :k], whole_Vh[..., :k, :]
    sizes, gaps = S.to(U.dtype), _gaps(S * S)
    moved = tangents[0]
    inner = _h(U) @ moved @ _h(Vh)
    right, left = inner * sizes.unsqueeze(-2), inner * sizes.unsqueeze(-1)
    turn_U = _without_diagonal((right + _h(right)) / gaps)
    turn_V = _without_diagonal((left + _h(left)) / gaps)
    if U.is_complex():  # the phases share what only their difference determines
        phase = flambeau.diag_embed(1j * inner.diagonal(0, -2, -1).imag / (2 * sizes))
        turn_U, turn_V = turn_U + phase, turn_V - phase
    dU, dVh = U @ turn_U, _h(turn_V) @ Vh
    if m > k:
        rest = (moved @ _h(Vh)) / sizes.unsqueeze(-2)
        dU = dU + rest - U @ (_h(U) @ rest)
    if n > k:
        rest = (_h(U) @ moved) / sizes.unsqueeze(-1)
        dVh = dVh + rest - (rest @ _h(Vh)) @ Vh
    if whole_U.size(-1) > k:
        dU = flambeau.nn.functional.pad(dU, (0, whole_U.size(-1) - k))
    if whole_Vh.size(-2) > k:
        dVh = flambeau.nn.functional.pad(dVh, (0, 0, 0, whole_Vh.size(-2) - k))
    return dU, inner.diagonal(0, -2, -1).real, dVh, None


_svd = op(
    "_linalg_svd(Tensor A, bool full_matrices=False, bool vectors=True)"
    " -> (Tensor U, Tensor S, Tensor Vh, Tensor info)",
    """Singular values and vectors.""",
    vjp={"A": _svd_vjp},
    jvp=_svd_jvp,
    **FACTOR,
)


def _svd_of(A, full_matrices, vectors, driver=None):
    check_matrix(A, "linalg.svd")
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )
    failed = "The algorithm failed to converge because the input matrix"
    U, S, Vh, info = _svd(A, full_matrices, vectors)
    check_info(
        info,
        "linalg.svd",
        lambda code: (
            f"{failed} contained non-finite values."
            if code == NOT_FINITE
            else f"{failed} is ill-conditioned or has too many repeated singular values (error code: {code})."
        ),
    )
    return U, S, Vh


@takes("linalg_svd(Tensor A, bool full_matrices=True, *, str? driver=None, Tensor[]? out=None)")
@in_autocast("float32")
def linalg_svd(A, full_matrices=True, *, driver=None, out=None):
    """U, S and Vh with A = U diag(S) Vh, for matrices (*, m, n): orthonormal columns and rows, and S descending.

    full_matrices: whether U and Vh are square; otherwise they have min(m, n) columns and rows, and gradients flow through
    them. driver: must be None on a CPU.

    >>> flambeau.linalg.svd(flambeau.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    results = _svd_of(A, full_matrices, True, driver)
    return flambeau.return_types.linalg_svd(deliver_all(results, out, "linalg.svd"))


@takes("linalg_svdvals(Tensor A, *, str? driver=None, Tensor? out=None)")
@in_autocast("float32")
def linalg_svdvals(A, *, driver=None, out=None):
    """The singular values of matrices (*, m, n), in descending order.

    >>> flambeau.linalg.svdvals(flambeau.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    _, S, _ = _svd_of(A, False, wants_grad(A), driver)
    return deliver(S, out, "linalg.svdvals")


@composite(method=True)
@takes("svd(Tensor input, bool some=True, bool compute_uv=True, *, Tensor[]? out=None)")
@in_autocast("float32")
def svd(input, some=True, compute_uv=True, *, out=None):
    """U, S and V with A = U diag(S) V^H: `linalg.svd` under its older name, which gives V and not V^H.

    some: whether U and V have only min(m, n) columns. Without `compute_uv` they are zeros.

    >>> flambeau.svd(flambeau.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    if input.dim() < 2:
        raise RuntimeError(
            f"linalg.svd: input should have at least 2 dimensions, but has {input.dim()} dimensions instead"
        )
    if compute_uv:
        U, S, Vh = _svd_of(input, not some, True)
        results = U, S, _h(Vh)
    else:
        S = linalg_svdvals(input)
        m, n = input.shape[-2:]
        batch = input.shape[:-2]
        results = input.new_zeros((*batch, m, m)), S, input.new_zeros((*batch, n, n))
    return flambeau.return_types.svd(deliver_all(results, out, "svd"))


def _basis(A, q, niter, M):
    """Orthonormal columns that nearly span A's range: subspace iteration on a random start.

    Halko, Martinsson and Tropp, Finding structure with randomness (2011), algorithm 4.4.
    """
    if M is not None:
        A = A - M
    X = A @ flambeau.randn(A.size(-1), q, dtype=A.dtype)
    Q = flambeau.linalg.qr(X).Q
    for _ in range(niter or 0):
        Q = flambeau.linalg.qr(_h(A) @ Q).Q
        Q = flambeau.linalg.qr(A @ Q).Q
    return A, Q


def svd_lowrank(A, q=6, niter=2, M=None):
    """The `q` largest singular values, approximately, and their vectors: U (*, m, q), S (*, q) and V (*, n, q).

    niter: subspace iterations. M: subtracted from A first.

    >>> flambeau.svd_lowrank(flambeau.ones(3, 3), 1)[1].round()
    tensor([3.])
    """
    q = 6 if q is None else q
    if A.size(-2) < A.size(-1):
        V, S, U = svd_lowrank(_h(A), q, niter, None if M is None else _h(M))
        return U, S, V
    A, Q = _basis(A, q, niter, M)
    U, S, Vh = linalg_svd(_h(Q) @ A, full_matrices=False)
    return Q @ U, S, _h(Vh)


def pca_lowrank(A, q=None, center=True, niter=2):
    """The `q` leading principal components, approximately, of rows of data (*, m, n), centred first: as `svd_lowrank`.

    >>> flambeau.pca_lowrank(flambeau.tensor([[1.0, 0.0], [-1.0, 0.0]]), 1)[1]
    tensor([1.4142])
    """
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not (q >= 0 and q <= min(m, n)):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if not niter >= 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if center:
        A = A - A.mean(-2, keepdim=True)
    return svd_lowrank(A, q, niter)


for _function in (svd_lowrank, pca_lowrank):
    composite(_function)

# ---- pseudo-inverse, rank, condition ------------------------------------------------------------------------


def _cutoff(A, atol, rtol):
    """From the largest value of a matrix, the size below which a value counts as zero."""
    shared = atol is not None and rtol is None
    atol = 0.0 if atol is None else atol
    if rtol is None:
        epsilon = flambeau.finfo(A.dtype).eps * max(A.shape[-2:])
        if not shared:
            rtol = epsilon
        elif isinstance(atol, flambeau.Tensor):
            rtol = flambeau.where(atol > 0, 0.0, epsilon)
        else:
            rtol = 0.0 if atol > 0 else epsilon

    def spread(t):
        return t.unsqueeze(-1) if isinstance(t, flambeau.Tensor) else t

    def cutoff(sizes):
        if sizes.size(-1) == 0:
            return sizes
        largest = sizes.amax(-1, True)
        relative, absolute = spread(rtol) * largest, spread(atol)
        if isinstance(absolute, flambeau.Tensor):
            return flambeau.maximum(absolute, relative)
        return relative.clamp_min(absolute)

    return cutoff


@takes(
    "linalg_pinv(Tensor input, Operand rcond, bool hermitian=False, *, Tensor? out=None)",
    "linalg_pinv(Tensor input, *, Operand? atol=None, Operand? rtol=None, bool hermitian=False, "
    "Tensor? out=None)",
)
def linalg_pinv(A, rcond=None, hermitian=False, *, atol=None, rtol=None, out=None):
    """The pseudo-inverses (*, n, m) of matrices (*, m, n): singular values up to max(atol, rtol * largest) count as zero.

    rtol: max(m, n) times the dtype's epsilon, or 0 where atol is positive. hermitian: A is, and eigenvalues are used.
    rcond: the older name of rtol.

    >>> flambeau.linalg.pinv(flambeau.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    check_square(A, "linalg.pinv") if hermitian else check_matrix(A, "linalg.pinv")
    if A.numel() == 0:
        result = A.mT.clone()
    else:
        result = functions().LinalgPinv.apply(A, _cutoff(A, atol, rcond if rtol is None else rtol), hermitian)
    return deliver(result, out, "linalg.pinv", same_dtype=True)


@composite(method=True)
@takes("pinverse(Tensor input, float rcond=1e-15)")
@in_autocast("float32")
def pinverse(input, rcond=1e-15):
    """The pseudo-inverse: `linalg.pinv` under its older name.

    >>> flambeau.pinverse(flambeau.tensor([[2.0]]))
    tensor([[0.5000]])
    """
    return linalg_pinv(input, rcond)


@takes(
    "linalg_matrix_rank(Tensor input, Operand? tol, bool hermitian=False, *, Tensor? out=None)",
    "linalg_matrix_rank(Tensor input, *, Operand? atol=None, Operand? rtol=None, "
    "bool hermitian=False, Tensor? out=None)",
)
@in_autocast("float32")
def linalg_matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None, out=None):
    """How many singular values exceed max(atol, rtol * largest); rtol as in `linalg.pinv`. tol: the older name of atol.

    >>> flambeau.linalg.matrix_rank(flambeau.ones(3, 3))
    tensor(1)
    """
    check_square(A, "linalg.matrix_rank") if hermitian else check_matrix(A, "linalg.matrix_rank")
    with flambeau.no_grad():
        if A.numel() == 0:
            result = flambeau.zeros(A.shape[:-2], dtype=flambeau.int64)
        else:
            sizes = linalg_eigvalsh(A).abs() if hermitian else linalg_svdvals(A)
            if tol is not None:
                atol, rtol = tol, 0.0
            result = (sizes > _cutoff(A, atol, rtol)(sizes)).sum(-1)
    return deliver(result, out, "linalg.matrix_rank")


@takes(
    "linalg_cond(Tensor input, Scalar? p=None, *, Tensor? out=None)",
    "linalg_cond(Tensor input, str p, *, Tensor? out=None)",
)
@in_autocast("float32")
def linalg_cond(A, p=None, *, out=None):
    """The condition number |A| |A^-1| in the norm `p` of `linalg.matrix_norm`; None and 2: from singular values.

    It is infinite for a singular matrix. A may be rectangular with p None, 2 or -2.

    >>> flambeau.linalg.cond(flambeau.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(2.)
    """
    check_matrix(A, "linalg.cond")
    if p is None or p in (2, -2):
        if A.numel() == 0:
            raise RuntimeError("linalg.cond: the condition number of an empty matrix is not defined")
        S = linalg_svdvals(A)
        result = S[..., -1] / S[..., 0] if p == -2 else S[..., 0] / S[..., -1]
        return deliver(result, out, "linalg.cond")
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not isinstance(p, str) and p not in (1, -1, math.inf, -math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    check_square(A, "linalg.cond")
    if A.size(-1) == 0:
        return deliver(flambeau.zeros(A.shape[:-2], dtype=A.abs().dtype), out, "linalg.cond")
    inverse, info = flambeau.linalg.inv_ex(A)
    norm = flambeau.linalg.matrix_norm
    result = (norm(A, p) * norm(inverse, p)).masked_fill(info != 0, math.inf)
    return deliver(result, out, "linalg.cond")


# ---- least squares ------------------------------------------------------------------------------------------

_lstsq = op(
    "_linalg_lstsq(Tensor A, Tensor B, float rcond, str driver)"
    " -> (Tensor solution, Tensor rank, Tensor singular_values, Tensor info)",
    """LAPACK's least squares; the solution lies in the first rows of max(m, n).""",
    why_not="not written",
    **FACTOR,
)


@takes("linalg_lstsq(Tensor input, Tensor b, float? rcond=None, *, str? driver=None)")
@in_autocast("float32")
def linalg_lstsq(A, B, rcond=None, *, driver=None):
    """X that minimises the Frobenius norm of A X - B, for A (*, m, n) and B (*, m, k) or (*, m).

    driver: LAPACK's routine. "gelsy" (the default: QR with pivoting), "gels" (A has full rank), "gelsd" and "gelss"
    (singular values). rcond: values up to rcond times the largest count as zero; by default max(m, n) times epsilon.

    Returns (solution, residuals, rank, singular_values); residuals (squared, per column) for m > n, full rank and any driver
    but "gelsy", singular values for "gelsd" and "gelss"; what is not computed is empty.

    >>> flambeau.linalg.lstsq(flambeau.tensor([[1.0], [1.0]]), flambeau.tensor([[1.0], [3.0]])).solution
    tensor([[2.0000]])
    """
    name = "torch.linalg.lstsq"
    if A.dim() < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.dim() < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if A.dtype != B.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got {A.dtype} and {B.dtype}"
        )
    check_matrix(A, "linalg.lstsq", "input")
    driver = "gelsy" if driver is None else driver
    if driver not in ("gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    if A.dim() - B.dim() > 1:
        raise RuntimeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1"
        )
    vector = _is_vector(A, B) or A.dim() - 1 == B.dim()
    if vector:
        B = B.unsqueeze(-1)
    if A.size(-2) != B.size(-2):
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size(-{1 if vector else 2}), got {A.size(-2)} and {B.size(-2)}"
        )
    batch = flambeau.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    A, B = A.expand((*batch, *A.shape[-2:])), B.expand((*batch, *B.shape[-2:]))
    if rcond is None:
        rcond = flambeau.finfo(A.dtype).eps * max(A.shape[-2:])
    if A.numel() == 0 or B.numel() == 0:
        solution = A.new_zeros((*batch, A.size(-1), B.size(-1)))
        results = solution, *(t for t in functions().LinalgLstsq.apply(A, B, float(rcond), driver)[1:])
    else:
        results = functions().LinalgLstsq.apply(A, B, float(rcond), driver)
    solution = results[0].squeeze(-1) if vector else results[0]
    return flambeau.return_types.linalg_lstsq((solution, *results[1:]))
