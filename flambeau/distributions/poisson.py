"""The Poisson distribution."""

import flambeau
from flambeau import Size

from . import constraints
from .exp_family import ExponentialFamily
from .utils import parameters

__all__ = ["Poisson"]


class Poisson(ExponentialFamily):
    """How many events come in a unit of time, at `rate`.

    >>> Poisson(2.0).log_prob(flambeau.tensor(0.0))
    tensor(-2.)
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    _parameters = {"rate": 0}

    def __init__(self, rate, validate_args=None):
        self.rate, batch_shape = parameters(rate)
        super().__init__(batch_shape, validate_args=validate_args)

    @property
    def mean(self):
        return self.rate

    @property
    def mode(self):
        return self.rate.floor()

    @property
    def variance(self):
        return self.rate

    def sample(self, sample_shape=Size()):
        with flambeau.no_grad():
            return flambeau.poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        rate, value = flambeau.broadcast_tensors(self.rate, value)
        return flambeau.xlogy(value, rate) - rate - (value + 1).lgamma()

    @property
    def _natural_params(self):
        return (self.rate.log(),)

    def _log_normalizer(self, x):
        return x.exp()
