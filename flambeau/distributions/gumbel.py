"""The Gumbel distribution."""

import math

import flambeau

from . import constraints
from .transformed_distribution import TransformedDistribution
from .transforms import AffineTransform, ExpTransform
from .uniform import Uniform
from .utils import euler_constant, parameters

__all__ = ["Gumbel"]


class Gumbel(TransformedDistribution):
    """What maxima tend to: loc - scale * log(-log(u)) for a uniform u.

    >>> Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale, batch_shape = parameters(loc, scale)
        finfo = flambeau.finfo(self.loc.dtype)
        low = flambeau.full_like(self.loc, finfo.tiny).expand(batch_shape)
        base = Uniform(low, flambeau.full_like(self.loc, 1 - finfo.eps), validate_args=validate_args)
        logarithm = ExpTransform().inv
        transforms = [
            logarithm,
            AffineTransform(loc=0, scale=-flambeau.ones_like(self.scale)),
            logarithm,
            AffineTransform(loc=self.loc, scale=-self.scale),
        ]
        super().__init__(base, transforms, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Gumbel, _instance)
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        return super().expand(batch_shape, _instance=new)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y = (self.loc - value) / self.scale
        return y - y.exp() - self.scale.log()

    @property
    def mean(self):
        return self.loc + self.scale * euler_constant

    @property
    def mode(self):
        return self.loc

    @property
    def stddev(self):
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self):
        return self.stddev.pow(2)

    def entropy(self):
        return self.scale.log() + (1 + euler_constant)
