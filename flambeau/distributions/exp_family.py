"""Exponential families."""

import flambeau

from .distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Densities exp(t(x) . theta - F(theta) + k(x)) with natural parameters theta.

    The gradient of the log normaliser F gives the expectation of t, and with it the entropy and divergences within the
    family (Nielsen and Nock, 2010, "Entropies and cross-entropies of exponential families").
    """

    @property
    def _natural_params(self):
        raise NotImplementedError

    def _log_normalizer(self, *natural_params):
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self):
        raise NotImplementedError

    def entropy(self):
        """F(theta) - theta . grad F(theta) - E[k(x)]."""
        theta = [p.detach().requires_grad_() for p in self._natural_params]
        with flambeau.enable_grad():
            normalizer = self._log_normalizer(*theta)
        gradients = flambeau.autograd.grad(normalizer.sum(), theta, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for parameter, gradient in zip(theta, gradients, strict=True):
            result = result - (parameter * gradient).reshape(self._batch_shape + (-1,)).sum(-1)
        return result
