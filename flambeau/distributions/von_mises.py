"""The von Mises distribution."""

import math

import flambeau
from flambeau import Size

from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property

__all__ = ["VonMises"]


def _log_bessel(order, x):
    """log I_order(x) for order 0 or 1, without overflow."""
    scaled = flambeau.special.i0e(x) if order == 0 else flambeau.special.i1e(x)
    return scaled.log() + x


class VonMises(Distribution):
    """Angles about `loc`, with density proportional to exp(concentration * cos(x - loc)).

    Draws are made by the rejection method of Best and Fisher, 1979, "Efficient simulation of the von Mises distribution",
    in double precision.

    >>> VonMises(0.0, 1.0).log_prob(flambeau.tensor(0.0))
    tensor(-1.0738)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False
    _parameters = {"loc": 0, "concentration": 0}

    def __init__(self, loc, concentration, validate_args=None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        log_prob = self.concentration * (value - self.loc).cos()
        return log_prob - math.log(2 * math.pi) - _log_bessel(0, self.concentration)

    @lazy_property
    def _proposal_r(self):
        kappa = self.concentration.double()
        tau = 1 + (1 + 4 * kappa**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * kappa)
        # A Taylor expansion where the difference cancels.
        return flambeau.where(kappa < 1e-5, 1 / kappa + kappa, (1 + rho**2) / (2 * rho))

    def sample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        with flambeau.no_grad():
            loc, concentration, r = self.loc.double(), self.concentration.double(), self._proposal_r
            x = flambeau.empty(shape, dtype=flambeau.double, device=self.loc.device)
            done = flambeau.zeros(shape, dtype=flambeau.bool, device=self.loc.device)
            while not done.all():
                u1, u2, u3 = flambeau.rand(
                    (3, *shape), dtype=flambeau.double, device=self.loc.device
                ).unbind()
                z = (math.pi * u1).cos()
                f = (1 + r * z) / (r + z)
                c = concentration * (r - f)
                accept = ((c * (2 - c) - u2) > 0) | ((c / u2).log() + 1 - c >= 0)
                if accept.any():
                    x = flambeau.where(accept, (u3 - 0.5).sign() * f.acos(), x)
                    done = done | accept
            return ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        """The circular variance, 1 - I1 / I0."""
        return 1 - (_log_bessel(1, self.concentration) - _log_bessel(0, self.concentration)).exp()
