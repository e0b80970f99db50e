"""The distribution of Lewandowski, Kurowicka and Joe, over Cholesky factors of correlation matrices."""

import math

import flambeau
from flambeau import Size

from . import constraints
from .beta import Beta
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Cholesky factors of `dim` x `dim` correlation matrices M, whose density is proportional to
    det(M) ** (concentration - 1): 1 makes all matrices equally likely.

    Draws are made by the onion method of Lewandowski, Kurowicka and Joe, 2009, "Generating random correlation matrices
    based on vines and extended onion method".

    >>> LKJCholesky(3, 0.5).sample().shape
    torch.Size([3, 3])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        batch_shape = self.concentration.size()
        marginal = self.concentration + 0.5 * (dim - 2)
        above = flambeau.arange(dim - 1, dtype=self.concentration.dtype, device=self.concentration.device)
        above = flambeau.cat([above.new_zeros((1,)), above])
        self._beta = Beta(above + 0.5, marginal.unsqueeze(-1) - 0.5 * above)
        super().__init__(batch_shape, Size((dim, dim)), validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(LKJCholesky, _instance)
        batch_shape = Size(batch_shape)
        new.dim, new.concentration = self.dim, self.concentration.expand(batch_shape)
        new._beta = self._beta.expand(batch_shape + (self.dim,))
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def sample(self, sample_shape=Size()):
        with flambeau.no_grad():
            # Row i is a direction on the sphere of i dimensions times the root of a beta draw; the rest is the diagonal.
            squared = self._beta.sample(sample_shape).unsqueeze(-1)
            like = {"dtype": squared.dtype, "device": squared.device}
            normal = flambeau.randn(self._extended_shape(sample_shape), **like).tril(-1)
            direction = normal / normal.norm(dim=-1, keepdim=True)
            direction[..., 0, :].fill_(0.0)
            factor = squared.sqrt() * direction
            left = (1 - (factor**2).sum(-1)).clamp(min=flambeau.finfo(factor.dtype).tiny)
            return factor + left.sqrt().diag_embed()

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = flambeau.arange(2, self.dim + 1, device=self.concentration.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        unnormalized = (order * diagonal.log()).sum(-1)
        # The normaliser: page 1999 of the paper, in the form for factors.
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        denominator = alpha.lgamma() * less
        numerator = flambeau.mvlgamma(alpha - 0.5, less)
        return unnormalized - (0.5 * less * math.log(math.pi) + numerator - denominator)
