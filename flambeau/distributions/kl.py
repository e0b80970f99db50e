"""Kullback-Leibler divergences between distributions.

Between unlike families the divergence is -H(p) - E_p[log q], and the expectation needs a few moments of p only; within a
family there are closed forms with less cancellation.
"""

import math
import warnings
from functools import total_ordering

import flambeau
from flambeau import inf

from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .cauchy import Cauchy
from .continuous_bernoulli import ContinuousBernoulli
from .dirichlet import Dirichlet
from .exp_family import ExponentialFamily
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .gumbel import Gumbel
from .half_normal import HalfNormal
from .independent import Independent
from .laplace import Laplace
from .lowrank_multivariate_normal import LowRankMultivariateNormal
from .multivariate_normal import MultivariateNormal, half_log_det, mahalanobis
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .pareto import Pareto
from .poisson import Poisson
from .transformed_distribution import TransformedDistribution
from .uniform import Uniform
from .utils import _sum_rightmost, euler_constant

__all__ = ["register_kl", "kl_divergence"]

_KL_REGISTRY = {}
_found = {}


def register_kl(type_p, type_q):
    """Decorate the function that computes KL(p || q) for p of `type_p` and q of `type_q`, and of their subclasses.

    Of several functions that fit, the one for the most specific classes is taken.
    """
    for kind in (type_p, type_q):
        if not isinstance(kind, type):  # any class: libraries have distributions that are none of ours
            raise TypeError(f"Expected type_p and type_q to be Distribution subclasses but got {kind}")

    def decorator(function):
        _KL_REGISTRY[type_p, type_q] = function
        _found.clear()
        return function

    return decorator


@total_ordering
class _Match:
    """Pairs of classes, the more specific the less."""

    def __init__(self, *types):
        self.types = types

    def __eq__(self, other):
        return self.types == other.types

    def __le__(self, other):
        for mine, theirs in zip(self.types, other.types, strict=True):
            if not issubclass(mine, theirs):
                return False
            if mine is not theirs:
                break
        return True


def _find(type_p, type_q):
    fitting = [pair for pair in _KL_REGISTRY if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])]
    if not fitting:
        return None
    by_p = min(_Match(*pair) for pair in fitting).types
    by_q = min(_Match(*reversed(pair)) for pair in fitting).types
    if _KL_REGISTRY[by_p] is not _KL_REGISTRY[by_q[::-1]]:
        names = [kind.__name__ for kind in (type_p, type_q, *by_p, *by_q[::-1])]
        warnings.warn(
            "Ambiguous kl_divergence({}, {}). Please register_kl({}, {}), which lies between ({}, {}) and ({}, {})".format(
                names[0], names[1], names[2], names[5], *names[2:]
            ),
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[by_p]


def kl_divergence(p, q):
    """KL(p || q), the expectation under p of log p - log q; a tensor of shape batch_shape.

    >>> from flambeau.distributions import Normal
    >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0))
    tensor(0.5000)
    """
    key = type(p), type(q)
    if key not in _found:
        _found[key] = _find(*key)
    if _found[key] is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {key[0].__name__} and q type {key[1].__name__}"
        )
    return _found[key](p, q)


# --- within a family ------------------------------------------------------------------------------------------


@register_kl(ExponentialFamily, ExponentialFamily)
def _expfamily_expfamily(p, q):
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman divergences"
        )
    # The Bregman divergence of the log normaliser.
    of_p = [parameter.detach().requires_grad_() for parameter in p._natural_params]
    of_q = q._natural_params
    with flambeau.enable_grad():
        normalizer = p._log_normalizer(*of_p)
    gradients = flambeau.autograd.grad(normalizer.sum(), of_p, create_graph=True)
    result = q._log_normalizer(*of_q) - normalizer
    for mine, theirs, gradient in zip(of_p, of_q, gradients, strict=True):
        result = result - _sum_rightmost((theirs - mine) * gradient, len(q.event_shape))
    return result


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p, q):
    softplus = flambeau.nn.functional.softplus
    success = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    success = success.masked_fill(q.probs == 0, inf).masked_fill(p.probs == 0, 0)
    failure = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    failure = failure.masked_fill(q.probs == 1, inf).masked_fill(p.probs == 1, 0)
    return success + failure


@register_kl(Binomial, Binomial)
def _binomial_binomial(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError(
            "KL between Binomials where q.total_count > p.total_count is not implemented"
        )
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return flambeau.where(p.total_count > q.total_count, inf, kl)


@register_kl(Beta, Beta)
def _beta_beta(p, q):
    total_p, total_q = p.concentration1 + p.concentration0, q.concentration1 + q.concentration0
    log_normalizers = (
        q.concentration1.lgamma()
        + q.concentration0.lgamma()
        + total_p.lgamma()
        - (p.concentration1.lgamma() + p.concentration0.lgamma() + total_q.lgamma())
    )
    return (
        log_normalizers
        + (p.concentration1 - q.concentration1) * p.concentration1.digamma()
        + (p.concentration0 - q.concentration0) * p.concentration0.digamma()
        + (total_q - total_p) * total_p.digamma()
    )


@register_kl(Categorical, Categorical)
def _categorical_categorical(p, q):
    terms = p.probs * (p.logits - q.logits)
    terms = terms.masked_fill((q.probs == 0).expand_as(terms), inf)
    return terms.masked_fill((p.probs == 0).expand_as(terms), 0).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _onehotcategorical_onehotcategorical(p, q):
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli_continuous_bernoulli(p, q):
    return (
        p.mean * (p.logits - q.logits)
        + p._log_norm()
        + (-p.probs).log1p()
        - q._log_norm()
        - (-q.probs).log1p()
    )


@register_kl(Cauchy, Cauchy)
def _cauchy_cauchy(p, q):
    # Chyzak and Nielsen, 2019 (arXiv:1905.10965)
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p, q):
    total_p, total_q = p.concentration.sum(-1), q.concentration.sum(-1)
    expected = p.concentration.digamma() - total_p.digamma().unsqueeze(-1)
    return (
        total_p.lgamma()
        - total_q.lgamma()
        - (p.concentration.lgamma() - q.concentration.lgamma()).sum(-1)
        + ((p.concentration - q.concentration) * expected).sum(-1)
    )


@register_kl(Exponential, Exponential)
def _exponential_exponential(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _gamma_gamma(p, q):
    return (
        q.concentration * (p.rate / q.rate).log()
        + q.concentration.lgamma()
        - p.concentration.lgamma()
        + (p.concentration - q.concentration) * p.concentration.digamma()
        + (q.rate - p.rate) * (p.concentration / p.rate)
    )


@register_kl(Geometric, Geometric)
def _geometric_geometric(p, q):
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@register_kl(Gumbel, Gumbel)
def _gumbel_gumbel(p, q):
    ratio, offset = p.scale / q.scale, (q.loc - p.loc) / q.scale
    of_exponential = (offset + (ratio + 1).lgamma()).exp()
    return -ratio.log() - offset + ratio * euler_constant + of_exponential - (1 + euler_constant)


@register_kl(HalfNormal, HalfNormal)
def _halfnormal_halfnormal(p, q):
    return _normal_normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace_laplace(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1


@register_kl(Normal, Normal)
def _normal_normal(p, q):
    variance_ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (variance_ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - variance_ratio.log())


@register_kl(Pareto, Pareto)
def _pareto_pareto(p, q):
    ratio = q.alpha / p.alpha
    kl = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return flambeau.where(p.support.lower_bound < q.support.lower_bound, inf, kl)


@register_kl(Poisson, Poisson)
def _poisson_poisson(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed_transformed(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("KL of transformed distributions needs equal transforms and event shapes")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent_independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError(
            "KL of Independent distributions needs equal numbers of reinterpreted dimensions"
        )
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(Uniform, Uniform)
def _uniform_uniform(p, q):
    kl = ((q.high - q.low) / (p.high - p.low)).log()
    return flambeau.where((q.low > p.low) | (q.high < p.high), inf, kl)


# --- multivariate normals ----------------------------------------------------------------------------------------


def _check_event_shapes(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between two {_names(p, q)} with different event shapes cannot be computed"
        )


def _names(p, q):
    low = sum(isinstance(d, LowRankMultivariateNormal) for d in (p, q))
    return ("Multivariate Normals", "(Low Rank) Multivariate Normals", "Low Rank Multivariate Normals")[low]


def _squared_norm(matrix):
    return matrix.square().sum((-2, -1))


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariatenormal_multivariatenormal(p, q):
    _check_event_shapes(p, q)
    mine, theirs = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    trace = _squared_norm(flambeau.linalg.solve_triangular(theirs, mine, upper=False))
    distance = mahalanobis(theirs, q.loc - p.loc)
    return half_log_det(theirs) - half_log_det(mine) + 0.5 * (trace + distance - p.event_shape[0])


def _through_woodbury(q, matrix):
    """tr(matrix^T C^-1 matrix) for the low-rank covariance C of q."""
    scaled = q.cov_factor.mT / q.cov_diag.unsqueeze(-2)
    inner = flambeau.linalg.solve_triangular(q._capacitance_tril, scaled @ matrix, upper=False)
    return _squared_norm(matrix * q.cov_diag.rsqrt().unsqueeze(-1)) - _squared_norm(inner)


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _multivariatenormal_lowrankmultivariatenormal(p, q):
    _check_event_shapes(p, q)
    distance = _through_woodbury(q, (q.loc - p.loc).unsqueeze(-1))
    trace = _through_woodbury(q, p._unbroadcasted_scale_tril)
    log_dets = q._log_det() - 2 * half_log_det(p._unbroadcasted_scale_tril)
    return 0.5 * (log_dets + trace + distance - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _lowrankmultivariatenormal_lowrankmultivariatenormal(p, q):
    _check_event_shapes(p, q)
    distance = _through_woodbury(q, (q.loc - p.loc).unsqueeze(-1))
    trace = _through_woodbury(q, p.cov_factor) + _through_woodbury(q, p.cov_diag.sqrt().diag_embed())
    return 0.5 * (q._log_det() - p._log_det() + trace + distance - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _lowrankmultivariatenormal_multivariatenormal(p, q):
    _check_event_shapes(p, q)
    theirs = q._unbroadcasted_scale_tril

    def trace(matrix):
        return _squared_norm(flambeau.linalg.solve_triangular(theirs, matrix, upper=False))

    both = trace(p.cov_factor) + trace(p.cov_diag.sqrt().diag_embed())
    distance = mahalanobis(theirs, q.loc - p.loc)
    return 0.5 * (2 * half_log_det(theirs) - p._log_det() + both + distance - p.event_shape[0])


# --- between families: -H(p) - E_p[log q] -------------------------------------------------------------------------


def _cross(*families_p, q):
    """Register a function of p and q that gives E_p[log q]."""

    def decorator(expected_log_q):
        def divergence(p, q):
            return -p.entropy() - expected_log_q(p, q)

        for family in families_p:
            register_kl(family, q)(divergence)
        return expected_log_q

    return decorator


def _expected_log(p):
    """E_p[log x] of positive draws."""
    if isinstance(p, Exponential):
        return -euler_constant - p.rate.log()
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (flambeau.xlogy(p.high, p.high) - flambeau.xlogy(p.low, p.low)) / (p.high - p.low) - 1  # Uniform


def _expected_exponential(p, scale):
    """E_p[exp(-x / scale)]."""
    if isinstance(p, Exponential):
        return p.rate / (p.rate + scale.reciprocal())
    if isinstance(p, Gamma):
        return (1 + (scale * p.rate).reciprocal()).pow(-p.concentration)
    if isinstance(p, Normal):
        return (-p.loc / scale + 0.5 * (p.scale / scale).pow(2)).exp()
    return scale * ((-p.low / scale).exp() - (-p.high / scale).exp()) / (p.high - p.low)  # Uniform


def _unless(forbidden, value):
    return flambeau.where(forbidden, -inf, value)


def _below_zero(p):
    return p.support.lower_bound < 0 if isinstance(p, Uniform) else flambeau.tensor(False)


@_cross(Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Pareto, Uniform, q=Normal)
def _expected_normal(p, q):
    spread = p.variance + (p.mean - q.loc).pow(2)
    return -(q.scale * math.sqrt(2 * math.pi)).log() - 0.5 * spread / q.scale.pow(2)


@_cross(Beta, ContinuousBernoulli, Gamma, Pareto, Uniform, q=Exponential)
def _expected_exponential_density(p, q):
    return _unless(_below_zero(p), q.rate.log() - q.rate * p.mean)


@_cross(Beta, Exponential, Pareto, Uniform, q=Gamma)
def _expected_gamma(p, q):
    a = q.concentration
    value = a * q.rate.log() - a.lgamma() + (a - 1) * _expected_log(p) - q.rate * p.mean
    return _unless(_below_zero(p), value)


@_cross(Exponential, Gamma, Normal, Uniform, q=Gumbel)
def _expected_gumbel(p, q):
    of_exponential = (q.loc / q.scale).exp() * _expected_exponential(p, q.scale)
    return -q.scale.log() - (p.mean - q.loc) / q.scale - of_exponential


@_cross(Normal, q=Laplace)
def _expected_laplace(p, q):
    z = (p.loc - q.loc) / p.scale
    distance = p.scale * (math.sqrt(2 / math.pi) * (-0.5 * z.pow(2)).exp() + z * (z / math.sqrt(2)).erf())
    return -(2 * q.scale).log() - distance / q.scale


@_cross(Beta, ContinuousBernoulli, q=Uniform)
def _expected_uniform(p, q):
    outside = (q.low > p.support.lower_bound) | (q.high < p.support.upper_bound)
    return _unless(outside, -(q.high - q.low).log())


@_cross(Beta, Uniform, q=ContinuousBernoulli)
def _expected_continuous_bernoulli(p, q):
    value = p.mean * q.logits + (-q.probs).log1p() + q._log_norm()
    outside = (p.support.lower_bound < 0) | (p.support.upper_bound > 1) if isinstance(p, Uniform) else False
    return _unless(flambeau.as_tensor(outside), value)


@_cross(Uniform, q=Beta)
def _expected_beta(p, q):
    a, b = q.concentration1, q.concentration0
    mirrored = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    value = (a + b).lgamma() - a.lgamma() - b.lgamma()
    value = value + (a - 1) * _expected_log(p) + (b - 1) * _expected_log(mirrored)
    return _unless((p.high > 1) | (p.low < 0), value)


@_cross(Uniform, q=Pareto)
def _expected_pareto(p, q):
    value = q.alpha.log() + q.alpha * q.scale.log() - (q.alpha + 1) * _expected_log(p)
    return _unless(p.low < q.scale, value)


# Where p draws what q never does.
_OUTSIDE = {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Laplace: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Normal: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}


def _infinite(p, q):
    like = (
        p.concentration1
        if isinstance(p, Beta)
        else next(v for v in p.__dict__.values() if flambeau.is_tensor(v))
    )
    return flambeau.full_like(like, inf)


for _family, _others in _OUTSIDE.items():
    for _other in _others:
        register_kl(_family, _other)(_infinite)
