"""Minimisation by SciPy's optimizers with gradients from autograd."""

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.contrib import scipy_minimize

optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


START = flambeau.tensor([-1.2, 1.0, 0.7], dtype=flambeau.float64)


def test_result_counts_as_scipy_does_with_gradients_by_hand():
    expected = optimize.minimize(optimize.rosen, START.numpy(), jac=optimize.rosen_der, method="BFGS")
    found = scipy_minimize(rosenbrock, START, method="BFGS")
    assert isinstance(found, optimize.OptimizeResult) and found.success
    assert (found.nfev, found.njev, found.nit) == (expected.nfev, expected.njev, expected.nit)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-6)
    np.testing.assert_allclose(found.jac, expected.jac, atol=1e-6)
    assert flambeau.equal(START, flambeau.tensor([-1.2, 1.0, 0.7], dtype=flambeau.float64))


def test_one_evaluation_serves_value_and_gradient():
    calls = []

    def counted(x):
        calls.append(1)
        return rosenbrock(x)

    found = scipy_minimize(counted, START, method="L-BFGS-B")
    assert found.success and len(calls) == found.nfev == found.njev


@pytest.mark.parametrize(
    "method", "CG BFGS L-BFGS-B TNC SLSQP Newton-CG dogleg trust-ncg trust-exact trust-krylov".split()
)
def test_methods_with_derivatives(method):
    def bowl(x):
        return rosenbrock(x) if method != "dogleg" else (x.cosh() + x**2 * 0.5).sum() + x[0] * x[1] * 0.3

    found = scipy_minimize(
        bowl, START, method=method, options={"maxfun" if method == "TNC" else "maxiter": 500}
    )
    target = flambeau.zeros(3) if method == "dogleg" else flambeau.ones(3)
    assert flambeau.allclose(found.tensors, target.double(), atol=1e-3), (method, found.message)
    assert found.nit > 0 and found.nfev > 0


@pytest.mark.parametrize("method", ("Nelder-Mead", "Powell", "COBYLA"))
def test_methods_without_derivatives_record_no_graph(method):
    recorded = []

    def quadratic(x):
        y = ((x - 2) ** 2).sum()
        recorded.append(y.requires_grad)
        return y

    found = scipy_minimize(quadratic, START, method=method)
    assert flambeau.allclose(found.tensors, flambeau.full((3,), 2.0).double(), atol=1e-2) and not any(
        recorded
    )


def test_bounds_and_constraints():
    found = scipy_minimize(rosenbrock, START, method="L-BFGS-B", bounds=[(-2, 0.5)] * 3)
    assert found.x.max() <= 0.5
    total = {"type": "eq", "fun": lambda x, s: x.sum() - s, "args": (6.0,)}
    found = scipy_minimize(lambda x: (x**2).sum(), START, method="SLSQP", constraints=total)
    np.testing.assert_allclose(found.x, [2, 2, 2], rtol=1e-6)


def test_trees_of_tensors_and_arguments():
    flambeau.manual_seed(0)
    x = flambeau.randn(40, 3, dtype=flambeau.float64)
    y = x @ flambeau.tensor([[1.0], [-2.0], [0.5]], dtype=flambeau.float64) + 3

    def loss(parameters, x, y):
        return nn.functional.mse_loss(x @ parameters["weight"] + parameters["bias"], y)

    start = {"weight": flambeau.zeros(3, 1).double(), "bias": flambeau.zeros(()).double()}
    found = scipy_minimize(loss, start, args=(x, y))
    assert found.tensors["weight"].shape == (3, 1) and found.tensors["bias"].shape == ()
    assert flambeau.allclose(found.tensors["bias"], flambeau.tensor(3.0).double(), atol=1e-4)
    assert found.x.shape == (4,) and found.fun < 1e-9


def test_single_precision_and_unused_variables():
    found = scipy_minimize(lambda t: ((t[0] - 1) ** 2).sum(), [flambeau.zeros(2), flambeau.ones(1)])
    assert found.tensors[0].dtype is flambeau.float32 and flambeau.allclose(
        found.tensors[0], flambeau.ones(2)
    )
    assert flambeau.equal(found.tensors[1], flambeau.ones(1))


def test_what_is_refused():
    with pytest.raises(TypeError, match="a tensor of one element, but got"):
        scipy_minimize(lambda x: x, START)
    with pytest.raises(TypeError, match="floating-point tensors, but got torch.int64"):
        scipy_minimize(lambda x: x.sum(), flambeau.arange(3))
    with pytest.raises(ValueError, match="holds no tensor"):
        scipy_minimize(lambda x: x, [])
