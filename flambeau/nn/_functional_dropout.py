"""Dropout in its kinds. The masks are PyTorch's for the same seed."""

import math
import warnings

import flambeau

from .._ops.activation import SELU_ALPHA, SELU_SCALE
from ._functional_common import check_probability


def _mask_of_channels(input):
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return input.new_empty(*input.shape[:2], *(1,) * (input.dim() - 2))


def _drop(input, p, training, inplace, per_channel=False):
    check_probability(p)
    if p == 0 or not training or input.numel() == 0:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    if per_channel:
        mask = _mask_of_channels(input)
    else:
        mask = flambeau.empty_like(input)  # keeps the memory format, hence the order of the draws
    with flambeau.no_grad():
        mask.bernoulli_(1 - p).div_(1 - p)
    return input.mul_(mask) if inplace else input * mask


def _alpha_drop(input, p, training, inplace, per_channel=False):
    check_probability(p)
    if p == 0 or not training or input.numel() == 0:
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    # Dropped values become selu's lower limit; scale and shift restore mean 0 and variance 1.
    limit = SELU_ALPHA * SELU_SCALE
    scale = 1.0 / math.sqrt((limit * limit * p + 1) * (1 - p))
    with flambeau.no_grad():
        mask = _mask_of_channels(input) if per_channel else flambeau.empty_like(input)
        mask.bernoulli_(1 - p)
        shift = (mask - 1).mul_(limit * scale).add_(limit * scale * p)
        mask.mul_(scale)
    return input.mul_(mask).add_(shift) if inplace else input * mask + shift


def dropout(input, p=0.5, training=True, inplace=False):
    """In training, zero each element with probability `p` and divide the others by ``1 - p``.

    >>> F.dropout(flambeau.ones(2), training=False)
    tensor([1., 1.])
    """
    return _drop(input, p, training, inplace)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout that keeps mean and variance of self-normalising networks."""
    return _alpha_drop(input, p, training, inplace)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """:func:`alpha_dropout` of whole channels."""
    return _alpha_drop(input, p, training, inplace, per_channel=True)


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of an input of shape (N, C, L) or (C, L)."""
    check_probability(p)
    dims = input.dim()
    if dims not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {dims}D input. Note that dropout1d exists to provide "
            "channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional batch "
            "dimension (i.e. 2D or 3D inputs)."
        )
    return _drop_channels(input, p, training, inplace, batched=dims == 3)


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of an input of shape (N, C, H, W)."""
    check_probability(p)
    dims = input.dim()
    if dims not in (3, 4):
        _warn_dims("dropout2d", dims, 2)
    elif dims == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a "
            "future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain "
            "the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _drop(input, p, training, inplace, per_channel=True)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of an input of shape (N, C, D, H, W) or (C, D, H, W)."""
    check_probability(p)
    dims = input.dim()
    if dims not in (4, 5):
        _warn_dims("dropout3d", dims, 3)
    return _drop_channels(input, p, training, inplace, batched=dims == 5)


def _drop_channels(input, p, training, inplace, batched):
    if batched:
        return _drop(input, p, training, inplace, per_channel=True)
    dropped = _drop(input.unsqueeze(0), p, training, inplace, per_channel=True)
    return input if inplace else dropped.squeeze(0)


def _warn_dims(name, dims, spatial):
    warnings.warn(
        f"{name}: Received a {dims}-D input to {name}, which drops whole channels of {spatial + 1}-D or {spatial + 2}-D "
        f"inputs: this is deprecated and will become an error in PyTorch. For single elements use dropout.",
        stacklevel=3,
    )
