"""The generalised Pareto distribution."""

import flambeau
from flambeau import Size, inf, nan

from . import constraints
from .distribution import Distribution
from .utils import parameters

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """Excesses over the threshold `loc`: with z = (x - loc) / scale, more than x has the probability
    (1 + concentration * z) ** (-1 / concentration), and exp(-z) for concentration 0.

    >>> GeneralizedPareto(0.0, 1.0, 0.0).cdf(flambeau.tensor(2.0).log())
    tensor(0.5000)
    """

    arg_constraints = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    _parameters = {"loc": 0, "scale": 0, "concentration": 0}

    def __init__(self, loc, scale, concentration, validate_args=None):
        self.loc, self.scale, self.concentration, batch_shape = parameters(loc, scale, concentration)
        super().__init__(batch_shape, validate_args=validate_args)

    def _z(self, value):
        return (value - self.loc) / self.scale

    def _exponential(self):
        zero = flambeau.zeros((), dtype=self.concentration.dtype)
        return flambeau.isclose(self.concentration, zero)

    def _safe_concentration(self):
        return flambeau.where(self._exponential(), flambeau.ones_like(self.concentration), self.concentration)

    def rsample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        return self.icdf(flambeau.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        z, k = self._z(value), self._safe_concentration()
        power = -(1 / k + 1) * (k * z).log1p()
        return flambeau.where(self._exponential(), -z, power) - self.scale.log()

    def log_survival_function(self, value):
        """The logarithm of the probability of draws above `value`."""
        if self._validate_args:
            self._validate_sample(value)
        z, k = self._z(value), self._safe_concentration()
        return flambeau.where(self._exponential(), -z, -(k * z).log1p() / k)

    def log_cdf(self, value):
        """The logarithm of `cdf`."""
        if self._validate_args:
            self._validate_sample(value)
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self.log_cdf(value).exp()

    def icdf(self, value):
        k = self._safe_concentration()
        left = (-value).log1p()
        power = (-k * left).expm1() / k
        return self.loc + self.scale * flambeau.where(self._exponential(), -left, power)

    @property
    def mean(self):
        k = self.concentration
        finite = flambeau.where(k < 1, k, flambeau.zeros_like(k))
        return flambeau.where(k < 1, self.loc + self.scale / (1 - finite), flambeau.full_like(k, nan))

    @property
    def variance(self):
        k = self.concentration
        finite = flambeau.where(k < 0.5, k, flambeau.zeros_like(k))
        value = self.scale.pow(2) / ((1 - finite).pow(2) * (1 - 2 * finite))
        return flambeau.where(k < 0.5, value, flambeau.full_like(k, nan))

    def entropy(self):
        return (self.scale.log() + self.concentration + 1).expand(self._batch_shape)

    @property
    def mode(self):
        return self.loc

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        # A negative concentration ends the tail.
        end = self.loc - self.scale / self._safe_concentration()
        upper = flambeau.where(self.concentration < 0, end, flambeau.full_like(self.concentration, inf))
        return constraints.interval(self.loc, upper)
