"""Normalisation."""

import math

import flambeau

from .._ops import norm as _nn


def _check_batch_statistics(shape):
    if math.prod(shape[:1] + shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")


def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-05
):
    """Normalise every channel (dimension 1) of `input` (N, C, \\*).

    In training with the mean and variance of the batch, which also move `running_mean` and `running_var` (in place)
    by the share `momentum`; otherwise with the running values.
    """
    if training:
        _check_batch_statistics(input.size())
        if eps <= 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    return _nn.batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-05,
):
    """Normalise every channel of every sample of `input` (N, C, \\*) separately."""
    n, c = input.shape[:2]
    if use_input_stats:
        if math.prod(input.shape[2:]) == 1:
            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size {input.size()}"
            )
    elif running_mean is None or running_var is None:
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    if c and running_mean is None and running_var is None:
        return _nn.group_norm(input.contiguous(), c, weight, bias, eps)
    # A sample's channel becomes a channel of its own.
    means = None if running_mean is None else running_mean.repeat(n)
    variances = None if running_var is None else running_var.repeat(n)
    scale, shift = (None if p is None else p.repeat(n) for p in (weight, bias))
    channels = input.contiguous().view(1, n * c, *input.shape[2:])
    output = _nn.batch_norm(channels, scale, shift, means, variances, use_input_stats, momentum, eps)
    if use_input_stats and running_mean is not None and n:
        with flambeau.no_grad():
            running_mean.copy_(means.view(n, c).mean(0))
            running_var.copy_(variances.view(n, c).mean(0))
    return output.view(input.shape)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-05):
    """Normalise over the last dimensions, whose sizes are `normalized_shape`; `weight` and `bias` have this shape.

    >>> F.layer_norm(flambeau.tensor([1.0, 3.0]), (2,))
    tensor([-1.0000,  1.0000])
    """
    return _nn.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-05):
    """Normalise over each of `num_groups` groups of channels of every sample."""
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    n, c = input.shape[:2]
    if c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    if n * c // num_groups * math.prod(input.shape[2:]) == 1 and n * num_groups == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size "
            f"{[n * c // num_groups, num_groups, *input.shape[2:]]}"
        )
    return _nn.group_norm(input, num_groups, weight, bias, eps)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """Divide by the root of the mean square over the last dimensions, whose sizes are `normalized_shape`.

    `eps` is added to the mean square. Default: the machine epsilon of the input's dtype.
    """
    shape = tuple(normalized_shape)
    if tuple(input.shape[input.dim() - len(shape) :]) != shape or len(shape) > input.dim():
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, "
            f"{', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    if eps is None:
        eps = flambeau.finfo(flambeau.float64 if input.dtype == flambeau.float64 else flambeau.float32).eps
    if not input.is_complex():
        return _nn.rms_norm(input, shape, weight, eps)
    square = input.pow(2).mean(tuple(range(-len(shape), 0)), keepdim=True)
    output = input * flambeau.rsqrt(square + eps)
    return output if weight is None else output * weight


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """Divide by ``(k + alpha * mean of squares over `size` neighbouring channels) ** beta``."""
    dims = input.dim()
    if dims < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {dims} dimensions)")
    if input.numel() == 0:
        return input
    square = input.mul(input)
    channels = input.size(1)
    padded = flambeau.nn.functional.pad(square.transpose(1, -1), (size // 2, (size - 1) // 2)).transpose(
        1, -1
    )
    total = sum(padded.narrow(1, offset, channels) for offset in range(size))
    # The mean of integers is an integer, as in avg_pool.
    mean = total / size if total.is_floating_point() or total.is_complex() else total // size
    return input / (mean * alpha + k).pow(beta)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """Divide by the norm of order `p` along `dim`, but at least by `eps`."""
    denominator = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return input / denominator if out is None else flambeau.div(input, denominator, out=out)
