"""Bernoulli draws made continuous."""

import flambeau
from flambeau import Size

from . import constraints
from .bernoulli import BinaryParameter
from .distribution import Distribution
from .transformed_distribution import TransformedDistribution
from .transforms import SigmoidTransform
from .utils import broadcast_all, clamp_probs

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(BinaryParameter, Distribution):
    """The log odds of a `RelaxedBernoulli` draw.

    >>> LogitRelaxedBernoulli(flambeau.tensor(1.0), 0.5).log_prob(flambeau.tensor(0.0))
    tensor(-1.3863)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    _parameters = {"probs": 0, "logits": 0}

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self.temperature = temperature
        super().__init__(self._set_binary(probs, logits), validate_args=validate_args)

    def _expand_parts(self, new, batch_shape):
        new.temperature = self.temperature

    def rsample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(flambeau.rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        offset = logits - value.mul(self.temperature)
        return self.temperature.log() + offset - 2 * offset.exp().log1p()


class RelaxedBernoulli(TransformedDistribution):
    """On (0, 1), the nearer to Bernoulli draws the smaller `temperature`, with gradients through draws.

    Maddison, Mnih and Teh, 2016, "The concrete distribution" (arXiv:1611.00712); Jang, Gu and Poole, 2016
    (arXiv:1611.01144).

    >>> RelaxedBernoulli(flambeau.tensor(0.5), 0.5).sample().shape
    torch.Size([])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        super().__init__(
            LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args=validate_args
        )

    def expand(self, batch_shape, _instance=None):
        return super().expand(batch_shape, _instance=self._get_checked_instance(RelaxedBernoulli, _instance))

    @property
    def temperature(self):
        """How far draws are from 0 and 1."""
        return self.base_dist.temperature

    @property
    def logits(self):
        """The log odds."""
        return self.base_dist.logits

    @property
    def probs(self):
        """The probability of 1."""
        return self.base_dist.probs
