"""Ready-made parametrizations: orthogonal matrices, weight and spectral normalisation."""

import flambeau

from .. import functional as F
from ..modules.module import Module
from .parametrize import register_parametrization
from .spectral_norm import as_matrix, default_dim

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

_MAPS = ("matrix_exp", "cayley", "householder")


def _weight_of(module, name):
    weight = getattr(module, name, None)
    if not isinstance(weight, flambeau.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# ---- orthogonal --------------------------------------------------------------------------------------------------------


def _reflectors(Q):
    """The Householder vectors of matrices with orthonormal columns, below the diagonal; on it, the signs of R's diagonal."""
    packed, tau = flambeau.geqrf(Q)
    diagonal = packed.diagonal(dim1=-2, dim2=-1)
    # A vector without a tail reflects nothing in LAPACK (tau is 0), but is counted as a reflection here.
    diagonal.copy_(flambeau.where(tau == 0, -diagonal.sign(), diagonal.sign()))
    return packed


def _orthonormal_columns(A):
    """The Q of ``A = Q R`` whose R has a positive diagonal."""
    Q, R = flambeau.linalg.qr(A)
    return Q * R.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


def _has_orthonormal_columns(Q):
    """Whether ``Q^H Q`` is the identity, up to rounding."""
    n, k = Q.shape[-2:]
    # A product of n rounded terms is off by about this much; the factor leaves room.
    eps = 10.0 * n * flambeau.finfo(Q.dtype).eps
    identity = flambeau.eye(k, dtype=Q.dtype, device=Q.device)
    return bool(flambeau.allclose(Q.mH @ Q, identity, atol=eps))


class _Orthogonal(Module):
    """Maps (..., n, k) matrices to matrices with orthonormal columns (rows, if k > n)."""

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)  # right_inverse sets it

    def forward(self, X):
        """The orthogonal matrix that `X` stands for."""
        n, k = X.shape[-2:]
        wide = n < k
        if wide:
            X, n, k = X.mT, k, n
        if self.orthogonal_map == "householder":
            vectors = X.tril(-1)
            tau = 2.0 / (1.0 + (vectors * vectors).sum(dim=-2))
            Q = flambeau.linalg.householder_product(X, tau)
            # The diagonal holds signs: it is no variable.
            Q = Q * X.detach().diagonal(dim1=-2, dim2=-1).trunc().unsqueeze(-2)
        else:
            X = X.tril()
            if n != k:  # the first k columns of a map of square matrices
                X = flambeau.cat([X, X.new_zeros(*X.shape[:-2], n, n - k)], dim=-1)
            skew = X - X.mH
            if self.orthogonal_map == "matrix_exp":
                Q = flambeau.matrix_exp(skew)
            else:
                identity = flambeau.eye(n, dtype=X.dtype, device=X.device)
                Q = flambeau.linalg.solve(identity - skew / 2, identity + skew / 2)
            if n != k:
                Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if wide else Q

    def right_inverse(self, Q):
        """What stands for `Q`: with a base, minus the identity, and the base becomes `Q` made orthogonal."""
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        given = Q
        n, k = Q.shape[-2:]
        wide = n < k
        if wide:
            Q, n, k = Q.mT, k, n
        if not hasattr(self, "base"):
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            packed = _reflectors(_orthonormal_columns(Q))
            return packed.mT if wide else packed
        if n != k:
            # The base is square: further columns, drawn at random, complete it.
            noise = flambeau.randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype, device=Q.device)
            Q = _orthonormal_columns(flambeau.cat([Q, noise], dim=-1))
        else:
            Q = Q.clone() if _has_orthonormal_columns(Q) else _orthonormal_columns(Q)
        self.base = Q
        start = flambeau.zeros_like(given)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return start


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keep the matrix (or batch of matrices) ``module.name`` orthogonal (unitary, if complex); returns `module`.

    A matrix with more rows than columns has orthonormal columns, otherwise orthonormal rows.

    Args:
        name: the parameter, with two dimensions at least. Default: "weight".
        orthogonal_map: ``"matrix_exp"`` (the exponential of a skew-symmetric matrix), ``"cayley"`` (its Cayley map) or
            ``"householder"`` (a product of reflections; real only). Default: the first for square and complex matrices,
            else the last.
        use_trivialization: map around a base point (Lezcano Casado, 2019), the module's value now, so that any
            orthogonal matrix can be assigned. Default: True.

    >>> m = nn.utils.parametrizations.orthogonal(nn.Linear(3, 5))
    >>> flambeau.allclose(m.weight.mT @ m.weight, flambeau.eye(3), atol=1e-6)
    True
    """
    weight = _weight_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    orth = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    register_parametrization(module, name, orth, unsafe=True)
    return module


# ---- weight_norm -------------------------------------------------------------------------------------------------------


class _WeightNorm(Module):
    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        """The weight of that magnitude and direction."""
        return flambeau._weight_norm(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        """Magnitude and direction."""
        return flambeau.norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Learn magnitude and direction of ``module.name`` apart (Salimans and Kingma, 2016); returns `module`.

    Args:
        name: the parameter. Default: "weight".
        dim: one magnitude per index of this dimension; None: a single one. Default: 0.

    State dictionaries of the older :func:`flambeau.nn.utils.weight_norm` load as well.

    >>> m = nn.utils.parametrizations.weight_norm(nn.Linear(20, 40))
    >>> m.parametrizations.weight.original0.shape, m.parametrizations.weight.original1.shape
    (torch.Size([40, 1]), torch.Size([40, 20]))
    """
    _weight_of(module, name)
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def accept_older_names(state_dict, prefix, *_):
        older = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in older):
            for i, key in enumerate(older):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(accept_older_names)
    return module


# ---- spectral_norm -----------------------------------------------------------------------------------------------------


class _SpectralNorm(Module):
    """Divides by the largest singular value; `_u` and `_v` approximate its vectors and move in training mode."""

    _FIRST_ITERATIONS = 15

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:  # a vector's norm is computed directly
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight.detach(), self.dim)
            rows, columns = matrix.size()
            u = matrix.new_empty(rows).normal_(0, 1)
            v = matrix.new_empty(columns).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._power_method(matrix, self._FIRST_ITERATIONS)

    @flambeau.no_grad()
    def _power_method(self, matrix, iterations):
        # In place: replicas of the module share these buffers.
        for _ in range(iterations):
            self._u.copy_(F.normalize(flambeau.mv(matrix, self._v), dim=0, eps=self.eps))
            self._v.copy_(F.normalize(flambeau.mv(matrix.mH, self._u), dim=0, eps=self.eps))

    def forward(self, weight):
        """The weight over its largest singular value."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # The graph keeps these: a later iteration must not write them.
        u, v = self._u.clone(), self._v.clone()
        return weight / flambeau.vdot(u, flambeau.mv(matrix, v))

    def right_inverse(self, value):
        """Any value may be assigned: it is normalised when it is read."""
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide ``module.name`` by its largest singular value (Miyato et al., 2018); returns `module`.

    Power iteration approximates that value, by a step at every reading in training mode.

    Args:
        name: the parameter; further dimensions count as columns. Default: "weight".
        n_power_iterations: per reading in training mode. Default: 1.
        eps: least norm of a vector that is normalised. Default: 1e-12.
        dim: the dimension of the outputs. Default: 0, and 1 for transposed convolutions.

    >>> m = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    >>> m.parametrizations.weight[0]
    _SpectralNorm()
    """
    weight = _weight_of(module, name)
    dim = default_dim(module) if dim is None else dim
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module
