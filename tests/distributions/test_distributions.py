"""What golden values do not show: transforms, constraints, errors, registration, and densities that integrate to one."""

import math
import pickle

import pytest

import flambeau as torch
from flambeau import distributions as D
from flambeau.distributions import constraints

REAL = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)
BIJECTIONS = [
    (D.ExpTransform(), REAL),
    (D.AffineTransform(1.5, -2.0), REAL),
    (D.SigmoidTransform(), REAL),
    (D.TanhTransform(), REAL),
    (D.SoftplusTransform(), REAL),
    (D.PowerTransform(torch.tensor(1.7)), REAL.exp()),
    (D.ComposeTransform([D.AffineTransform(0.0, 0.5), D.ExpTransform()]), REAL),
    (D.CumulativeDistributionTransform(D.Normal(torch.tensor(0.5).double(), 2.0)), REAL),
    (D.ExpTransform().inv, REAL.exp()),
]


@pytest.mark.parametrize("transform, x", BIJECTIONS, ids=lambda v: repr(v)[:30])
def test_elementwise_bijections(transform, x):
    x = x.clone().requires_grad_()
    y = transform(x)
    assert transform.codomain.check(y).all() and transform.domain.check(x).all()
    torch.testing.assert_close(transform.inv(y), x)
    assert transform.inv.inv is transform
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), slope.abs().log(), check_dtype=False)
    assert (slope.sign() == transform.sign).all()


@pytest.mark.parametrize("transform", [D.StickBreakingTransform(), D.CorrCholeskyTransform()])
def test_bijections_of_vectors(transform):
    x = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    y = transform(x)
    assert transform.codomain.check(y).all()
    torch.testing.assert_close(transform.inv(y), x)
    assert transform.forward_shape(x.shape) == y.shape and transform.inverse_shape(y.shape) == x.shape

    def independent(v):  # the free elements of the result
        image = transform(v)
        return image[:-1] if image.dim() == 1 else image[tuple(torch.tril_indices(3, 3, -1))]

    jacobian = torch.autograd.functional.jacobian(independent, x)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, y), torch.linalg.slogdet(jacobian).logabsdet)


def test_parts_and_caches():
    t = D.CatTransform([D.ExpTransform(), D.AffineTransform(0.0, 3.0)], dim=-1, lengths=[1, 2])
    x = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]])
    torch.testing.assert_close(t(x), torch.cat([x[:, :1].exp(), 3 * x[:, 1:]], -1))
    torch.testing.assert_close(t.inv(t(x)), x)
    s = D.StackTransform([D.ExpTransform(), D.identity_transform], dim=0)
    torch.testing.assert_close(s(x), torch.stack([x[0].exp(), x[1]]))
    cached = D.ExpTransform(cache_size=1)
    y = cached(x)
    assert cached.inv(y) is x and D.ExpTransform().inv(y) is not x
    assert pickle.loads(pickle.dumps(cached))(x).equal(y)


REGIONS = [
    (constraints.real, ()),
    (constraints.positive, ()),
    (constraints.greater_than(2.0), ()),
    (constraints.less_than(-1.0), ()),
    (constraints.interval(-2.0, 5.0), ()),
    (constraints.unit_interval, ()),
    (constraints.simplex, (3,)),
    (constraints.corr_cholesky, (3,)),
    (constraints.independent(constraints.positive, 1), (2,)),
]


@pytest.mark.parametrize("registry", [D.biject_to, D.transform_to])
@pytest.mark.parametrize("region, shape", REGIONS, ids=lambda v: repr(v))
def test_registered_transforms_reach_their_region(registry, region, shape):
    torch.manual_seed(1)
    x = torch.randn(5, *shape, dtype=torch.float64)
    y = registry(region)(x)
    assert region.check(y).all()
    if registry is D.biject_to:
        torch.testing.assert_close(registry(region).inv(y), x)


def test_matrix_regions():
    x = torch.randn(4, 3, 3, dtype=torch.float64)
    for region in (constraints.lower_cholesky, constraints.positive_definite):
        assert region.check(D.transform_to(region)(x)).all()
    assert not constraints.positive_definite.check(-torch.eye(2))
    assert not constraints.symmetric.check(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    with pytest.raises(NotImplementedError, match="Cannot transform"):
        D.biject_to(constraints.boolean)


@pytest.mark.parametrize(
    "distribution, low, high",
    [
        (D.Beta(2.0, 3.5), 0.0, 1.0),
        (D.Gamma(2.5, 1.5), 0.0, 30.0),
        (D.StudentT(4.0, 0.5, 1.5), -400.0, 400.0),
        (D.VonMises(torch.tensor(0.0), torch.tensor(3.0)), -math.pi, math.pi),
        (D.Kumaraswamy(torch.tensor(2.0), torch.tensor(3.0)), 0.0, 1.0),
        (D.GeneralizedPareto(1.0, 2.0, -0.4), 1.0, 6.0),
        (D.ContinuousBernoulli(torch.tensor(0.5)), 0.0, 1.0),
        (
            D.MixtureSameFamily(
                D.Categorical(torch.tensor([1.0, 3.0])), D.Normal(torch.tensor([-2.0, 1.0]), 1.0)
            ),
            -9,
            9,
        ),
    ],
    ids=lambda v: type(v).__name__,
)
def test_densities_integrate_to_one(distribution, low, high):
    x = torch.linspace(low, high, 200_001, dtype=torch.float64)[1:-1]
    density = distribution.log_prob(x).exp().double()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=2e-3)
    moment = torch.trapezoid(density * x, x).item()
    assert moment == pytest.approx(distribution.mean.item(), abs=5e-3)


def test_kumaraswamy_mode_is_where_the_density_is_largest():
    d = D.Kumaraswamy(torch.tensor(2.0).double(), torch.tensor(3.0).double())
    x = torch.linspace(0, 1, 10_001, dtype=torch.float64)[1:-1]
    assert d.mode.item() == pytest.approx(x[d.log_prob(x).argmax()].item(), abs=1e-4)


def test_gradients_reach_parameters_through_draws_and_mixtures():
    loc = torch.zeros(3, requires_grad=True)
    D.Independent(D.Normal(loc, torch.ones(3)), 1).rsample((4,)).sum().backward()
    assert loc.grad.tolist() == [4.0] * 3
    logits = torch.zeros(2, requires_grad=True)
    mixture = D.MixtureSameFamily(D.Categorical(logits=logits), D.Normal(torch.tensor([-1.0, 1.0]), 1.0))
    mixture.log_prob(torch.tensor(1.0)).backward()
    assert logits.grad[1] > 0 > logits.grad[0]
    assert mixture.sample((5, 2)).shape == (5, 2)


def test_large_samples_have_the_moments_they_should():
    torch.manual_seed(3)
    for d in (
        D.LKJCholesky(3, 2.0),
        D.VonMises(torch.tensor(0.5), torch.tensor(4.0)),
        D.Wishart(5.0, torch.eye(2)),
    ):
        draws = d.sample((20_000,))
        if isinstance(d, D.LKJCholesky):
            correlations = draws @ draws.mT
            torch.testing.assert_close(correlations.mean(0), torch.eye(3), atol=0.02, rtol=0)
        else:
            torch.testing.assert_close(draws.mean(0), d.mean, atol=0.05, rtol=0.02)


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: D.Normal(0.0, -1.0), ValueError, "to satisfy the constraint GreaterThan"),
        (lambda: D.Normal("a", 1.0), ValueError, "must all be instances of Number"),
        (lambda: D.Bernoulli(), ValueError, "must be specified"),
        (lambda: D.Bernoulli(0.5, 0.5), ValueError, "but not both"),
        (lambda: D.Categorical(torch.tensor(1.0)), ValueError, "at least one-dimensional"),
        (lambda: D.Normal(0.0, 1.0).log_prob(1.0), ValueError, "must be a Tensor"),
        (lambda: D.Exponential(1.0).log_prob(torch.tensor(-1.0)), ValueError, "within the support"),
        (lambda: D.Normal(torch.zeros(3), 1.0).log_prob(torch.zeros(2)), ValueError, "not broadcastable"),
        (lambda: D.MultivariateNormal(torch.zeros(2)), ValueError, "Exactly one of"),
        (lambda: D.Independent(D.Normal(0.0, 1.0), 1), ValueError, "reinterpreted_batch_ndims"),
        (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Cauchy(0.0, 1.0)), NotImplementedError, "No KL"),
        (lambda: D.register_kl(D.Normal, 3), TypeError, "Distribution subclasses"),
        (lambda: D.Poisson(1.0).rsample(), NotImplementedError, "no draws with gradients"),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_validation_can_be_switched_off():
    assert D.Normal(0.0, -1.0, validate_args=False).scale == -1
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Exponential(-1.0).rate == -1
    finally:
        D.Distribution.set_default_validate_args(True)


def test_subclasses_and_registered_divergences():
    class Shifted(D.Normal):
        def __init__(self, shift):
            super().__init__(shift, 1.0)

    with pytest.raises(NotImplementedError, match="custom .expand"):
        Shifted(1.0).expand((2,))
    assert D.kl_divergence(Shifted(1.0), D.Normal(0.0, 1.0)).item() == 0.5

    class Foreign:
        """A library's distribution, which is none of ours."""

    @D.register_kl(Foreign, Foreign)
    def _foreign(p, q):
        return 5.0

    assert D.kl_divergence(Foreign(), Foreign()) == 5.0

    @D.register_kl(Shifted, Shifted)
    def _(p, q):
        return torch.tensor(7.0)

    assert D.kl_divergence(Shifted(1.0), Shifted(0.0)) == 7
    del D.kl._KL_REGISTRY[Shifted, Shifted]
