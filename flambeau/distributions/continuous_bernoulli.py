"""The continuous Bernoulli distribution."""

import math

import flambeau
from flambeau import Size
from flambeau.nn.functional import binary_cross_entropy_with_logits

from . import constraints
from .bernoulli import BinaryParameter
from .exp_family import ExponentialFamily
from .utils import clamp_probs, one_of, parameters

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(BinaryParameter, ExponentialFamily):
    """On [0, 1], with density proportional to probs ** x * (1 - probs) ** (1 - x).

    Loaiza-Ganem and Cunningham, 2019, "The continuous Bernoulli" (arXiv:1907.06845). Between the limits `lims` about one
    half, where the formulas divide zero by zero, Taylor series stand in.

    >>> ContinuousBernoulli(0.5).log_prob(flambeau.tensor(0.3))
    tensor(0.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0
    _parameters = {"probs": 0, "logits": 0}

    def __init__(self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None):
        name, value = one_of(type(self).__name__, probs=probs, logits=logits)
        tensor, batch_shape = parameters(value)
        if name == "probs":
            if validate_args is not None and not self.arg_constraints["probs"].check(tensor).all():
                raise ValueError("The parameter probs has invalid values")
            tensor = clamp_probs(tensor)
        setattr(self, name, tensor)
        self._lims = lims
        super().__init__(batch_shape, validate_args=validate_args)

    def _expand_parts(self, new, batch_shape):
        new._lims = self._lims

    def _stable(self):
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self):
        return flambeau.where(self._stable(), self.probs, flambeau.full_like(self.probs, self._lims[0]))

    def _log_norm(self):
        p = self._cut_probs()
        below = flambeau.where(p <= 0.5, p, flambeau.zeros_like(p))
        above = flambeau.where(p >= 0.5, p, flambeau.ones_like(p))
        scale = flambeau.where(p <= 0.5, (-2.0 * below).log1p(), (2.0 * above - 1.0).log())
        exact = ((-p).log1p() - p.log()).abs().log() - scale
        x = (self.probs - 0.5).square()
        return flambeau.where(self._stable(), exact, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self):
        p = self._cut_probs()
        exact = p / (2.0 * p - 1.0) + 1.0 / ((-p).log1p() - p.log())
        x = self.probs - 0.5
        return flambeau.where(self._stable(), exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x)

    @property
    def variance(self):
        p = self._cut_probs()
        exact = p * (p - 1.0) / (1.0 - 2.0 * p).square() + 1.0 / ((-p).log1p() - p.log()).square()
        x = (self.probs - 0.5).square()
        return flambeau.where(self._stable(), exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        return self.icdf(flambeau.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = flambeau.broadcast_tensors(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none") + self._log_norm()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        p = self._cut_probs()
        exact = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = flambeau.where(self._stable(), exact, value)
        return flambeau.where(
            value <= 0.0,
            flambeau.zeros_like(value),
            flambeau.where(value >= 1.0, flambeau.ones_like(value), inside),
        )

    def icdf(self, value):
        p = self._cut_probs()
        exact = ((-p + value * (2.0 * p - 1.0)).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return flambeau.where(self._stable(), exact, value)

    def entropy(self):
        log_odds_against, log_odds_for = (-self.probs).log1p(), self.probs.log()
        return self.mean * (log_odds_against - log_odds_for) - self._log_norm() - log_odds_against

    @property
    def _natural_params(self):
        return (self.logits,)

    def _log_normalizer(self, x):
        stable = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = flambeau.where(stable, x, (self._lims[0] - 0.5) * flambeau.ones_like(x))
        exact = ((cut.exp() - 1.0).abs().log()) - cut.abs().log()
        return flambeau.where(stable, exact, 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0)
