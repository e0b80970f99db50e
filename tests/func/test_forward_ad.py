"""Dual tensors, gradcheck in forward mode, and autograd.functional's strategies."""

import pytest

import flambeau as torch
from flambeau.autograd import forward_ad as fwAD
from flambeau.autograd import functional, gradcheck, gradgradcheck

D = torch.float64
x = torch.tensor([0.3, -1.2, 0.7], dtype=D)
t = torch.tensor([1.0, 2.0, -1.0], dtype=D)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-10)


def test_dual_tensors():
    with fwAD.dual_level():
        dual = fwAD.make_dual(x, t)
        primal, tangent = fwAD.unpack_dual(dual)
        close(primal, x)
        close(tangent, t)
        close(fwAD.unpack_dual(dual.sin()).tangent, x.cos() * t)
        assert fwAD.unpack_dual(x) == (x, None) or fwAD.unpack_dual(x).tangent is None
        assert fwAD.unpack_dual(dual.detach()).tangent is None
        assert fwAD.unpack_dual(dual > 0).tangent is None
        assert repr(dual.sum()) == "tensor(-0.2000, dtype=torch.float64, tangent=2.0)"
        assert dual.tolist() == x.tolist()
    assert fwAD.unpack_dual(dual).tangent is None
    close(dual * 2, x * 2)
    level = fwAD.enter_dual_level()
    assert level == 0
    fwAD.exit_dual_level(level=level)


def test_refusals():
    with pytest.raises(RuntimeError, match="no level exists"):
        fwAD.make_dual(x, t)
    with pytest.raises(RuntimeError, match="Dual level must be a positive number"):
        fwAD.exit_dual_level()
    with fwAD.dual_level():
        with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported"):
            fwAD.enter_dual_level()
        with pytest.raises(RuntimeError, match="different size"):
            fwAD.make_dual(x, t[:2])
        with pytest.raises(ValueError, match="Expected primal to be floating point or complex"):
            fwAD.make_dual(torch.arange(3), torch.arange(3))
        with pytest.raises(TypeError, match="two tensors"):
            fwAD.make_dual(3, t)
        dual = fwAD.make_dual(x, t)
        with pytest.raises(RuntimeError, match="out= is not supported"):
            torch.add(dual, 1, out=torch.empty(3, dtype=D))
    assert torch._C._transforms() == 0


def test_writing_in_place():
    with fwAD.dual_level():
        dual = fwAD.make_dual(x.clone(), t.clone())
        dual.mul_(dual)
        close(fwAD.unpack_dual(dual).tangent, 2 * x * t)
        dual[0] = 5.0
        close(fwAD.unpack_dual(dual).tangent, 2 * x * t * torch.tensor([0.0, 1.0, 1.0], dtype=D))
        close(dual.detach()[1:], (x * x)[1:])
        plain = torch.zeros(3, dtype=D)
        plain[1:] = fwAD.make_dual(x, t)[:2]
        close(fwAD.unpack_dual(plain).tangent, torch.tensor([0.0, 1.0, 2.0], dtype=D))
        view = dual[1:]
        view.add_(fwAD.make_dual(x, t)[1:])
        close(fwAD.unpack_dual(dual).tangent[1:], (2 * x * t + t)[1:])


def test_with_reverse_mode():
    leaf = x.clone().requires_grad_()
    with fwAD.dual_level():
        dual = fwAD.make_dual(leaf, t)
        out = (dual**3).sum()
        (g,) = torch.autograd.grad(out, leaf, create_graph=True)
        close(fwAD.unpack_dual(g).tangent, 6 * x * t)  # forward over reverse
        tangent = fwAD.unpack_dual(out).tangent
        close(torch.autograd.grad(tangent, leaf)[0], 6 * x * t)  # reverse over forward
        assert dual.requires_grad and not dual.is_leaf


def test_modules():
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)
    ).double()
    with fwAD.dual_level():
        tangent = fwAD.unpack_dual(net(fwAD.make_dual(x, t))).tangent
    close(tangent, functional.jacobian(net, x) @ t)


def test_gradcheck_in_forward_mode():
    point = x.clone().requires_grad_()
    f = lambda a: (a.sin() * a.sum(), a.prod())  # noqa: E731
    for fast in (False, True):
        assert gradcheck(
            f,
            (point,),
            check_forward_ad=True,
            check_batched_grad=True,
            check_batched_forward_grad=True,
            fast_mode=fast,
        )
        assert gradcheck(f, (point,), check_forward_ad=True, check_backward_ad=False, fast_mode=fast)
    assert gradgradcheck(f, (point,), check_fwd_over_rev=True, check_batched_grad=True)
    z = torch.tensor([0.3 + 0.4j, -0.2 + 0.9j], dtype=torch.complex128, requires_grad=True)
    assert gradcheck(lambda a: a * a.conj() + a.exp(), (z,), check_forward_ad=True)


class Wrong(torch.autograd.Function):
    """Its tangent is not its derivative."""

    @staticmethod
    def forward(ctx, a):
        ctx.save_for_backward(a)
        return a * a

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g

    @staticmethod
    def jvp(ctx, da):
        return 3 * da


def test_gradcheck_finds_wrong_tangents():
    point = x.clone().requires_grad_()
    assert gradcheck(Wrong.apply, (point,))
    with pytest.raises(RuntimeError, match="Jacobian mismatch"):
        gradcheck(Wrong.apply, (point,), check_forward_ad=True)
    with pytest.raises(AssertionError, match="requires check_forward_ad"):
        gradcheck(Wrong.apply, (point,), check_batched_forward_grad=True)
    with pytest.raises(AssertionError, match="at least one"):
        gradcheck(Wrong.apply, (point,), check_backward_ad=False)


def test_strategies_of_functional():
    f = lambda a: a.sin() * a.prod()  # noqa: E731
    reverse = functional.jacobian(f, x)
    close(functional.jacobian(f, x, strategy="forward-mode", vectorize=True), reverse)
    close(functional.jacobian(f, x, vectorize=True), reverse)
    two = functional.jacobian(lambda a, b: (a * b, b.sum()), (x, t), vectorize=True, strategy="forward-mode")
    close(two[0][1], torch.diag(x))
    close(two[1][0], torch.zeros(3, dtype=D))
    s = lambda a: f(a).sum()  # noqa: E731
    plain = functional.hessian(s, x)
    close(functional.hessian(s, x, vectorize=True), plain)
    close(functional.hessian(s, x, vectorize=True, outer_jacobian_strategy="forward-mode"), plain)
    with pytest.raises(NotImplementedError, match="vectorize=True"):
        functional.jacobian(f, x, strategy="forward-mode")
    with pytest.raises(RuntimeError, match="strict=True"):
        functional.jacobian(f, x, strategy="forward-mode", vectorize=True, strict=True)
    with pytest.raises(NotImplementedError, match="create_graph=True"):
        functional.jacobian(f, x, strategy="forward-mode", vectorize=True, create_graph=True)


def test_gradients_in_batches():
    leaf = x.clone().requires_grad_()
    out = leaf.sin() * leaf.prod()
    vectors = torch.eye(3, dtype=D)
    (rows,) = torch.autograd.grad(out, leaf, vectors, is_grads_batched=True, retain_graph=True)
    close(rows, functional.jacobian(lambda a: a.sin() * a.prod(), x))
    (again,) = torch.autograd.grad(out, leaf, vectors, is_grads_batched=True, create_graph=True)
    assert again.requires_grad


def tangent_of(f, at, along):
    with fwAD.dual_level():
        return fwAD.unpack_dual(f(fwAD.make_dual(at, along))).tangent


def _central(f, at, along, step=1e-6):
    return (f(at + step * along) - f(at - step * along)) / (2 * step)


@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_tangents_of_singular_values_and_vectors(shape, dtype):
    torch.manual_seed(0)
    A, B = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)

    def product(A):  # phases cancel
        U, S, Vh = torch.linalg.svd(A, full_matrices=False)
        return (U * S.exp()) @ Vh

    for f in (torch.linalg.svdvals, product, lambda A: torch.linalg.svd(A).S, torch.linalg.cond):
        torch.testing.assert_close(tangent_of(f, A, B), _central(f, A, B), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_tangents_of_eigenvalues_and_vectors(dtype):
    torch.manual_seed(0)
    A, B = torch.randn(3, 3, dtype=dtype), torch.randn(3, 3, dtype=dtype)

    def exponential(A):
        w, V = torch.linalg.eig(A)
        return (V * w.exp()) @ torch.linalg.inv(V)

    def lengths(A):
        return torch.linalg.eig(A).eigenvectors.abs().pow(2).sum(0)

    for f in (exponential, lengths, lambda A: torch.linalg.eigvals(A).pow(3).sum()):
        torch.testing.assert_close(tangent_of(f, A, B), _central(f, A, B), rtol=1e-5, atol=1e-6)
    H, K = A + A.mH, B + B.mH
    for f in (torch.linalg.eigvalsh, lambda A: torch.linalg.eigh(A).eigenvectors.abs()):
        torch.testing.assert_close(tangent_of(f, H, K), _central(f, H, K), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("upper", [False, True])
def test_tangents_of_a_cholesky_factor(upper, dtype):
    torch.manual_seed(0)
    A, B = torch.randn(3, 3, dtype=dtype), torch.randn(3, 3, dtype=dtype)
    H, K = A @ A.mH, B + B.mH

    def factor(H):
        return torch.linalg.cholesky(H, upper=upper)

    torch.testing.assert_close(tangent_of(factor, H, K), _central(factor, H, K), rtol=1e-5, atol=1e-6)
    # The tangent need not be symmetric: PyTorch gives these.
    H = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=D)
    lower = tangent_of(torch.linalg.cholesky, H, torch.tensor([[0.1, 0.2], [0.4, 0.5]], dtype=D))
    close(lower, torch.tensor([[0.025, 0.0], [0.19375, 0.10741341650582831]], dtype=D))


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, torch.inf])
def test_norms_have_the_tangent_zero_at_zero(p):
    zero = torch.zeros(3, dtype=D)
    assert tangent_of(lambda a: torch.linalg.vector_norm(a, p), zero, t) == 0


def test_the_deviation_of_equal_numbers_has_the_tangent_zero():
    assert tangent_of(torch.std, torch.ones(3, dtype=D), t) == 0
