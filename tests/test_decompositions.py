"""Decompositions, solvers and matrix functions: defining equations, gradients, errors."""

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau._ops import spectral
from flambeau.autograd import gradcheck, gradgradcheck

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
SHAPES = [(3, 3), (2, 4, 4), (0, 3, 3), (0, 0), (2, 0, 0), (1, 1)]
WIDE_AND_TALL = [(3, 5), (5, 3), (2, 4, 2), (0, 3), (3, 0), (2, 0, 3)]


def matrix(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=dtype, generator=generator)


def definite(*shape, dtype=torch.float64, seed=0):
    a = matrix(*shape, dtype=dtype, seed=seed)
    return a @ a.mH + torch.eye(shape[-1], dtype=dtype)


def close(actual, expected):
    single = actual.dtype in (torch.float32, torch.complex64)
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, rtol=2e-3 if single else 1e-9, atol=2e-4 if single else 1e-9)


def identity_like(a):
    return torch.eye(a.size(-1), dtype=a.dtype).expand(a.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_square_factorizations_give_the_matrix_back(dtype, shape):
    a, d = matrix(*shape, dtype=dtype), definite(*shape, dtype=dtype)
    L = torch.linalg.cholesky(d)
    close(L @ L.mH, d)
    assert not L.triu(1).any()
    U = torch.linalg.cholesky(d, upper=True)
    close(U, L.mH)
    P, L, U = torch.linalg.lu(a)
    close(P @ L @ U, a)
    b = matrix(*shape[:-1], 2, dtype=dtype, seed=1)
    close(a @ torch.linalg.solve(a, b), b)
    close(torch.linalg.solve(a, b.mT, left=False) @ a, b.mT)
    LU, pivots = torch.linalg.lu_factor(a)
    assert pivots.dtype == torch.int32
    close(a @ torch.linalg.lu_solve(LU, pivots, b), b)
    close(a.mH @ torch.linalg.lu_solve(LU, pivots, b, adjoint=True), b)
    close(torch.linalg.lu_solve(LU, pivots, b.mT, left=False) @ a, b.mT)
    close(a @ torch.linalg.inv(a), identity_like(a))
    close(d @ torch.cholesky_solve(b, torch.linalg.cholesky(d)), b)
    close(d @ torch.cholesky_inverse(torch.linalg.cholesky(d)), identity_like(d))
    symmetric = a + a.mT
    LD, pivots = torch.linalg.ldl_factor(symmetric)
    close(symmetric @ torch.linalg.ldl_solve(LD, pivots, b), b)
    hermitian = a + a.mH
    LD, pivots = torch.linalg.ldl_factor(hermitian, hermitian=True)
    close(hermitian @ torch.linalg.ldl_solve(LD, pivots, b, hermitian=True), b)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_eigenvalues(dtype, shape):
    a = matrix(*shape, dtype=dtype)
    values, vectors = torch.linalg.eig(a)
    close(a.to(vectors.dtype) @ vectors, vectors * values.unsqueeze(-2))
    hermitian = a + a.mH
    for triangle in "LU":
        values, vectors = torch.linalg.eigh(hermitian, triangle)
        assert not values.is_complex()
        close((vectors * values.unsqueeze(-2)) @ vectors.mH, hermitian)
        close(torch.linalg.eigvalsh(hermitian, triangle), values)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES + WIDE_AND_TALL)
def test_rectangular_factorizations_give_the_matrix_back(dtype, shape):
    a = matrix(*shape, dtype=dtype)
    m, n = shape[-2:]
    k = min(m, n)
    for mode, columns in (("reduced", k), ("complete", m)):
        Q, R = torch.linalg.qr(a, mode)
        assert Q.shape == (*shape[:-2], m, columns) and R.shape == (*shape[:-2], columns, n)
        close(Q @ R, a)
        close(Q.mH @ Q, torch.eye(columns, dtype=dtype).expand(*shape[:-2], columns, columns))
        assert not R.tril(-1).any()
    assert torch.linalg.qr(a, "r").Q.shape == (0,)
    for full in (True, False):
        U, S, Vh = torch.linalg.svd(a, full)
        assert U.shape[-1] == (m if full else k) and Vh.shape[-2] == (n if full else k)
        close((U[..., :k] * S.unsqueeze(-2)) @ Vh[..., :k, :], a)
        close(U.mH @ U, identity_like(U.mH @ U))
    close(torch.linalg.svdvals(a), S)
    P, L, U = torch.linalg.lu(a)
    close(P @ L @ U, a)
    pinv = torch.linalg.pinv(a)
    assert pinv.shape == (*shape[:-2], n, m)
    close(a @ pinv @ a, a)


def test_results_are_numpys():
    a, b = matrix(4, 4).numpy(), matrix(4, seed=1).numpy()
    t = torch.from_numpy(a)
    assert np.allclose(torch.linalg.det(t).item(), np.linalg.det(a))
    sign, logarithm = torch.linalg.slogdet(t)
    assert np.allclose(sign.item() * math.exp(logarithm.item()), np.linalg.det(a))
    assert np.allclose(torch.linalg.solve(t, torch.from_numpy(b)).numpy(), np.linalg.solve(a, b))
    for ord in (None, 1, -1, 2, -2, math.inf, -math.inf, "fro", "nuc"):
        assert np.allclose(torch.linalg.norm(t, ord).item(), np.linalg.norm(a, ord)), ord
        assert np.allclose(torch.linalg.cond(t, ord).item(), np.linalg.cond(a, ord)), ord
    assert torch.linalg.matrix_rank(torch.ones(3, 3)).item() == 1
    for n in (-3, 0, 1, 5):
        assert np.allclose(torch.linalg.matrix_power(t, n).numpy(), np.linalg.matrix_power(a, n)), n
    tensor = matrix(4, 6, 8, 3).numpy()
    assert np.allclose(torch.linalg.tensorinv(torch.from_numpy(tensor)).numpy(), np.linalg.tensorinv(tensor))
    tensor, right = matrix(2, 3, 6).numpy(), matrix(2, 3).numpy()
    solved = torch.linalg.tensorsolve(torch.from_numpy(tensor), torch.from_numpy(right))
    assert np.allclose(solved.numpy(), np.linalg.tensorsolve(tensor, right))
    assert torch.linalg.vander(torch.tensor([2, 3]), N=4).tolist() == [[1, 2, 4, 8], [1, 3, 9, 27]]


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss"])
def test_least_squares(driver):
    a, b = matrix(2, 6, 3), matrix(2, 6, 2, seed=1)
    found = torch.linalg.lstsq(a, b, driver=driver)
    for i in range(2):
        x, residuals, rank, values = np.linalg.lstsq(a[i].numpy(), b[i].numpy(), rcond=None)
        assert np.allclose(found.solution[i].numpy(), x)
        if driver != "gelsy":
            assert np.allclose(found.residuals[i].numpy(), residuals)
        if driver != "gels":
            assert found.rank[i] == rank
        if driver in ("gelsd", "gelss"):
            assert np.allclose(found.singular_values[i].numpy(), values)
    # fewer equations than unknowns: the shortest of the solutions
    wide, right = matrix(2, 4), matrix(2, seed=3)
    assert np.allclose(
        torch.linalg.lstsq(wide, right, driver=driver).solution.numpy(),
        np.linalg.lstsq(wide.numpy(), right.numpy(), rcond=None)[0],
    )


def test_matrix_exponential():
    assert torch.equal(torch.matrix_exp(torch.zeros(3, 3)), torch.eye(3))
    angle = torch.tensor(30.0, dtype=torch.float64)  # a large norm: many squarings
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64) * angle
    expected = torch.stack(
        [torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])]
    )
    assert torch.allclose(torch.matrix_exp(turn), expected, atol=1e-11)
    mixed = torch.stack([turn, turn * 1e-3, torch.eye(2, dtype=torch.float64)])
    for one, whole in zip(mixed, torch.matrix_exp(mixed), strict=True):
        assert torch.allclose(torch.matrix_exp(one), whole, atol=1e-12)
    nilpotent = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.complex64)
    assert torch.matrix_exp(nilpotent).tolist() == [[1, 1], [0, 1]]
    assert torch.matrix_exp(torch.full((2, 2), float("nan"))).isnan().all()


def symmetrized(a):
    return a + a.mH


GRADIENTS = {
    "cholesky": (lambda a: torch.linalg.cholesky(a @ a.mH + torch.eye(3)), (3, 3)),
    "cholesky upper": (lambda a: torch.linalg.cholesky(a @ a.mH + torch.eye(3), upper=True), (2, 3, 3)),
    "lu": (lambda a: torch.linalg.lu(a)[1:], (3, 3)),
    "lu wide": (lambda a: torch.linalg.lu_factor(a)[0], (2, 4)),
    "lu tall": (lambda a: torch.linalg.lu_factor(a)[0], (4, 2)),
    "qr": (lambda a: tuple(torch.linalg.qr(a)), (4, 3)),
    "qr wide": (lambda a: tuple(torch.linalg.qr(a)), (2, 4)),
    "solve": (lambda a: torch.linalg.solve(a, a[..., :2] * 2), (2, 3, 3)),
    "solve right": (lambda a: torch.linalg.solve(a, a[..., :2, :] * 2, left=False), (3, 3)),
    "solve vector": (lambda a: torch.linalg.solve(a, a[..., 0].sin()), (3, 3)),
    "lu_solve": (lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), a.sin()), (3, 3)),
    "lu_solve adjoint": (
        lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), a.sin(), left=False, adjoint=True),
        (3, 3),
    ),
    "lu_solve of a constant matrix": (
        lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(definite(3, 3).to(a.dtype)), a.sin()),
        (3, 3),
    ),
    "ldl_solve": (
        lambda a: torch.linalg.ldl_solve(*torch.linalg.ldl_factor(definite(3, 3).to(a.dtype)), a.sin()),
        (3, 3),
    ),
    "triangular": (lambda a: torch.linalg.solve_triangular(a, a.sin(), upper=True), (2, 3, 3)),
    "unit triangular": (
        lambda a: torch.linalg.solve_triangular(a, a.sin(), upper=False, left=False, unitriangular=True),
        (3, 3),
    ),
    "inv": (torch.linalg.inv, (2, 3, 3)),
    "det": (torch.linalg.det, (2, 3, 3)),
    "slogdet": (lambda a: torch.linalg.slogdet(a)[1], (3, 3)),
    "pinv": (torch.linalg.pinv, (4, 2)),
    "pinv wide": (torch.linalg.pinv, (2, 2, 3)),
    "lstsq": (lambda a: torch.linalg.lstsq(a, a[..., :1].sin()).solution, (4, 2)),
    "eigh": (
        lambda a: (
            torch.linalg.eigh(symmetrized(a)).eigenvalues,
            torch.linalg.eigh(symmetrized(a)).eigenvectors.abs(),
        ),
        (3, 3),
    ),
    "eigvalsh": (lambda a: torch.linalg.eigvalsh(symmetrized(a)), (2, 3, 3)),
    "eig": (lambda a: (torch.linalg.eig(a)[0].abs(), torch.linalg.eig(a)[1].abs()), (3, 3)),
    "svd": (lambda a: tuple(t.abs() for t in torch.linalg.svd(a, False)), (3, 3)),
    "svd tall": (lambda a: tuple(t.abs() for t in torch.linalg.svd(a, False)), (4, 2)),
    "svd wide": (lambda a: tuple(t.abs() for t in torch.linalg.svd(a, False)), (2, 4)),
    "svdvals": (torch.linalg.svdvals, (2, 3, 4)),
    "nuc": (lambda a: torch.linalg.matrix_norm(a, "nuc"), (2, 3, 2)),
    "cond": (torch.linalg.cond, (3, 3)),
    "matrix_exp": (torch.matrix_exp, (2, 2, 2)),
    "matrix_power": (lambda a: torch.linalg.matrix_power(a, -2), (3, 3)),
    "householder": (
        lambda a: torch.linalg.householder_product(a, a[..., 0, :].sin()),
        (4, 3),
    ),
    "ormqr": (lambda a: torch.ormqr(a, a[..., 0, :].sin(), a.cos(), True, True), (3, 2)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, dtype):
    function, shape = GRADIENTS[name]
    # Well apart from singular matrices and equal eigenvalues.
    start = matrix(*shape, dtype=dtype, seed=5)
    scale = torch.arange(1.0, min(shape[-2:]) + 1, dtype=torch.float64)
    start[..., range(len(scale)), range(len(scale))] += scale.to(dtype)
    start.requires_grad_()
    assert gradcheck(function, (start,))
    assert gradgradcheck(function, (start,), fast_mode=True, atol=1e-4)


def test_gradient_of_the_determinant_of_a_singular_matrix():
    a = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64, requires_grad=True)
    torch.linalg.det(a).backward()
    assert torch.allclose(a.grad, torch.tensor([[4.0, -2.0], [-2.0, 1.0]], dtype=torch.float64))


def test_phases_are_not_differentiated():
    a = matrix(3, 3, dtype=torch.complex128).requires_grad_()
    vectors = torch.linalg.eigh(symmetrized(a)).eigenvectors
    with pytest.raises(RuntimeError, match="ill-defined"):
        (vectors * matrix(3, 3, dtype=torch.complex128, seed=2)).sum().abs().backward()


def test_singular_and_indefinite_matrices():
    zero = torch.zeros(2, 3, 3)
    error = torch.linalg.LinAlgError
    assert issubclass(error, RuntimeError)
    with pytest.raises(error, match=r"cholesky: \(Batch element 0\).*leading minor of order 1"):
        torch.linalg.cholesky(zero)
    with pytest.raises(error, match="inv: The diagonal element 1 is zero.*singular"):
        torch.linalg.inv(zero[0])
    with pytest.raises(error, match="singular"):
        torch.linalg.solve(zero, zero)
    with pytest.raises(RuntimeError, match=r"U\[1,1\] is zero"):
        torch.linalg.lu_factor(zero[0])
    for function in (torch.linalg.cholesky_ex, torch.linalg.inv_ex, torch.linalg.lu_factor_ex):
        assert function(zero).info.tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="element 0"):
            function(zero, check_errors=True)
    assert torch.linalg.cond(zero[0], 1).item() == math.inf
    assert torch.linalg.det(zero[0]).item() == 0
    assert torch.linalg.slogdet(zero[0]).logabsdet.item() == -math.inf


@pytest.mark.parametrize("name", ["eig", "eigvals", "eigh", "eigvalsh", "svd", "svdvals", "pinv"])
def test_what_iterates_refuses_nan(name):
    bad = torch.eye(3)
    bad[1, 1] = float("nan")
    with pytest.raises(RuntimeError, match="converge|infs or NaNs"):
        getattr(torch.linalg, name)(bad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["eig", "eigh", "svd", "gels", "gelsy", "gelsd", "gelss"])
def test_no_iteration_begins_on_what_is_not_finite(name, dtype):
    # Called directly as a program may: on these matrices LAPACK's iterations do not end.
    def call(A):
        if name.startswith("gel"):
            return spectral._lstsq(A, torch.ones_like(A), 0.0, name)
        return getattr(spectral, "_" + name)(A)

    nan, inf = math.nan, math.inf
    odd = [[[0, 2, 2.5], [1, 2, nan], [-1, 0, nan]], [[inf, -7.25, 1e-30], [nan, 1, 0.5], [-1, -1, 1]]]
    A = torch.tensor([*odd, [[1, 0, 0], [0, 2, 0], [0, 0, 3]]], dtype=dtype)
    *results, info = call(A)
    assert info.tolist() == [-1, -1, 0]
    good = [r[2:] for r in results]
    for r, alone in zip(good, call(A[2:]), strict=False):
        assert torch.equal(r, alone) and r.isfinite().all()
    assert results[0][:2].isnan().all()


def test_what_is_not_finite_is_named_with_its_place_in_the_batch():
    A = torch.eye(2).repeat(3, 1, 1)
    A[1, 0, 0] = math.inf
    with pytest.raises(
        torch.linalg.LinAlgError, match=r"\(Batch element 1\): .* contained non-finite values"
    ):
        torch.linalg.svd(A)
    for pair in ((A, torch.ones(3, 2, 1)), (torch.eye(2), A)):
        with pytest.raises(torch.linalg.LinAlgError, match="element 1.* should not contain infs or NaNs"):
            torch.linalg.lstsq(*pair)


def test_eigh_looks_at_one_triangle_only():
    A = torch.tensor([[1.0, math.nan], [0.0, 2.0]])
    assert torch.linalg.eigvalsh(A).tolist() == [1, 2]
    assert torch.linalg.eigvalsh(A.T, UPLO="U").tolist() == [1, 2]
    with pytest.raises(torch.linalg.LinAlgError, match="failed to converge"):
        torch.linalg.eigvalsh(A, UPLO="U")


def test_arguments_are_checked():
    linalg = torch.linalg
    with pytest.raises(RuntimeError, match="at least 2 dimensions"):
        linalg.cholesky(torch.ones(3))
    with pytest.raises(RuntimeError, match="batches of square matrices, but they are 2 by 3"):
        linalg.inv(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="Expected a floating point or complex tensor"):
        linalg.svd(torch.ones(3, 3, dtype=torch.int64))
    with pytest.raises(RuntimeError, match="Low precision"):
        linalg.qr(torch.ones(3, 3, dtype=torch.float16))
    with pytest.raises(RuntimeError, match="Incompatible shapes of A and B"):
        linalg.solve(torch.eye(3), torch.ones(2))
    with pytest.raises(RuntimeError, match="UPLO"):
        linalg.eigh(torch.eye(2), "X")
    with pytest.raises(RuntimeError, match="mode"):
        linalg.qr(torch.eye(2), "x")
    # LAPACK trusts its pivots: ours must not reach it unchecked.
    for pivots in ([0, 1], [1, 7], [-1, 2]):
        with pytest.raises(RuntimeError, match="[Pp]ivots"):
            linalg.lu_solve(torch.eye(2), torch.tensor(pivots, dtype=torch.int32), torch.ones(2, 1))
    for pivots in ([0, 1], [1, 7], [1, -1], [-2, -1]):
        with pytest.raises(RuntimeError, match="[Pp]ivots"):
            linalg.ldl_solve(torch.eye(2), torch.tensor(pivots, dtype=torch.int32), torch.ones(2, 1))
    with pytest.raises(RuntimeError, match="pivots"):
        torch.lu_unpack(torch.eye(2), torch.tensor([9, 9], dtype=torch.int32))
    out = torch.full((2, 2), 7.0, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="can't be cast|dtype"):
        linalg.cholesky(torch.eye(2, dtype=torch.complex64), out=out)
    assert (out == 7).all()


def test_operands_are_left_as_they_were():
    a = definite(2, 3, 3)
    before = a.clone()
    for name in (
        "cholesky",
        "lu",
        "qr",
        "svd",
        "eig",
        "eigh",
        "inv",
        "det",
        "pinv",
        "ldl_factor",
        "matrix_exp",
    ):
        getattr(torch.linalg, name)(a)
        getattr(torch.linalg, name)(a.mT)
    assert torch.equal(a, before)


def test_older_names():
    a = definite(3, 3)
    assert torch.equal(torch.cholesky(a), torch.linalg.cholesky(a))
    assert torch.equal(torch.inverse(a), a.inverse())
    U, S, V = torch.svd(a)
    close((U * S) @ V.mH, a)
    Q, R = torch.qr(a)
    close(Q @ R, a)
    x, _ = torch.triangular_solve(a, a, transpose=True)
    close(a.triu().mT @ x, a)
    LU, pivots = torch.lu(a)
    close(a @ a.lu_solve(LU, pivots), a)
    close(torch.linalg.householder_product(*torch.geqrf(a)), Q)
    close(torch.ormqr(*torch.geqrf(a), a), Q @ a)
    U, S, V = torch.svd_lowrank(a, 3)
    close((U * S) @ V.mH, a)
