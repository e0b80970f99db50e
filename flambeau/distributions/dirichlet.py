"""The Dirichlet distribution."""

import flambeau

from . import constraints
from .exp_family import ExponentialFamily

__all__ = ["Dirichlet"]


class _Draw(flambeau.autograd.Function):
    # An element that grows takes from the others in proportion to them: see `_dirichlet_grad`.
    @staticmethod
    def forward(ctx, concentration):
        x = flambeau._sample_dirichlet(concentration)
        ctx.save_for_backward(x, concentration)
        return x

    @staticmethod
    @flambeau.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        x, concentration = ctx.saved_tensors
        total = concentration.sum(-1, True).expand_as(concentration)
        moved = flambeau._dirichlet_grad(x, concentration, total)
        return moved * (grad_output - (x * grad_output).sum(-1, True))


class Dirichlet(ExponentialFamily):
    """On probabilities of K outcomes, with density proportional to the product of x ** (concentration - 1).

    >>> Dirichlet(flambeau.tensor([1.0, 3.0])).mean
    tensor([0.2500, 0.7500])
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _parameters = {"concentration": 1}

    def __init__(self, concentration, validate_args=None):
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    def rsample(self, sample_shape=()):
        return _Draw.apply(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        a = self.concentration
        return flambeau.xlogy(a - 1.0, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)

    @property
    def mean(self):
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self):
        excess = (self.concentration - 1).clamp(min=0.0)
        mode = excess / excess.sum(-1, True)
        # Without a peak inside, all mass tends to the corner of the largest concentration.
        cornered = (self.concentration < 1).all(-1)
        corner = flambeau.nn.functional.one_hot(mode[cornered].argmax(-1), excess.shape[-1])
        mode[cornered] = corner.to(mode)
        return mode

    @property
    def variance(self):
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self):
        a, k = self.concentration, self.concentration.size(-1)
        total = a.sum(-1)
        return (
            a.lgamma().sum(-1)
            - total.lgamma()
            - (k - total) * total.digamma()
            - ((a - 1.0) * a.digamma()).sum(-1)
        )

    @property
    def _natural_params(self):
        return (self.concentration,)

    def _log_normalizer(self, x):
        return x.lgamma().sum(-1) - x.sum(-1).lgamma()
