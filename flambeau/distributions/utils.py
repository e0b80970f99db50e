"""What distributions share: broadcasting of parameters, probabilities and logits, properties computed once."""

from functools import update_wrapper
from numbers import Number

import flambeau
from flambeau import Tensor

euler_constant = 0.57721566490153286060

__all__ = [
    "broadcast_all",
    "logits_to_probs",
    "clamp_probs",
    "probs_to_logits",
    "lazy_property",
    "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]


def broadcast_all(*values):
    """Numbers and tensors as tensors of one shape; numbers take the first tensor's dtype, or the default.

    >>> broadcast_all(1.0, flambeau.zeros(2))
    (tensor([1., 1.]), tensor([0., 0.]))
    """
    if not all(isinstance(v, (Number, Tensor)) or hasattr(v, "__torch_function__") for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__; "
            f"got {', '.join(type(v).__name__ for v in values)}"
        )
    first = next((v for v in values if not isinstance(v, Number)), None)
    like = (
        {"dtype": flambeau.get_default_dtype()}
        if first is None
        else {"dtype": first.dtype, "device": first.device}
    )
    tensors = [flambeau.tensor(v, **like) if isinstance(v, Number) else v for v in values]
    return tuple(flambeau.broadcast_tensors(*tensors))


def parameters(*values):
    """`broadcast_all`, and the shape of the batch: () if all are numbers."""
    tensors = broadcast_all(*values)
    return *tensors, flambeau.Size() if all(isinstance(v, Number) for v in values) else tensors[0].size()


def _standard_normal(shape, dtype, device):
    """Draws from N(0, 1) with the recipe of `flambeau.normal`, which differs from `randn`'s."""
    options = {"dtype": dtype, "device": device}
    return flambeau.normal(flambeau.zeros(shape, **options), flambeau.ones(shape, **options))


def _sum_rightmost(value, dims):
    """The sum over the last `dims` dimensions."""
    return value if dims == 0 else value.reshape(*value.shape[: value.dim() - dims], -1).sum(-1)


def clamp_probs(probs):
    """Probabilities kept away from 0 and 1 by the dtype's epsilon, so that their logarithms are finite."""
    eps = flambeau.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits, is_binary=False):
    """The sigmoid of log odds, or the softmax of log probabilities over the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs, is_binary=False):
    """Log odds of clamped probabilities, or their logarithms."""
    clamped = clamp_probs(probs)
    return clamped.log() - (-clamped).log1p() if is_binary else clamped.log()


def one_of(name, **values):
    """(name, value) of the only argument that is not None."""
    given = [(key, value) for key, value in values.items() if value is not None]
    if len(given) != 1:
        listed = " or ".join(f"`{key}`" for key in values)
        raise ValueError(f"{name}: Either {listed} must be specified, but not both.")
    return given[0]


class lazy_property:
    """A property that is computed at first use, with gradients, and then an ordinary attribute."""

    def __init__(self, wrapped):
        self.wrapped = wrapped
        update_wrapper(self, wrapped)

    def __get__(self, instance, owner=None):
        if instance is None:
            return _ClassLevelProperty(self.wrapped)
        with flambeau.enable_grad():
            value = self.wrapped(instance)
        instance.__dict__[self.wrapped.__name__] = value
        return value


class _ClassLevelProperty(lazy_property, property):
    # What a class shows for a lazy property: documentation tools look for properties.
    def __init__(self, wrapped):
        property.__init__(self, wrapped)


def tril_matrix_to_vec(mat, diag=0):
    """The elements on and below a diagonal, row by row: (..., n, n) to (..., m).

    >>> tril_matrix_to_vec(flambeau.arange(4.0).reshape(2, 2))
    tensor([0., 2., 3.])
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = flambeau.tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec, diag=0):
    """The inverse of `tril_matrix_to_vec`: (..., m) to (..., n, n), zero above the diagonal.

    >>> vec_to_tril_matrix(flambeau.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 0.],
            [2., 3.]])
    """
    # m = (n + diag) (n + diag + 1) / 2 for diag <= 0, with the negative diagonals' corner missing.
    m = vec.shape[-1]
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * m + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if abs(round(n) - n) > 1e-9:
        raise ValueError(
            f"The size of last dimension is {m} which cannot be expressed as the lower triangular part of a square "
            "D x D matrix."
        )
    n = round(n)
    rows, columns = flambeau.tril_indices(n, n, diag)
    matrix = vec.new_zeros(*vec.shape[:-1], n, n)
    matrix[..., rows, columns] = vec
    return matrix
