"""A few eigenvalues by iteration, against all of them by decomposition."""

import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck

D = torch.float64


def symmetric(*batch, m=12, seed=0):
    torch.manual_seed(seed)
    M = torch.randn(*batch, m, m, dtype=D)
    return M @ M.mT + m * torch.eye(m, dtype=D)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_pairs_are_those_of_the_decomposition(k, largest):
    A = symmetric()
    values, vectors = torch.lobpcg(A, k=k, largest=largest)
    close(values, torch.linalg.eigvalsh(A).flip(0)[:k] if largest else torch.linalg.eigvalsh(A)[:k])
    torch.testing.assert_close(A @ vectors, vectors * values, rtol=1e-5, atol=1e-5)
    close(vectors.mT @ vectors, torch.eye(k, dtype=D))


def test_other_ways_to_ask():
    A = symmetric()
    top = torch.linalg.eigvalsh(A).flip(0)[:2]
    close(torch.lobpcg(A, X=torch.randn(12, 2, dtype=D))[0], top)
    close(torch.lobpcg(A, k=2, iK=torch.linalg.inv(A), method="basic", niter=-1)[0], top)
    close(torch.lobpcg(A.to_sparse(), k=2)[0], top)
    close(torch.lobpcg(A, k=1, n=4)[0], top[:1])
    batch = symmetric(2, 3)
    values, vectors = torch.lobpcg(batch, k=2)
    assert values.shape == (2, 3, 2) and vectors.shape == (2, 3, 12, 2)
    close(values, torch.linalg.eigvalsh(batch).flip(-1)[..., :2])
    single = torch.lobpcg(A.float(), k=1)[0]
    assert single.dtype == torch.float32 and abs(single.item() - top[0].item()) < 1e-3


def test_a_pair_of_matrices():
    A, B = symmetric(), symmetric(seed=1)
    values, vectors = torch.lobpcg(A, k=2, B=B)
    L = torch.linalg.cholesky(B)
    inner = torch.linalg.solve_triangular(L, torch.linalg.solve_triangular(L, A, upper=False).mT, upper=False)
    close(values, torch.linalg.eigvalsh(inner).flip(0)[:2])
    close(vectors.mT @ B @ vectors, torch.eye(2, dtype=D))


def test_a_large_matrix_with_small_gaps():
    A = torch.diag(torch.arange(1.0, 301.0, dtype=D))
    values, vectors = torch.lobpcg(A, k=3, tol=1e-9)
    close(values, torch.tensor([300.0, 299.0, 298.0], dtype=D))
    close(vectors.abs().argmax(0), torch.tensor([299, 298, 297]))


def test_the_tracker_sees_and_stops_the_steps():
    seen = []

    def tracker(state):
        seen.append((state.ivars["istep"], state.ivars["converged_count"], state.tvars["rerr"].max().item()))
        state.bvars["force_stop"] = state.ivars["istep"] == 3

    torch.lobpcg(symmetric(), k=2, tol=1e-12, tracker=tracker)
    assert [step for step, _, _ in seen] == [1, 2, 3] and seen[2][2] < seen[0][2]


def test_gradients():
    A = symmetric().requires_grad_()
    values, vectors = torch.lobpcg(A, k=2, tol=1e-12)
    (gradient,) = torch.autograd.grad(values.sum(), A)
    close(gradient, vectors.detach() @ vectors.detach().mT)
    start = vectors.detach()

    def f(A):
        values, vectors = torch.lobpcg((A + A.mT) / 2, k=2, tol=1e-13, X=start)
        return values, vectors.abs()

    assert gradcheck(f, A) and gradgradcheck(lambda A: f(A)[0], A)
    assert gradcheck(lambda A: torch.lobpcg(A + A.mT, k=1, tol=1e-13)[0], symmetric(2, m=4).requires_grad_())


def test_refusals():
    A = symmetric()
    with pytest.raises(ValueError, match="not applicable when the number of A rows"):
        torch.lobpcg(A, k=5)
    with pytest.raises(AssertionError, match="A must be square"):
        torch.lobpcg(A[:, :5])
    with pytest.raises(AssertionError, match="X shape mismatch"):
        torch.lobpcg(A, X=torch.ones(5, 2, dtype=D))
    with pytest.raises(RuntimeError, match="float32 or float64"):
        torch.lobpcg(A.half())
    with pytest.raises(RuntimeError, match="span only 1 dimensions"):
        torch.lobpcg(A, X=torch.ones(12, 2, dtype=D))
    leaf = A.clone().requires_grad_()
    with pytest.raises(ValueError, match="B != I"):
        torch.lobpcg(leaf, B=torch.eye(12, dtype=D))[0].sum().backward()
    with pytest.raises(ValueError, match="does not support sparse input"):
        torch.lobpcg(A.to_sparse().requires_grad_())[0].sum().backward()
