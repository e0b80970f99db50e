"""Absolute values of draws that are symmetric about 0."""

import math

import flambeau

from . import constraints
from .transformed_distribution import TransformedDistribution


class HalfDistribution(TransformedDistribution):
    """What folding a symmetric `base_dist` at 0 makes of its distribution function; subclasses have `scale` alone."""

    support = constraints.nonnegative
    has_rsample = True

    @property
    def mode(self):
        return flambeau.zeros_like(self.scale)

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, prob):
        return self.base_dist.icdf((prob + 1) / 2)

    def entropy(self):
        return self.base_dist.entropy() - math.log(2)
