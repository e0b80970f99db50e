"""Draws move with their parameters as their quantiles do: the derivative of the quantile function, by differences."""

import numpy as np
import pytest
from scipy import special

import flambeau

LEVELS = (0.001, 0.05, 0.4, 0.6, 0.95, 0.999)


def differences(quantile, a):
    h = a * 1e-4
    return (8 * (quantile(a + h) - quantile(a - h)) - quantile(a + 2 * h) + quantile(a - 2 * h)) / (12 * h)


@pytest.mark.parametrize("a", [0.05, 0.3, 1.0, 2.5, 40.0, 1e4, 1e6, 1e9])
def test_gamma_draws(a):
    for level in LEVELS:
        x = special.gammaincinv(a, level)
        got = flambeau._standard_gamma_grad(flambeau.tensor(a).double(), flambeau.tensor(float(x)).double())
        assert got.item() == pytest.approx(
            differences(lambda s, u=level: special.gammaincinv(s, u), a), rel=1e-6
        )


@pytest.mark.parametrize("a, b", [(0.4, 0.8), (0.5, 3.0), (2.0, 2.0), (30.0, 5.0), (1e4, 1e4), (3e8, 2e8)])
def test_dirichlet_draws(a, b):
    for level in LEVELS:
        x = special.betaincinv(a, b, level)
        x, alpha, total = (flambeau.tensor(float(v), dtype=flambeau.float64) for v in (x, a, a + b))
        got = flambeau._dirichlet_grad(x, alpha, total) * (1 - x)
        want = differences(lambda s, u=level: special.betaincinv(s, b, u), a)
        assert got.item() == pytest.approx(want, rel=2e-5 if a > 1e8 else 1e-6)


def test_extremes_are_finite_or_nan():
    values = [0.0, 1e-300, 1e-8, 0.5, 1.0, 3.0, 1e12, float("inf"), float("nan"), -1.0]
    a, x = flambeau.cartesian_prod(*2 * [flambeau.tensor(values, dtype=flambeau.float64)]).T
    derivative = flambeau._standard_gamma_grad(a, x)
    assert not derivative.isinf().any()
    assert derivative[(a <= 0) | (x < 0)].isnan().all()


def test_gradient_of_gamma_draws():
    shape = flambeau.tensor(np.linspace(0.1, 9.0, 50), requires_grad=True)
    draws = flambeau._standard_gamma(shape)
    (draws * 2).sum().backward()
    assert flambeau.equal(shape.grad, 2 * flambeau._standard_gamma_grad(shape, draws).detach())
