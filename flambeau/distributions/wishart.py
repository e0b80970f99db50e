"""The Wishart distribution."""

import math
import warnings
from numbers import Number

import flambeau
from flambeau import Size

from . import constraints
from .chi2 import Chi2
from .distribution import Distribution
from .exp_family import ExponentialFamily
from .multivariate_normal import CovarianceParameter, half_log_det, precision_to_scale_tril

__all__ = ["Wishart"]


def _digamma_sum(x, p):
    """The derivative of the multivariate log gamma function."""
    return (x.unsqueeze(-1) - flambeau.arange(p, dtype=x.dtype, device=x.device).div(2)).digamma().sum(-1)


class Wishart(CovarianceParameter, ExponentialFamily):
    """Sums of `df` outer products of normal vectors, given `covariance_matrix`, `precision_matrix` or `scale_tril`.

    Draws come from Bartlett's decomposition (Odell and Feiveson, 1966, "A numerical procedure to generate a sample
    covariance matrix").

    >>> Wishart(flambeau.tensor(3.0), flambeau.eye(2)).mean
    tensor([[3., 0.],
            [0., 3.]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    @property
    def arg_constraints(self):
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None
    ):
        given = {
            "scale_tril": scale_tril,
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
        }
        given = {name: matrix for name, matrix in given.items() if matrix is not None}
        if len(given) != 1:
            raise AssertionError(
                "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
            )
        ((name, matrix),) = given.items()
        if matrix.dim() < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch_shape = (
            matrix.shape[:-2]
            if isinstance(df, Number)
            else flambeau.broadcast_shapes(matrix.shape[:-2], df.shape)
        )
        event_shape = matrix.shape[-2:]
        if isinstance(df, Number):
            df = flambeau.tensor(df, dtype=matrix.dtype, device=matrix.device)
        self.df = df.expand(batch_shape)
        if self.df.le(event_shape[-1] - 1).any():
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {event_shape[-1] - 1}."
            )
        setattr(self, name, matrix.expand(batch_shape + (-1, -1)))
        if self.df.lt(event_shape[-1]).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        if name == "scale_tril":
            self._unbroadcasted_scale_tril = matrix
        elif name == "covariance_matrix":
            self._unbroadcasted_scale_tril = flambeau.linalg.cholesky(matrix)
        else:
            self._unbroadcasted_scale_tril = precision_to_scale_tril(matrix)
        self._chi2 = self._row_lengths()

    def _row_lengths(self):
        p = self._event_shape[-1]
        fewer = flambeau.arange(p, dtype=self.df.dtype, device=self.df.device)
        return Chi2(self.df.unsqueeze(-1) - fewer.expand(self._batch_shape + (-1,)))

    def _matrix_shape(self):
        return self._batch_shape + self._event_shape

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Wishart, _instance)
        batch_shape = Size(batch_shape)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril.expand(batch_shape + self.event_shape)
        new.df = self.df.expand(batch_shape)
        for name in ("covariance_matrix", "scale_tril", "precision_matrix"):
            if name in self.__dict__:
                setattr(new, name, self.__dict__[name].expand(batch_shape + self.event_shape))
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._chi2 = new._row_lengths()
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self):
        return self.df.view(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def mode(self):
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        factor = factor.masked_fill(factor <= 0, float("nan"))
        return factor.view(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def variance(self):
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        products = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df.view(self._batch_shape + (1, 1)) * (v.pow(2) + products)

    def _bartlett(self, sample_shape):
        p = self._event_shape[-1]
        factor = self._chi2.rsample(sample_shape).sqrt().diag_embed()
        rows, columns = flambeau.tril_indices(p, p, offset=-1)
        below = flambeau.randn(
            Size(sample_shape) + self._batch_shape + (p * (p - 1) // 2,),
            dtype=self.df.dtype,
            device=self.df.device,
        )
        factor = factor.clone()
        factor[..., rows, columns] = below
        chol = self._unbroadcasted_scale_tril @ factor
        return chol @ chol.mT

    def rsample(self, sample_shape=Size(), max_try_correction=10):
        """Draws; those that rounding made singular are drawn again, up to `max_try_correction` times."""
        sample_shape = Size(sample_shape)
        sample = self._bartlett(sample_shape)
        # PyTorch draws once more those that are sound, and so do we, for the same random numbers.
        again = self._any(self.support.check(sample))
        for _ in range(max_try_correction):
            if not again.any():
                break
            redrawn = self._bartlett(again[again].shape)
            sample = sample.clone()
            sample[again] = redrawn
            again = again.clone()
            again[again.clone()] = self._any(~self.support.check(redrawn))
        return sample

    def _any(self, mask):
        return mask.flatten(-len(self._batch_shape)).any(-1) if self._batch_shape else mask

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        return (
            -nu * (p * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril))
            - flambeau.mvlgamma(nu / 2, p)
            + (nu - p - 1) / 2 * flambeau.linalg.slogdet(value).logabsdet
            - flambeau.cholesky_solve(value, self._unbroadcasted_scale_tril)
            .diagonal(dim1=-2, dim2=-1)
            .sum(-1)
            / 2
        )

    def entropy(self):
        nu, p = self.df, self._event_shape[-1]
        return (
            (p + 1) * (p * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril))
            + flambeau.mvlgamma(nu / 2, p)
            - (nu - p - 1) / 2 * _digamma_sum(nu / 2, p)
            + nu * p / 2
        )

    @property
    def _natural_params(self):
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x, y):
        p = self._event_shape[-1]
        degrees = y + (p + 1) / 2
        return degrees * (-flambeau.linalg.slogdet(-2 * x).logabsdet + math.log(2) * p) + flambeau.mvlgamma(
            degrees, p
        )
